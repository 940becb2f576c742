"""Batches as functions of seed and step."""

import numpy as np
import pytest
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.images import resize as images
from eca_keras.training.classification import batches as pipeline
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.classification.batches import evaluation_batches
from eca_keras.training.classification.batches import training_batches
from eca_keras.training.data.sharding import indices_of_step
from eca_keras.training.data.source import Split
from eca_keras.training.data.source import array_split

SIZE = 70  # 4 batches of 16, and 6 left over
PICTURES = np.random.default_rng(0).integers(0, 256, (SIZE, 8, 8, 1), "uint8")
LABELS = np.arange(SIZE)

# Changed all at once, one by one, and with mixed labels.
AUGMENTATIONS = {
    "shift": Augmentation("shift"),
    "crop": Augmentation("crop-flip"),
    "shift, mixed": Augmentation("shift", mixup=0.5),
    "crop, mixed": Augmentation("crop-flip", cutmix=0.5),
}


CONTENTS = tf.stack([tf.io.encode_png(picture) for picture in PICTURES])
ARRAYS = array_split(PICTURES, LABELS)
FILES = Split(
    size=SIZE,
    fetch=lambda i: (tf.gather(CONTENTS, i), tf.cast(i, tf.int32)),
    encoded=True,
    channels=1,
)


@pytest.fixture(params=[ARRAYS, FILES], ids=["arrays", "files"])
def split(request):
    return request.param


def batches(split=ARRAYS, first=0, last=None, augmentation="none", **changes):
    augmentation = AUGMENTATIONS.get(augmentation) or Augmentation(augmentation)
    arguments = {
        "batch_size": 16,
        "image_size": 8,
        "seed": 3,
        "classes": SIZE,
        **changes,
    }
    return training_batches(
        split,
        augmentation=augmentation,
        first_step=first,
        last_step=last,
        **arguments,
    )


def arrays(dataset):
    return [[part.numpy() for part in batch] for batch in dataset]


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_batch_depends_on_seed_and_step_alone(name):
    split = FILES if name == "crop" else ARRAYS
    whole = arrays(batches(split, 0, 11, name))
    assert_equal(arrays(batches(split, 5, 11, name)), whole[5:])
    other = arrays(batches(split, 0, 1, name, seed=4))
    assert (other[0][0] != whole[0][0]).any()
    pictures, labels = batches(split, 0, 11, name).element_spec
    assert (pictures.shape, pictures.dtype) == ((16, 8, 8, 1), "uint8")
    mixed = AUGMENTATIONS[name].mixes
    assert labels.shape == ((16, SIZE) if mixed else (16,))
    assert labels.dtype == ("float32" if mixed else "int32")


# Workers, and replicas of all workers together.
SHARES = [
    ("shift", 1, 2),
    ("shift", 2, 2),
    ("shift", 4, 4),
    ("crop", 2, 4),
    ("shift, mixed", 2, 4),
    ("crop, mixed", 2, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "workers", "replicas"), SHARES)
def test_workers_and_replicas_share_the_same_batches(name, workers, replicas):
    arguments = {"augmentation": name, "batch_size": 64}
    whole = arrays(batches(first=1, last=4, **arguments))
    loaded = []
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, replicas)
        dataset = batches(first=1, last=4, context=context, **arguments)
        assert dataset.element_spec[0].shape[0] == 64 // replicas
        loaded.append(arrays(dataset))
    local = replicas // workers
    joined = [
        [
            np.concatenate([own[i][part] for own in loaded for i in step])
            for part in range(2)
        ]
        for step in np.arange(3 * local).reshape(3, local)
    ]
    assert_equal(joined, whole)


@pytest.mark.parametrize("name", ["shift", "crop"])
def test_files_and_arrays_give_the_same_batches(name):
    batches_of_files = arrays(batches(FILES, 0, 3, name))
    assert_equal(batches_of_files, arrays(batches(ARRAYS, 0, 3, name)))


def test_every_epoch_is_a_permutation_of_its_own():
    labels = [y for _, y in arrays(batches(last=12))]
    epochs = np.reshape(labels, (3, 64))
    for epoch in epochs:
        assert len(set(epoch)) == 64
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # The images left over are others each time.
    assert set(epochs.flat) == set(range(SIZE))
    for step, images_and_labels in enumerate(batches(last=12)):
        pictures, labels = images_and_labels
        indices = indices_of_step(ARRAYS, 16, 3, step)
        np.testing.assert_array_equal(labels, LABELS[indices])
        np.testing.assert_array_equal(pictures, PICTURES[indices])


def test_an_image_is_changed_differently_in_every_epoch():
    seen = [
        picture.tobytes()
        for x, y in arrays(batches(last=40, augmentation="shift"))
        for picture, label in zip(x, y, strict=True)
        if label == 0
    ]
    assert len(seen) >= 8
    assert len(set(seen)) > len(seen) // 2  # of 9 places


@pytest.mark.parametrize("size", [1437, 54_000])
def test_the_order_is_random(size):
    """A folder is sorted by class: its batches have to be mixed all the same.

    The figures are standard normal, and chi-square with 9 degrees of freedom.
    """
    split = array_split(np.zeros((size, 1, 1, 1), "uint8"), np.zeros(size))
    count = size // 128
    lags, mixtures = [], []
    for epoch in range(4):
        order = np.concatenate(
            [
                indices_of_step(split, 128, 0, epoch * count + step)
                for step in range(count)
            ]
        )
        for lag in (1, 2):
            correlation = np.corrcoef(order[:-lag], order[lag:])[0, 1]
            lags.append(correlation * np.sqrt(len(order)))
        classes = (order * 10 // size).reshape(count, 128)
        counts = np.stack([np.bincount(c, minlength=10) for c in classes])
        mixtures.append(((counts - 12.8) ** 2 / 12.8).sum(1).mean())
    assert np.abs(lags).max() < 4
    assert 6 < np.mean(mixtures) < 11


def test_seeds_of_64_bits_count():
    orders = {
        tuple(indices_of_step(ARRAYS, 16, seed, 0))
        for seed in (1, 1 + 2**32, 1 + 2**33, 2**62)
    }
    assert len(orders) == 4


def test_mixed_labels_belong_to_the_mixed_images():
    # Image i is grey level i, so the level tells the mixture.
    levels = np.broadcast_to(LABELS[:, None, None, None], (SIZE, 8, 8, 1))
    split = array_split(levels.astype("uint8") * 3, LABELS)
    (x, y), *_ = arrays(batches(split, last=1, augmentation="shift, mixed"))
    middle = x[:, 4, 4, 0].astype(float)
    np.testing.assert_allclose(y @ (LABELS * 3.0), middle, atol=0.51)
    assert (y.max(1) < 0.99).any()
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)


def test_a_bad_image_is_replaced_by_the_next(split):
    bad = split.skip([5, 6, 69])
    for step in range(8):
        indices = indices_of_step(split, 16, 3, step)
        readable = indices_of_step(bad, 16, 3, step)
        expected = [{5: 7, 6: 7, 69: 0}.get(i, i) for i in indices.tolist()]
        assert readable.tolist() == expected
    labels = [y for _, y in arrays(batches(bad, 2, 3))]
    np.testing.assert_array_equal(labels[0], indices_of_step(bad, 16, 3, 2))


def test_bad_batch_sizes():
    with pytest.raises(InputError, match="`batch_size` must not exceed the n"):
        batches(batch_size=71)
    context = tf.distribute.InputContext(1, 0, 3)
    with pytest.raises(InputError, match="must be a multiple of the 3 repl"):
        batches(context=context)


def evaluated(split, **changes):
    arguments = {
        "batch_size": 16,
        "image_size": 8,
        "crop_fraction": 1.0,
        **changes,
    }
    return arrays(evaluation_batches(split, **arguments))


@pytest.mark.slow
def test_evaluation_shows_every_image_once(split):
    whole = evaluated(split)
    x, y, w = (np.concatenate(part) for part in zip(*whole, strict=True))
    assert len(x) == 80
    np.testing.assert_array_equal(x[:SIZE], PICTURES)
    np.testing.assert_array_equal(y[:SIZE], LABELS)
    np.testing.assert_array_equal(w, np.arange(80) < SIZE)
    assert not x[SIZE:].any()
    assert (w.dtype, y.dtype, x.dtype) == ("float32", "int32", "uint8")
    contexts = [tf.distribute.InputContext(2, w, 2) for w in range(2)]
    loaded = [evaluated(split, context=context) for context in contexts]
    joined = [
        [np.concatenate(parts) for parts in zip(*workers, strict=True)]
        for workers in zip(*loaded, strict=True)
    ]
    assert_equal(joined, whole)
    assert_equal(evaluated(split, first_step=3), whole[3:])


def test_evaluation_gives_bad_images_no_weight(split):
    whole = evaluated(split.skip([0, 20]))
    x, y, w = (np.concatenate(part) for part in zip(*whole, strict=True))
    assert np.flatnonzero(w[:SIZE] == 0).tolist() == [0, 20]
    assert not x[[0, 20]].any()
    np.testing.assert_array_equal(x[21:SIZE], PICTURES[21:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "fraction"), [(8, 1.0), (6, 1.0), (8, 0.875), (12, 0.875)]
)
def test_evaluation_pixels(split, size, fraction):
    whole = evaluated(split, image_size=size, crop_fraction=fraction)
    expected = [images.shown_size(p, size, fraction) for p in PICTURES[:16]]
    np.testing.assert_array_equal(whole[0][0], expected)


def test_mixing_where_a_replica_has_no_multiple_of_the_group():
    whole = arrays(batches(last=2, augmentation="shift, mixed", batch_size=20))
    assert whole[0][1].shape == (20, SIZE)
    assert whole[0][1].max() < 1.0001
    assert 20 % pipeline.MIX_GROUP
