"""The network that is trained: raw pixels in, probabilities out."""

import contextlib

import keras
import numpy as np

from eca_keras.applications.building import build_network
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.utils.keras_graph import policy_scope


def normalization(mean, std):
    """Return the layer that normalizes images with values in [0, 255].

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
    """Build a network with normalization in front.

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
    softmax = keras.layers.Softmax(name="probabilities", dtype=logits.dtype)
    return keras.Model(images, softmax(logits), name=network.name), network


def precision_policy(precision):
    """Return the policy to build in: Keras's own, unless it is mixed."""
    if precision.startswith("mixed"):
        return policy_scope(precision)
    return contextlib.nullcontext()
