"""Detectors for the tests of exports: a tiny one, and trained ones."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from detection_cases import tiny_backbone
from keras import layers
from shapes_data import SIDE
from shapes_data import shapes

from eca_keras.applications.detection import FasterRCNN
from eca_keras.applications.detection import MaskRCNN
from eca_keras.applications.detection import RetinaNet
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.detections import best_detections
from eca_keras.applications.detection.detector import Detector
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD

GOLDEN = pathlib.Path(__file__).parent / "golden/detection/trained.npz"

CLASSES = ["disc", "square", "triangle"]


class Spots(Detector):
    """The smallest detector: a score and a box for each cell of an image."""

    CELL = 8  # pixels
    SHAPE = (32, 48, 3)

    num_classes = 2
    score_threshold = 0.8
    max_detections = 10

    def __init__(self):
        images = keras.Input(self.SHAPE, name="images")
        cells = layers.Conv2D(4, self.CELL, strides=self.CELL)(images)
        # Without the pyramid and anchors that the detectors share.
        super(Detector, self).__init__(
            images, {"cells": layers.Reshape((-1, 4))(cells)}
        )

    def detect(self, outputs, sizes=None):
        cells = outputs["cells"]
        height, width = (side // self.CELL for side in self.SHAPE[:2])
        y, x = np.mgrid[:height, :width].reshape(2, -1, 1) * self.CELL
        corners = np.concatenate([x, y, x, y], 1).astype("float32")
        # Boxes that reach into other cells, by how much the image says.
        sides = self.CELL * (1 + tf.sigmoid(cells[..., 2:]))
        boxes = tf.concat([tf.zeros_like(sides), sides], -1) + corners
        return best_detections(
            clip(boxes, self.true_sizes(sizes)),
            tf.reduce_max(tf.sigmoid(cells[..., :2]), -1),
            tf.cast(cells[..., 0] < cells[..., 1], tf.int32),
            score_threshold=self.score_threshold,
            iou_threshold=0.3,
            count=self.max_detections,
        )


def spots():
    """A `Spots` that finds something in the pictures of `noise`."""
    model = Spots()
    rng = np.random.default_rng(0)
    kernel, bias = (weight.shape for weight in model.weights)
    model.set_weights([rng.normal(0, 0.1, kernel), rng.normal(0, 0.1, bias)])
    return model


def noise(count=4, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *Spots.SHAPE)).astype("float32")


def build(kind):
    """A detector of three classes, `"retinanet"` or `"mask_rcnn"`, ..."""
    arguments = {
        "backbone": tiny_backbone((8, 16, 16, 32)),
        "num_classes": 3,
        "frozen_stages": 0,
        "input_shape": (SIDE, SIDE, 3),
        "filters": 16,
        "max_detections": 20,
    }
    if kind == "retinanet":
        return RetinaNet(**arguments, head_initializer="he_normal")
    classes = {"faster_rcnn": FasterRCNN, "mask_rcnn": MaskRCNN}
    return classes[kind](
        **arguments,
        units=32,
        anchor_sizes=(16, 32, 64, 128, 256),
        train_proposals=200,
        proposals=100,
        anchor_samples=64,
        proposal_samples=64,
    )


def trained(kind):
    """A detector with the weights that `make_trained.py` has written.

    A Faster R-CNN has those of the Mask R-CNN, without the head for masks.
    """
    source = model = build("mask_rcnn" if kind == "faster_rcnn" else kind)
    with np.load(GOLDEN) as arrays:
        values = arrays[source.name].astype("float32")
    ends = np.cumsum([np.prod(weight.shape) for weight in source.weights])
    parts = np.split(values, ends[:-1])
    for weight, part in zip(source.weights, parts, strict=True):
        weight.assign(part.reshape(weight.shape))
    if kind == "faster_rcnn":
        model = build(kind)
        named = {weight.path: weight for weight in source.weights}
        for weight in model.weights:
            weight.assign(named[weight.path])
    return model


def pictures(count=8, seed=1):
    """Pictures that the detectors were not trained on, normalized."""
    return shapes(count, seed)[0]


def as_pixels(images):
    """The bytes that `preprocess_input` makes the images from."""
    pixels = 255 * (images * IMAGENET_STD + IMAGENET_MEAN)
    return np.clip(np.round(pixels), 0, 255).astype("uint8")
