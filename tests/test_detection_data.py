"""Padded batches of images with objects, against NumPy, Pillow and rules."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from coco_files import center_of
from coco_files import write_parts
from pictures import cut
from pictures import photo
from PIL import Image
from shapes_data import shapes

from eca_keras.applications import preprocess_input
from eca_keras.applications.detection import paste_masks
from eca_keras.applications.detection.masks import mask_targets
from eca_keras.errors import InputError
from eca_keras.training.data.sharding import indices_of_step
from eca_keras.training.data.source import UnreadableImage
from eca_keras.training.detection import batches
from eca_keras.training.detection import data
from eca_keras.training.detection.coco.segmentations import encoded
from eca_keras.training.detection.objects import ObjectList
from eca_keras.training.detection.transforms import resize_to_fit

pytest.importorskip("pycocotools")

# Images of 40 x 60 and 30 x 44 become larger, those of 64 x 32 smaller.
SHAPE = (48, 80, 3)

SEED = 5
ARGUMENTS = {
    "batch_size": 4,
    "input_shape": SHAPE,
    "seed": SEED,
    "flip": True,
    "max_objects": 3,
    "masks": True,
}

PADDING = (124, 116, 104)  # ImageNet's mean


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    write_parts(root)
    return root


@pytest.fixture(scope="module")
def source(root):
    return data.load_detection_source(
        f"coco:{root}", masks=True, keep_empty=True
    )


def arrays(dataset):
    return [tf.nest.map_structure(lambda x: x.numpy(), b) for b in dataset]


def assert_equal(some, others):
    assert len(some) == len(others)
    tf.nest.map_structure(np.testing.assert_array_equal, some, others)


def training(split, **changes):
    return batches.training_batches(split, **{**ARGUMENTS, **changes})


@pytest.fixture(scope="module")
def whole(source):
    """Six steps of training."""
    return arrays(training(source.train, last_step=6))


def test_a_batch_depends_on_seed_and_step_alone(source, whole):
    split = source.train
    assert_equal(arrays(training(split, first_step=4, last_step=6)), whole[4:])
    [other] = arrays(training(split, last_step=1, seed=6))
    assert (other[0] != whole[0][0]).any()
    contexts = [tf.distribute.InputContext(2, w, 4) for w in range(2)]
    loaded = [
        arrays(training(split, first_step=2, last_step=5, context=context))
        for context in contexts
    ]
    assert loaded[0][0][0].shape[0] == 1  # an image for each replica
    joined = [
        tf.nest.map_structure(
            lambda *parts: np.concatenate(parts),
            *[part for own in loaded for part in own[2 * step : 2 * step + 2]],
        )
        for step in range(3)
    ]
    assert_equal(joined, whole[2:5])


def test_images_boxes_and_masks_change_together(source, whole):
    split = source.train
    sides = set()
    for step, (pictures, targets) in enumerate(whole):
        for i, index in enumerate(indices_of_step(split, 4, SEED, step)):
            own = {name: values[i] for name, values in targets.items()}
            flipped = check_image(split, index, pictures[i], own)
            sides.add((int(index), flipped))
    assert len({index for index, _ in sides}) == 4
    assert len(sides) > 5  # some both ways


def check_image(split, index, picture, targets):
    """Checks an image of a batch; returns whether it is mirrored."""
    pixels = split.read(index)
    height, width = pixels.shape[:2]
    scale = min(SHAPE[0] / height, SHAPE[1] / width)
    new_height, new_width = round(height * scale), round(width * scale)
    assert new_height == SHAPE[0] or new_width == SHAPE[1]
    np.testing.assert_array_equal(targets["sizes"], [new_height, new_width])
    resized = np.asarray(
        Image.fromarray(pixels).resize(
            (new_width, new_height), Image.Resampling.BILINEAR
        )
    ).astype(int)
    shown = picture[:new_height, :new_width]
    flipped = not np.abs(shown - resized).max() <= 1
    if flipped:
        assert np.abs(shown[:, ::-1] - resized).max() <= 1
    assert (picture[new_height:] == PADDING).all()
    assert (picture[:, new_width:] == PADDING).all()

    rows = split.objects.targets(index, 3)
    boxes = split.objects.boxes[rows]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    corners *= np.tile([new_width / width, new_height / height], 2)
    if flipped:
        corners[:, [0, 2]] = new_width - corners[:, [2, 0]]
    count = len(rows)
    np.testing.assert_allclose(targets["boxes"][:count], corners, atol=1e-4)
    assert not targets["boxes"][count:].any()
    labels = split.objects.labels[rows]
    np.testing.assert_array_equal(targets["labels"][:count], labels)
    assert (targets["labels"][count:] == -1).all()
    masks = split.objects.mask_images(index, 3, split.sizes[index])
    if flipped:
        masks = masks[:, :, ::-1]
    np.testing.assert_array_equal(targets["masks"], masks)
    assert masks[:count].any(axis=(1, 2)).all()
    assert not masks[count:].any()
    return flipped


def test_nothing_is_mirrored_without_flip(source):
    [(pictures, targets)] = arrays(
        training(source.train, last_step=1, flip=False, masks=False)
    )
    assert set(targets) == {"boxes", "labels", "sizes"}
    indices = indices_of_step(source.train, 4, SEED, 0)
    for picture, index in zip(pictures, indices, strict=True):
        expected, _ = resize_to_fit(source.train.read(index), SHAPE)
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [
        ((480, 640), (800, 1344), (800, 1067)),
        ((640, 480), (800, 1344), (800, 600)),
        ((100, 500), (800, 1344), (269, 1344)),
        ((3, 2), (7, 7), (7, 5)),
        ((1, 999), (50, 50), (1, 50)),
        ((48, 80), (48, 80), (48, 80)),
    ],
)
def test_fitted_sizes(size, shape, expected):
    image = np.full((*size, 3), 200, "uint8")
    padded, fitted = resize_to_fit(image, (*shape, 3))
    assert tuple(fitted.numpy()) == expected
    assert padded.shape == (*shape, 3)
    height, width = expected
    assert (padded[:height, :width] == 200).numpy().all()
    beyond = np.ones(shape, bool)
    beyond[:height, :width] = False
    assert (padded[beyond] == PADDING).numpy().all()


def test_masks_come_back_to_where_they_were(source, whole):
    """From the outline over picture, target and prediction to the image."""
    split = source.train
    errors = []
    for step, (pictures, targets) in enumerate(whole[:4]):
        for i, index in enumerate(indices_of_step(split, 4, SEED, step)):
            own = {name: values[i] for name, values in targets.items()}
            flipped = check_image(split, index, pictures[i], own)
            outlines = outlines_of(split, index, own["sizes"], flipped)
            errors += mask_errors(own, outlines)
    overlaps, shifts = np.transpose(errors)
    assert len(overlaps) > 15
    assert overlaps.min() > 0.95
    # Masks that move by half a bin would be off by 0.19 to 0.86 pixels.
    assert np.abs(shifts).max() < 0.15
    assert np.abs(shifts.mean()) < 0.02


def outlines_of(split, index, new_size, flipped):
    """Polygons of the objects of an image where it is shown."""
    objects = split.objects
    scale = (new_size / split.sizes[index])[::-1]
    for row in objects.targets(index, 3):
        outline = objects.segmentations.outline(row)
        if not outline:  # run lengths of the whole box
            x, y, width, height = objects.boxes[row]
            right, low = x + width, y + height
            outline = [np.array([x, y, right, y, right, low, x, low])]
        shown = [points.reshape(-1, 2) * scale for points in outline]
        if flipped:
            shown = [[new_size[1], 0] + points * [-1, 1] for points in shown]
        yield shown


def mask_errors(targets, outlines):
    """Overlap with the outline and horizontal shift of each mask."""
    boxes = targets["boxes"][targets["labels"] >= 0]
    learned = mask_targets(
        targets["masks"][None],
        targets["boxes"][None],
        boxes[None],
        tf.range(len(boxes))[None],
        28,
    )[0].numpy()
    pasted = paste_masks(learned, boxes, SHAPE[:2]) >= 0.5
    for mask, outline in zip(pasted, outlines, strict=True):
        whole = np.logical_or.reduce([drawn(points) for points in outline])
        overlap = np.sum(mask & whole) / np.sum(mask | whole)
        yield overlap, (center_of(mask) - center_of(whole))[0]


def drawn(points):
    """The pixels whose centres lie in a polygon, by crossings of a ray."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    inside = np.zeros(SHAPE[:2], bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, 1, 0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        if y1 != y2:
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_the_largest_objects_are_kept(source):
    gathered = ObjectList(masks=False)
    sides = [3, 9, 1, 9, 5, 2, 7]
    for side in sides:
        box = (0, 0, side, 10)
        gathered.add(0, box, box, side, side, crowd=side == 7)
    gathered.add(1, box, box, 7, 7, crowd=False)
    objects = gathered.arrays(3)
    assert objects.counts().tolist() == [6, 1, 0]
    boxes, labels = objects.padded(0, 3)
    assert labels.tolist() == [9, 9, 5]
    np.testing.assert_array_equal(boxes[:, 2], labels)
    assert objects.padded(0, 8)[1].tolist() == [3, 9, 1, 9, 5, 2, -1, -1]
    split = dataclasses.replace(source.train, objects=objects)
    assert split.notes_on_crowded_images(6) == ()
    assert split.notes_on_crowded_images(4) == (
        "1 training image with more than 4 objects: the largest are kept for "
        "training, 2 in all are left out",
    )


def test_evaluation_shows_every_image_once_in_order(source):
    split = source.validation
    arguments = {"batch_size": 6, "input_shape": SHAPE}
    [(pictures, details)] = arrays(
        batches.evaluation_batches(split, **arguments)
    )
    assert details["index"].tolist() == [0, 1, 2, 3, -1, -1]
    assert (pictures.dtype, details["sizes"].dtype) == ("uint8", "float32")
    assert not pictures[4:].any()
    for index in range(4):
        expected, size = resize_to_fit(split.read(index), SHAPE)
        np.testing.assert_array_equal(pictures[index], expected)
        np.testing.assert_array_equal(details["sizes"][index], size)
    contexts = [tf.distribute.InputContext(2, w, 2) for w in range(2)]
    loaded = [
        arrays(batches.evaluation_batches(split, context=c, **arguments))
        for c in contexts
    ]
    joined = tf.nest.map_structure(
        lambda *parts: np.concatenate(parts), *[own[0] for own in loaded]
    )
    assert_equal([joined], [(pictures, details)])


@pytest.fixture
def damaged(tmp_path):
    """Four training images, of which only the last can be used."""
    write_parts(tmp_path)
    folder = tmp_path / "train2017"
    cut(folder / "0.jpg")
    (folder / "1.png").write_text("I am a text")
    Image.fromarray(photo(64, 33)).save(folder / "2.png")
    source = data.load_detection_source(f"coco:{tmp_path}", keep_empty=True)
    return source.train


def feed(split, policy, strategy=None, **changes):
    return batches.training_feed(
        strategy or tf.distribute.get_strategy(),
        split,
        on_bad_image=policy,
        **{**ARGUMENTS, "masks": False, "last_step": 4, **changes},
    )


@pytest.mark.slow
def test_images_that_cannot_be_read_in_training(damaged):
    with pytest.raises(UnreadableImage, match="is not a readable image"):
        list(feed(damaged, "fail").batches())
    skipping = feed(damaged, "skip")
    seen = arrays(skipping.batches())
    assert len(seen) == 4
    reasons = dict(skipping.bad)
    assert {pathlib.Path(name).name for name in reasons} == {
        "0.jpg",
        "1.png",
        "2.png",
    }
    assert reasons[damaged.name(2)] == (
        "it is 33 wide and 64 high, in the annotations 32 wide and 64 high"
    )
    # As if that had been known, and wherever a run goes on.
    known = feed(damaged.skip([0, 1, 2]), "fail")
    assert_equal(arrays(known.batches(1)), seen[1:])


@pytest.mark.slow
def test_images_that_cannot_be_read_in_evaluation(damaged):
    arguments = {"batch_size": 2, "input_shape": SHAPE}
    strategy = tf.distribute.get_strategy()
    with pytest.raises(UnreadableImage, match="0.jpg is not a readable image"):
        list(batches.evaluation_feed(strategy, damaged, **arguments).batches())
    skipping = batches.evaluation_feed(
        strategy, damaged, on_bad_image="skip", **arguments
    )
    assert skipping.steps == 2
    for _ in range(2):  # once to find them, once more
        seen = arrays(skipping.batches())
        indices = [details["index"].tolist() for _, details in seen]
        assert indices == [[-1, -1], [-1, 3]]
    assert len(skipping.bad) == 3


def test_what_the_feeds_refuse(source):
    with pytest.raises(InputError, match="`batch_size` must not exceed the n"):
        feed(source.train, "fail", batch_size=5)
    with pytest.raises(
        InputError, match="`max_objects` must be a positive int"
    ):
        feed(source.train, "fail", max_objects=0)
    with pytest.raises(InputError, match="`on_bad_image` must be one of fail"):
        feed(source.train, "ignore")
    boxes = data.load_detection_source("shapes:4").train
    with pytest.raises(InputError, match="`masks` must be False for data"):
        feed(boxes, "fail", masks=True)


def test_shapes():
    source = data.load_detection_source("shapes:5", masks=True)
    assert (source.train.size, source.validation.size) == (5, 64)
    assert source.class_names == ("disc", "square", "triangle")
    assert source.category_ids == (1, 2, 3)
    assert source.notes == ()
    black = preprocess_input(np.zeros((1, 1, 3), "float32"))
    for split, seed in ((source.train, 0), (source.validation, 1)):
        pictures, boxes, labels, masks = shapes(5, seed)
        for i in range(5):
            pixels = split.read(i)
            assert pixels.dtype == "uint8"
            # The network is shown what the rule has drawn, but for black.
            shown = preprocess_input(pixels.astype("float32"))
            expected = np.maximum(pictures[i], black)
            np.testing.assert_allclose(shown, expected, atol=0.009)
            rows = split.objects.targets(i, 3)
            objects = split.objects
            np.testing.assert_array_equal(objects.corners[rows], boxes[i])
            np.testing.assert_array_equal(objects.labels[rows], labels[i])
            assert objects.areas[rows].tolist() == [m.sum() for m in masks[i]]
            for row, mask in zip(rows, masks[i], strict=True):
                code = objects.segmentations.code(row)
                assert code == encoded(mask)
    assert len(source.validation.truth()["images"]) == 64
    assert source.train.name(0) == "training image 0 of the shapes"
    # The first of many are the same.
    some = data.load_detection_source("shapes").train
    assert some.size == 64
    np.testing.assert_array_equal(some.read(4), source.train.read(4))


@pytest.mark.slow
def test_two_replicas(root, source, whole):
    """The same batches as one device has."""
    here = pathlib.Path(__file__).parent
    result = subprocess.run(
        [sys.executable, here / "detection_data_replicas.py", root],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    evaluated = arrays(
        batches.evaluation_feed(
            tf.distribute.get_strategy(),
            source.validation,
            batch_size=6,
            input_shape=SHAPE,
        ).batches()
    )
    assert seen == {"training": sums(whole[1:3]), "evaluation": sums(evaluated)}


def sums(seen):
    """Numbers that tell images and targets apart, to be sent as JSON."""

    def of(values):
        values = values.reshape(len(values), -1).astype("float64")
        return (values @ np.arange(1, values.shape[1] + 1)).tolist()

    return [[of(x), {k: of(v) for k, v in y.items()}] for x, y in seen]
