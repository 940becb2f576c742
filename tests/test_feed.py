"""Images that cannot be read, under every policy."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from pictures import cut
from pictures import write_folder

from eca_keras.errors import InputError
from eca_keras.training import load_source
from eca_keras.training.classification import batches
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.data import feed as feeds
from eca_keras.training.data.source import UnreadableImage
from eca_keras.training.data.source import array_split

ARGUMENTS = {"batch_size": 4, "image_size": 16}


def training(split, last_step=6, strategy=None, **changes):
    return batches.training_feed(
        strategy or tf.distribute.get_strategy(),
        split,
        **ARGUMENTS,
        augmentation=Augmentation("crop-flip"),
        seed=0,
        classes=2,
        last_step=last_step,
        **changes,
    )


def evaluation(split, **changes):
    return batches.evaluation_feed(
        tf.distribute.get_strategy(),
        split,
        **ARGUMENTS,
        crop_fraction=0.875,
        **changes,
    )


def arrays(batches):
    return [[part.numpy() for part in batch] for batch in batches]


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def split(tmp_path):
    """Ten pictures, of which three cannot be read: no. 0, 3 and 4."""
    write_folder(tmp_path)
    split = load_source(f"folder:{tmp_path}", 0.2, check_images=False).train
    assert split.size == 10
    pathlib.Path(split.name(0)).write_text("I am a text")
    pathlib.Path(split.name(3)).write_bytes(b"")
    cut(pathlib.Path(split.name(4)))
    return split


def test_a_bad_image_stops_training(split):
    feed = training(split)
    with pytest.raises(UnreadableImage) as info:
        list(feed.batches())
    assert info.value.name in {split.name(i) for i in (0, 3, 4)}
    assert isinstance(info.value, InputError)
    assert "{{" not in str(info.value)


@pytest.mark.slow
def test_bad_images_are_skipped_in_training(split):
    feed = training(split, on_bad_image="skip")
    whole = arrays(feed.batches())
    assert len(whole) == 6
    assert {name for name, _ in feed.bad} == {split.name(i) for i in (0, 3, 4)}
    assert all(reason for _, reason in feed.bad)
    # As if they had been known, and wherever a run goes on.
    known = training(split.skip([0, 3, 4]))
    assert_equal(arrays(known.batches()), whole)
    again = training(split, on_bad_image="skip")
    assert_equal(arrays(again.batches(4)), whole[4:])


@pytest.mark.slow
def test_bad_images_in_evaluation(split):
    with pytest.raises(UnreadableImage, match="is not a readable image"):
        list(evaluation(split).batches())
    feed = evaluation(split, on_bad_image="skip")
    assert feed.steps == 3
    for _ in range(2):  # once to find them, once more
        weights = np.concatenate([w for _, _, w in arrays(feed.batches())])
        assert np.flatnonzero(weights == 0).tolist() == [0, 3, 4, 10, 11]
    assert len(feed.bad) == 3


@pytest.mark.slow
def test_no_image_can_be_read(split):
    for index in range(split.size):
        pathlib.Path(split.name(index)).write_bytes(b"")
    with pytest.raises(InputError, match="None of the 10 images can be read"):
        list(training(split, on_bad_image="skip").batches())


def test_other_errors_are_not_taken_for_bad_images():
    split = array_split(np.zeros((10, 8, 8, 3), "uint8"), np.zeros(10))
    split = dataclasses.replace(split, load=_fail_in_graphs)
    with pytest.raises(tf.errors.InvalidArgumentError, match="only in graphs"):
        list(training(split, on_bad_image="skip").batches())


def _fail_in_graphs(element):
    if tf.executing_eagerly():
        return element
    check = tf.debugging.Assert(False, ["only in graphs"])
    with tf.control_dependencies([check]):
        return tf.identity(element)


def test_a_feed_ends_and_starts_anywhere():
    split = array_split(np.zeros((10, 16, 16, 3), "uint8"), np.arange(10))
    feed = training(split, last_step=5)
    assert (feed.steps, len(list(feed.batches()))) == (5, 5)
    assert len(list(feed.batches(3))) == 2
    assert len(list(feed.batches(5))) == 0
    endless = training(split, last_step=None)
    assert endless.steps is None
    for _, batch in zip(range(20), endless.batches(), strict=False):
        assert batch[0].shape == (4, 16, 16, 3)
    with pytest.raises(InputError, match="`batch_size` must not exceed"):
        training(split.select([1, 2]))
    with pytest.raises(InputError, match="`on_bad_image` must be one of"):
        training(split, on_bad_image="ignore")


def test_summary():
    bad = [("a.jpg", "empty")]
    assert feeds.summary(bad) == "1 image could not be read: a.jpg (empty)"
    bad += [(f"{i}.jpg", "cut") for i in range(9)]
    assert feeds.summary(bad) == (
        "10 images could not be read: a.jpg (empty), 0.jpg (cut), "
        "1.jpg (cut), and 7 more"
    )


@pytest.mark.slow
def test_two_replicas(split):
    """The same images, good and bad, as one device has."""
    here = pathlib.Path(__file__).parent
    root = pathlib.Path(split.name(1)).parents[1]
    result = subprocess.run(
        [sys.executable, here / "feed_replicas.py", root],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    feed = training(split, on_bad_image="skip")
    one = [[x.sum(axis=(1, 2, 3)), y] for x, y in arrays(feed.batches(2))]
    assert_equal(
        [[np.array(part) for part in batch] for batch in seen["training"]], one
    )
    assert sorted(seen["bad"]) == sorted(name for name, _ in feed.bad)
    weights = evaluation(split, on_bad_image="skip").batches()
    weights = [w.tolist() for _, _, w in arrays(weights)]
    assert seen["weights"] == weights
    assert "is not a readable image" in seen["fail"]
