"""Images of discs, squares and triangles, made by rule: no files needed."""

import numpy as np
import tensorflow as tf

from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.errors import InputError
from eca_keras.training.detection.coco.segmentations import encoded
from eca_keras.training.detection.objects import ObjectList
from eca_keras.training.detection.source import DetectionSplit
from eca_keras.training.detection.source import image_split

CLASSES = ("disc", "square", "triangle")
SIDE = 128  # pixels
IMAGES = 64  # in each split, if the user does not say

TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 0, 1, 2


def load(argument, masks, **policies):
    """Draw the dataset.

    Args:
        argument: Number of training images, as a string; empty for `IMAGES`.
            For validation and for the test there are always so many.
        masks: Whether objects have masks.
        **policies: For what is not to be met here.

    Returns:
        `(splits, notes)`, as of `coco.load`.
    """
    count = argument or str(IMAGES)
    if not (count.isascii() and count.isdigit() and int(count)):
        raise InputError(
            "`data` must have a positive number of images after 'shapes:'. "
            f"Received: data='shapes:{argument}'"
        )
    splits = {
        "train": _split("training", int(count), TRAIN_SEED, masks),
        "validation": _split("validation", IMAGES, VALIDATION_SEED, masks),
        "test": _split("test", IMAGES, TEST_SEED, masks),
    }
    return splits, ()


def _split(split, count, seed, masks):
    pixels = np.empty((count, SIDE, SIDE, 3), "uint8")
    objects = ObjectList(masks)
    rng = np.random.default_rng(seed)
    for i in range(count):
        image, boxes, kinds, areas = draw(rng)
        # `preprocess_input` gives the image back, but for the darkest blue,
        # from -1.8 down to -2.
        values = 255 * (image * IMAGENET_STD + IMAGENET_MEAN)
        pixels[i] = np.clip(np.round(values), 0, 255)
        for box, kind, area in zip(boxes, kinds, areas, strict=True):
            sides = box[2] - box[0], box[3] - box[1]
            objects.add(
                i,
                (*box[:2], *sides),
                box,
                kind,
                area.sum(),
                crowd=False,
                segmentation=encoded(area) if masks else None,
            )
    with tf.device("CPU"):
        pixels = tf.constant(pixels)
    return DetectionSplit(
        images=image_split(
            count,
            lambda index: tf.gather(pixels, index),
            f"{split} image {{}} of the shapes".format,
        ),
        objects=objects.arrays(count),
        image_ids=np.arange(1, count + 1),
        sizes=np.full((count, 2), SIDE, "int32"),
        category_ids=tuple(range(1, len(CLASSES) + 1)),
        class_names=CLASSES,
    )


def draw(rng):
    """Draw an image with one to three shapes that do not overlap.

    Args:
        rng: `np.random.Generator`.

    Returns:
        `(image, boxes, kinds, areas)`: float64 `(SIDE, SIDE, 3)` of about
        unit variance, and lists of corners, of numbers of `CLASSES`, and of
        masks of the size of the image.
    """
    image = rng.normal(0, 0.2, (SIDE, SIDE, 3)) + rng.uniform(-0.5, 0.5, 3)
    boxes, kinds, areas = [], [], []
    for _ in range(rng.integers(1, 4)):
        box = _free_box(rng, boxes)
        if box is None:
            continue
        kind = int(rng.integers(len(CLASSES)))
        color = rng.uniform(1, 2, 3) * rng.choice([-1, 1], 3)
        inside = _inside(kind, box)
        image[inside] = color
        boxes.append(box)
        kinds.append(kind)
        areas.append(inside)
    return image, boxes, kinds, areas


def _free_box(rng, others):
    for _ in range(20):
        size = rng.integers(20, 61)
        x, y = rng.integers(0, SIDE - size, 2)
        box = (x, y, x + size, y + size)
        if all(
            box[0] >= o[2] or o[0] >= box[2] or box[1] >= o[3] or o[1] >= box[3]
            for o in others
        ):
            return box
    return None


def _inside(kind, box):
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    across = (x - x1) / (x2 - x1)
    down = (y - y1) / (y2 - y1)
    within = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    if CLASSES[kind] == "disc":
        return (across - 0.5) ** 2 + (down - 0.5) ** 2 <= 0.25
    if CLASSES[kind] == "triangle":
        return within & (np.abs(across - 0.5) <= down / 2)
    return within
