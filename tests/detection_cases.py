"""What the tests of the detectors share."""

import pathlib

import keras
import numpy as np

from eca_keras.applications import attention
from eca_keras.applications import resnet

GOLDEN = pathlib.Path(__file__).parent / "golden/detection/detection.npz"


def golden(part):
    """Torchvision's answers on one part, with their inputs."""
    with np.load(GOLDEN) as file:
        found = {
            name.partition("/")[2]: file[name]
            for name in file.files
            if name.startswith(f"{part}/")
        }
    return {
        name: array.astype("float32") if array.dtype == "float16" else array
        for name, array in found.items()
    }


def tiny_backbone(widths=(8, 8, 16, 16), depth=1, kind="eca"):
    """An ECA-ResNet of the usual geometry that is fast to build and run."""
    row = resnet.ResNet(
        resnet.basic_branch,
        (depth,) * 4,
        expansion=1,
        widths=widths,
        stem_widths=widths[:1],
    )
    attend = attention.resolve(
        kind, "adaptive", released=None, stages=4, model="tiny"
    )
    images = keras.Input((None, None, 3))
    return keras.Model(images, resnet._features(images, row, attend))


def randomize(model, seed=0):
    """Weights far from those of a new model, whose answers are constant."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            values = rng.uniform(0.5, 1.5, weight.shape)
        else:
            values = rng.normal(0, 0.1, weight.shape)
        weight.assign(values)


def pad_objects(boxes, labels, places):
    """Targets of a batch from one array of each per image."""
    padded = {
        "boxes": np.zeros((len(boxes), places, 4), "float32"),
        "labels": np.full((len(boxes), places), -1, "int32"),
    }
    for i, (corners, classes) in enumerate(zip(boxes, labels, strict=True)):
        padded["boxes"][i, : len(corners)] = np.reshape(corners, (-1, 4))
        padded["labels"][i, : len(classes)] = classes
    return padded
