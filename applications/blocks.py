"""Convolution, normalization and activation: the one place for constants."""

import typing

import keras
from keras import layers

BN_EPSILON = 1e-5  # PyTorch's default, as in the released weights
BN_MOMENTUM = 0.9  # PyTorch's 0.1: Keras weighs the old value, PyTorch the new

# He initialisation by fan-out, as in the released code.
CONV_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {
        "scale": 2.0,
        "mode": "fan_out",
        "distribution": "untruncated_normal",
    },
}


class ConvNames(typing.NamedTuple):
    """Layer names of one convolution with what belongs to it."""

    pad: str
    conv: str
    bn: str
    activation: str | None = None


def channel_axis():
    """Axis of the channels of a 4-D image tensor."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def conv_bn(
    x,
    filters,
    kernel_size,
    names,
    *,
    strides=1,
    groups=1,
    activation=None,
):
    """Convolution without bias, BatchNormalization, and an activation.

    Args:
        x: Image tensor.
        filters: Number of output channels, or `None` for a depthwise
            convolution.
        kernel_size: Odd integer.
        names: `ConvNames`.
        strides: Integer. A strided convolution is padded on both sides
            alike, as in PyTorch; TensorFlow's "same" pads one side more.
        groups: Integer, the number of groups of channels.
        activation: A layer class or factory that takes `name`, or `None`.
    """
    padding = "same"
    if strides > 1:
        padding = "valid"
        if kernel_size > 1:
            x = layers.ZeroPadding2D(kernel_size // 2, name=names.pad)(x)
    if filters is None:
        convolution = layers.DepthwiseConv2D(
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            depthwise_initializer=CONV_INITIALIZER,
            name=names.conv,
        )
    else:
        convolution = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            groups=groups,
            use_bias=False,
            kernel_initializer=CONV_INITIALIZER,
            name=names.conv,
        )
    x = convolution(x)
    x = layers.BatchNormalization(
        axis=channel_axis(),
        epsilon=BN_EPSILON,
        momentum=BN_MOMENTUM,
        name=names.bn,
    )(x)
    if activation is not None:
        x = activation(name=names.activation)(x)
    return x
