"""The network that is trained: raw pixels in, probabilities out."""

import contextlib
import re

import keras
import numpy as np

from eca_keras import applications
from eca_keras.applications.attention import WITH_KERNEL
from eca_keras.applications.mobilenet_v2 import MOBILENET_V2
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.applications.resnet import RESNETS
from eca_keras.errors import InputError

BUILDERS = (*RESNETS, "ECAMobileNetV2")


def check_name(model):
    """Refuses a name that is not one of `BUILDERS`."""
    if model not in BUILDERS:
        raise InputError(
            f"`model` must be one of {', '.join(BUILDERS)}. "
            f"Received: model={model!r}"
        )


def _row(model):
    check_name(model)
    return RESNETS.get(model, MOBILENET_V2)


def default_size(model):
    """Height and width of the images that the builder `model` is meant for."""
    return _row(model).default_size


def released_kernels(model):
    """Kernel sizes that were released for `model`, `None` if none were."""
    return _row(model).released


def build_network(model, attention="eca", kernel_size="adaptive", **arguments):
    """Calls a builder with the words of the command line.

    Args:
        model: Name of the builder.
        attention: As in the builders, or `"none"`.
        kernel_size: As in the builders, or one size per stage as text with
            commas between them: `"3,5,5,7"`.
        **arguments: Further arguments of the builder.

    Raises:
        InputError: with the builder's own sentence if an argument is bad.
    """
    check_name(model)
    kernel_size = parse_kernel_size(kernel_size)
    try:
        return getattr(applications, model)(
            attention=None if attention == "none" else attention,
            kernel_size=kernel_size,
            **arguments,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def parse_kernel_size(kernel_size):
    """Makes a list of text such as `"3,5,5,7"`, leaves all else as it is."""
    if isinstance(kernel_size, str) and re.fullmatch(r"[\d,]+", kernel_size):
        return [int(size) for size in kernel_size.split(",") if size]
    return kernel_size


def kernel_size_of(attention, kernel_size):
    """Returns the kernel size for one of several kinds of attention.

    Args:
        attention: Name of the attention module, or `"none"`.
        kernel_size: What is asked of those that have a kernel.
    """
    return kernel_size if attention in WITH_KERNEL else "adaptive"


def normalization(mean, std):
    """Returns the layer that normalises images with values in [0, 255].

    Args:
        mean: Mean per channel of values in [0, 1].
        std: Standard deviation per channel.
    """
    return keras.layers.Normalization(
        mean=[255 * float(value) for value in mean],
        variance=[(255 * float(value)) ** 2 for value in std],
        name="normalization",
    )


def build_classifier(
    model,
    *,
    preprocessing,
    attention="eca",
    kernel_size="adaptive",
    dropout=0.0,
    alpha=1.0,
    precision="float32",
):
    """Builds a network with normalisation in front.

    Args:
        model: Name of the builder.
        preprocessing: `Preprocessing` of the images.
        attention: As in the builders, or `"none"`.
        kernel_size: As in the builders.
        dropout: Rate of the dropout before the top layer.
        alpha: Width of an ECAMobileNetV2; 1 for other networks.
        precision: Name of a mixed-precision policy, or `"float32"`.

    Returns:
        Two `keras.Model` of the same layers, from images with values in
        [0, 255], of shape `(batch, image_size, image_size, channels)`
        (channels last), to probabilities and to logits, both of shape
        `(batch, classes)`.
    """
    size, channels = preprocessing.image_size, preprocessing.channels
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    if channels == 1:  # grey is the average of the three
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    with precision_policy(precision):
        images = keras.Input((size, size, channels), name="images")
        network = build_network(
            model,
            attention,
            kernel_size,
            input_tensor=normalization(mean, std)(images),
            classes=len(preprocessing.labels),
            classifier_activation=None,
            dropout=dropout,
            name=model.lower(),
            **({} if alpha == 1 else {"alpha": alpha}),
        )
    [logits] = network.outputs
    shares = keras.layers.Softmax(name="probabilities", dtype=logits.dtype)
    return keras.Model(images, shares(logits), name=network.name), network


@contextlib.contextmanager
def precision_policy(precision):
    """The policy to build in: Keras's own, unless the precision is mixed."""
    before = keras.config.dtype_policy()
    if precision.startswith("mixed"):
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
