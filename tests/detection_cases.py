"""What the tests of the detectors share."""

import pathlib

import keras
import numpy as np

from eca_keras.applications import attention
from eca_keras.applications import resnet
from eca_keras.layers import ECA
from eca_keras.profiling import layer_costs

GOLDEN = pathlib.Path(__file__).parent / "golden/detection"

SHAPE = (72, 100, 3)  # no multiple of 32


def golden(part, file="detection.npz"):
    """Torchvision's answers on one part, with their inputs."""
    with np.load(GOLDEN / file) as arrays:
        found = {
            name.removeprefix(f"{part}/"): arrays[name]
            for name in arrays.files
            if name.startswith(f"{part}/") or not part
        }
    return {
        name: array.astype("float32") if array.dtype == "float16" else array
        for name, array in found.items()
    }


def images(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, *shape)).astype("float32")


def tiny_backbone(widths=(16,) * 4, depth=1, kind="eca"):
    """An ECA-ResNet of the usual geometry that is fast to build and run.

    From 8 channels to 16 or fewer, the gradient of a shortcut's convolution
    (1 x 1, stride 2) writes past its memory in TensorFlow 2.21 with oneDNN on
    processors with AVX-512 (`brgconv_strided`), which ends some processes.
    """
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
    return keras.Model(images, resnet.features(images, row, attend))


def randomize(model, seed=0):
    """Weights far from those of a new model, whose answers are constant."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            values = rng.uniform(0.5, 1.5, weight.shape)
        else:
            values = rng.normal(0, 0.1, weight.shape)
        weight.assign(values)


def pad_objects(boxes, labels, max_objects):
    """Targets of a batch from one array of each per image."""
    padded = {
        "boxes": np.zeros((len(boxes), max_objects, 4), "float32"),
        "labels": np.full((len(boxes), max_objects), -1, "int32"),
    }
    for i, (corners, classes) in enumerate(zip(boxes, labels, strict=True)):
        padded["boxes"][i, : len(corners)] = np.reshape(corners, (-1, 4))
        padded["labels"][i, : len(classes)] = classes
    return padded


TARGETS = pad_objects(
    [[[5, 5, 40, 50], [30, 20, 90, 70]], [[30, 10, 80, 60]], []],
    [[1, 2], [0], []],
    max_objects=3,
)


def mmdet_rule(layer):
    """The counting of mmdet's `get_flops.py`, which the paper prints."""
    size = layer_costs.size

    def convolution(layer, inputs, outputs):
        # What is transposed is counted at its outputs, too. The ReLU of the
        # proposals' convolution is none of mmdet's layers.
        relu = layer.activation is keras.activations.relu
        relu = relu and layer.name != "rpn_hidden"
        reads = size(layer.kernel.shape) // outputs[-1]
        return [size(outputs) * (reads + layer.use_bias + relu)] * 2

    def dense(layer, inputs, outputs):  # its bias counts nothing
        relu = layer.activation is keras.activations.relu
        return [size(outputs) * (inputs[-1] + relu)] * 2

    def pooling(layer, inputs, outputs):  # that of the pyramid is no layer
        return [size(inputs) * (layer.name != "fpn_p6")] * 2

    def activation(layer, inputs, outputs):
        return [
            size(outputs) * (layer.activation is keras.activations.relu)
        ] * 2

    def attention(layer, inputs, outputs):
        means = inputs[0] * inputs[-1] * layer.resolved_kernel_size
        return [size(inputs) + means] * 2

    rules = {
        keras.layers.Conv2D: convolution,
        keras.layers.Conv2DTranspose: convolution,
        keras.layers.Dense: dense,
        keras.layers.BatchNormalization: lambda _, i, o: [2 * size(o)] * 2,
        keras.layers.Activation: activation,
        keras.layers.MaxPooling2D: pooling,
        ECA: attention,
    }
    kinds = (kind for kind in rules if isinstance(layer, kind))
    return rules.get(next(kinds, None))


def check_detections(found, sizes, threshold):
    """Checks what a detector of three classes found in images of `sizes`."""
    for i, (height, width) in enumerate(sizes):
        count = found["count"][i]
        boxes, scores = found["boxes"][i], found["scores"][i]
        assert boxes.min() >= 0
        assert (boxes.max(axis=0) <= [width, height, width, height]).all()
        assert (scores[:count] > threshold).all()
        assert (np.diff(scores) <= 0).all()
        assert set(found["labels"][i, :count]) <= {0, 1, 2}
        assert (found["labels"][i, count:] == -1).all()
        assert (boxes[count:] == 0).all()
