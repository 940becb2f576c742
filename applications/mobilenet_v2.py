"""ECA-MobileNetV2: inverted residuals with channel attention."""

from __future__ import annotations

import dataclasses
import functools
import typing

import keras
from keras import layers

from eca_keras.applications import attention as attention_argument
from eca_keras.applications.assembly import Request
from eca_keras.applications.assembly import build_classifier
from eca_keras.applications.blocks import ConvNames
from eca_keras.applications.blocks import channel_axis
from eca_keras.applications.blocks import conv_bn
from eca_keras.applications.docs import builder_doc
from eca_keras.utils import checks
from eca_keras.utils.types import Activation
from eca_keras.utils.types import Attention
from eca_keras.utils.types import InputShape
from eca_keras.utils.types import KernelSize
from eca_keras.utils.types import PathLike
from eca_keras.utils.types import Pooling

RELU6 = functools.partial(layers.ReLU, 6.0)


class Row(typing.NamedTuple):
    """One line of Table 2 of the MobileNetV2 paper: a run of equal blocks."""

    expansion: int  # width inside a block by its input channels
    filters: int  # output channels at alpha = 1
    blocks: int
    strides: int  # of the first block


@dataclasses.dataclass(frozen=True)
class MobileNetV2:
    """The network.

    Attributes:
        depths: The lines of Table 2, the stages of this network.
        released: Kernel sizes of the released ECA network, per stage.
        stem_filters: Output channels of the first convolution at alpha = 1.
        head_filters: Output channels of the last convolution; a larger alpha
            widens it, a smaller one does not narrow it.
        default_size: Height and width of the images, in pixels.
        min_size: Smallest height and width, in pixels.
    """

    depths: tuple = (
        Row(1, 16, 1, 1),
        Row(6, 24, 2, 2),
        Row(6, 32, 3, 2),
        Row(6, 64, 4, 2),
        Row(6, 96, 3, 1),
        Row(6, 160, 3, 2),
        Row(6, 320, 1, 1),
    )
    released: tuple = (1, 1, 1, 1, 3, 3, 3)
    stem_filters: int = 32
    head_filters: int = 1280
    default_size: int = 224
    min_size: int = 32


MOBILENET_V2 = MobileNetV2()


def make_divisible(filters, divisor=8):
    """Round to a multiple of `divisor`, down by at most a tenth."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


# How a width becomes an integer: as in keras.applications, or as in the
# released code of ECA-Net. They only differ where alpha is not 1.
ROUNDINGS = {"divisible": make_divisible, "truncate": int}


def widths(alpha, rounding="divisible"):
    """Return the output channels of the stem, each stage, and the head.

    Args:
        alpha: Positive number, the width of the network.
        rounding: A key of `ROUNDINGS`.
    """
    to_int = ROUNDINGS[rounding]
    return [
        to_int(MOBILENET_V2.stem_filters * alpha),
        *(to_int(int(row.filters * alpha)) for row in MOBILENET_V2.depths),
        to_int(MOBILENET_V2.head_filters * max(1.0, alpha)),
    ]


def _names(prefix):
    """Name as in the blocks of `keras.applications.mobilenet_v2`."""
    return ConvNames(
        pad=f"{prefix}_pad",
        conv=prefix,
        bn=f"{prefix}_BN",
        activation=f"{prefix}_relu",
    )


def inverted_residual(x, row, filters, strides, prefix, stage, attend):
    """Expansion, depthwise convolution, projection, attention, sum."""
    inputs = x
    channels = x.shape[channel_axis()]
    if row.expansion > 1:
        x = conv_bn(
            x,
            row.expansion * channels,
            1,
            _names(f"{prefix}_expand"),
            activation=RELU6,
        )
    x = conv_bn(
        x,
        None,
        3,
        _names(f"{prefix}_depthwise")._replace(pad=f"{prefix}_pad"),
        strides=strides,
        activation=RELU6,
    )
    x = conv_bn(x, filters, 1, _names(f"{prefix}_project"))
    x = attend(x, stage, f"{prefix}_")
    if strides == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}_add")([inputs, x])
    return x


def _features(x, filters, attend):
    """Map an image tensor to the last feature map."""
    stem, *stages, head = filters
    x = conv_bn(
        x,
        stem,
        3,
        ConvNames("Conv1_pad", "Conv1", "bn_Conv1", "Conv1_relu"),
        strides=2,
        activation=RELU6,
    )
    number = 0
    for stage, row in enumerate(MOBILENET_V2.depths):
        for block in range(row.blocks):
            x = inverted_residual(
                x,
                row,
                stages[stage],
                row.strides if block == 0 else 1,
                f"block_{number}" if number else "expanded_conv",
                stage,
                attend,
            )
            number += 1
    return conv_bn(
        x,
        head,
        1,
        ConvNames("Conv_1_pad", "Conv_1", "Conv_1_bn", "out_relu"),
        activation=RELU6,
    )


def ECAMobileNetV2(
    input_shape: InputShape = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    pooling: Pooling = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
    *,
    kernel_size: KernelSize = "adaptive",
    attention: Attention = "eca",
    dropout: float = 0.0,
    rounding: typing.Literal["divisible", "truncate"] = "divisible",
) -> keras.Model:
    checks.check_positive("alpha", alpha)
    checks.check_choice("rounding", rounding, ROUNDINGS)
    filters = widths(alpha, rounding)
    rule = "must leave every layer at least one filter"
    checks.check("alpha", alpha, min(filters) >= 1, rule, rounding=rounding)
    attend = attention_argument.resolve(
        attention,
        kernel_size,
        released=MOBILENET_V2.released,
        stages=len(MOBILENET_V2.depths),
        model="ECAMobileNetV2",
    )
    return build_classifier(
        lambda image: _features(image, filters, attend),
        Request(
            builder="ECAMobileNetV2",
            row=MOBILENET_V2,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name or f"ecamobilenetv2_{alpha:.2f}",
            dropout=dropout,
        ),
    )


vars(ECAMobileNetV2)["row"] = MOBILENET_V2
ECAMobileNetV2.__doc__ = builder_doc(
    "MobileNetV2 with channel attention on every block",
    "[MobileNetV2: Inverted Residuals and Linear Bottlenecks]"
    "(https://arxiv.org/abs/1801.04381) (CVPR 2018)",
    MOBILENET_V2,
    first_arguments="alpha: Positive number, the width of the network: layers "
    "have\n            `alpha` times as many filters.\n"
    "        rounding: How `alpha` times the filters becomes an integer, a\n"
    '            keyword-only argument: `"divisible"` (default) by multiples '
    'of 8 as\n            in `keras.applications`, `"truncate"` by dropping '
    "the fraction as\n            in the released code of ECA-Net.\n        ",
)
