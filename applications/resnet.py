"""ECA-ResNet: residual networks with channel attention on every block."""

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
from eca_keras.applications.pruned import PRUNED_50D
from eca_keras.applications.pruned import PRUNED_101D
from eca_keras.layers.pad_channels import PadChannels
from eca_keras.utils import checks
from eca_keras.utils.types import Activation
from eca_keras.utils.types import Attention
from eca_keras.utils.types import InputShape
from eca_keras.utils.types import KernelSize
from eca_keras.utils.types import PathLike
from eca_keras.utils.types import Pooling

RELU = functools.partial(layers.Activation, "relu")

BASE_WIDTH = 64  # of the first stage, in which ResNeXt's widths are stated

RESNET_PAPER = (
    "[Deep Residual Learning for Image Recognition]"
    "(https://arxiv.org/abs/1512.03385) (CVPR 2016)"
)
RESNET_D_PAPER = (
    "[Bag of Tricks for Image Classification with Convolutional Neural\n"
    "          Networks](https://arxiv.org/abs/1812.01187) (CVPR 2019)"
)
RESNEXT_PAPER = (
    "[Aggregated Residual Transformations for Deep Neural Networks]"
    "(https://arxiv.org/abs/1611.05431) (CVPR 2017)"
)


def _names(prefix):
    """Name as in `keras.applications.resnet`."""
    return ConvNames(
        pad=f"{prefix}_pad",
        conv=f"{prefix}_conv",
        bn=f"{prefix}_bn",
        activation=f"{prefix}_relu",
    )


def basic_branch(x, row, widths, strides, prefix):
    """Two 3 x 3 convolutions (He et al. 2016, Figure 5 left)."""
    first, last = widths
    x = conv_bn(
        x, first, 3, _names(f"{prefix}_1"), strides=strides, activation=RELU
    )
    return conv_bn(x, last, 3, _names(f"{prefix}_2"))


def bottleneck_branch(x, row, widths, strides, prefix):
    """1 x 1, 3 x 3 and 1 x 1 convolution (He et al. 2016, Figure 5 right).

    The stride is on the 3 x 3 convolution ("v1.5"), as in PyTorch. With
    `row.groups` it is ResNeXt's (Xie et al. 2017, Figure 3 c).
    """
    first, second, last = widths
    x = conv_bn(x, first, 1, _names(f"{prefix}_1"), activation=RELU)
    x = conv_bn(
        x,
        second,
        3,
        _names(f"{prefix}_2"),
        strides=strides,
        groups=row.groups,
        activation=RELU,
    )
    return conv_bn(x, last, 1, _names(f"{prefix}_3"))


def projection_shortcut(x, filters, strides, prefix):
    """1 x 1 convolution where the shape changes (option B of He et al.)."""
    if strides == 1 and x.shape[channel_axis()] == filters:
        return x
    return conv_bn(x, filters, 1, _names(f"{prefix}_0"), strides=strides)


def average_shortcut(x, filters, strides, prefix):
    """Average-pooling, then 1 x 1 convolution (ResNet-D, He et al. 2019).

    Where the size is odd, the last window is smaller: padding does not count.
    """
    if strides == 1 and x.shape[channel_axis()] == filters:
        return x
    if strides > 1:
        x = layers.AveragePooling2D(
            strides, padding="same", name=f"{prefix}_0_pool"
        )(x)
    return conv_bn(x, filters, 1, _names(f"{prefix}_0"))


def padded_shortcut(x, filters, strides, prefix):
    """Subsampling and zero channels, no parameters (option A)."""
    if strides > 1:
        x = layers.MaxPooling2D(1, strides=strides, name=f"{prefix}_0_pool")(x)
    if x.shape[channel_axis()] == filters:
        return x
    return PadChannels(filters, name=f"{prefix}_0_channels")(x)


def imagenet_stem(x, widths):
    """7 x 7 convolution and 3 x 3 max-pooling, both with stride 2."""
    (width,) = widths
    x = conv_bn(x, width, 7, _names("conv1"), strides=2, activation=RELU)
    return _stem_pool(x)


def deep_stem(x, widths):
    """3 x 3 convolutions instead of the 7 x 7 (ResNet-D, He et al. 2019)."""
    for index, width in enumerate(widths):
        x = conv_bn(
            x,
            width,
            3,
            _names(f"conv1_{index + 1}"),
            strides=1 if index else 2,
            activation=RELU,
        )
    return _stem_pool(x)


def _stem_pool(x):
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def small_stem(x, widths):
    """3 x 3 convolution: keeps the size of a small image."""
    (width,) = widths
    return conv_bn(x, width, 3, _names("conv1"), activation=RELU)


@dataclasses.dataclass(frozen=True)
class ResNet:
    """One row of the family.

    Attributes:
        branch: Residual branch of a block.
        depths: Number of blocks per stage.
        widths: Width of the branch per stage.
        expansion: Output channels of a block by the width of its branch.
        released: Kernel sizes of the released ECA network, per stage.
        stem: What comes before the first stage.
        stem_widths: Output channels of the convolutions of the stem.
        shortcut: Shortcut of a block that changes the shape.
        groups: Groups of the 3 x 3 convolution of a bottleneck (ResNeXt's
            cardinality).
        base_width: Channels of one such group in a stage of width 64.
        block_widths: Output channels of the convolutions of each block, by
            stage, where they do not follow from the above: pruned networks.
        paper: Reference of the plain network.
        default_size: Height and width of the images, in pixels.
        min_size: Smallest height and width, in pixels.
    """

    branch: typing.Callable[..., typing.Any]
    depths: tuple
    expansion: int
    released: tuple | None = None
    widths: tuple = (64, 128, 256, 512)
    stem: typing.Callable = imagenet_stem
    stem_widths: tuple = (64,)
    shortcut: typing.Callable = projection_shortcut
    groups: int = 1
    base_width: int = BASE_WIDTH
    block_widths: tuple | None = None
    paper: str = RESNET_PAPER
    default_size: int = 224
    min_size: int = 32

    @property
    def blocks(self) -> tuple:
        """Output channels of the convolutions of each block, by stage."""
        return self.block_widths or tuple(
            (self._convolutions(width),) * depth
            for depth, width in zip(self.depths, self.widths, strict=True)
        )

    def _convolutions(self, width):
        if self.branch is basic_branch:
            return width, width
        inner = width * self.base_width // BASE_WIDTH * self.groups
        return inner, inner, self.expansion * width

    def with_widths(self, block_widths: typing.Any) -> ResNet:
        """Return the row with other widths, `block_widths` of a builder."""
        if block_widths is None:
            return self
        expected = [[len(widths) for widths in stage] for stage in self.blocks]
        try:
            blocks = tuple(
                tuple(tuple(widths) for widths in stage)
                for stage in block_widths
            )
        except TypeError:
            blocks = ()
        found = [[len(widths) for widths in stage] for stage in blocks]
        flat = [w for stage in blocks for widths in stage for w in widths]
        rule = (
            "must have a tuple for each stage, of a tuple for each block, of "
            f"the widths of its {expected[0][0]} convolutions, for "
            f"{', '.join(map(str, self.depths))} blocks, positive integers "
            f"divisible by {self.groups}, the groups"
        )
        if found != expected or not all(
            checks.is_int(w) and w > 0 and w % self.groups == 0 for w in flat
        ):
            raise checks.refusal("block_widths", block_widths, rule)
        return dataclasses.replace(self, block_widths=blocks)


_basic = functools.partial(ResNet, basic_branch, expansion=1)
_bottleneck = functools.partial(ResNet, bottleneck_branch, expansion=4)
# Section 4.2 of He et al. 2016: CIFAR's 32 x 32 images, 6 n + 2 layers.
_small = functools.partial(
    _basic,
    widths=(16, 32, 64),
    stem=small_stem,
    stem_widths=(16,),
    shortcut=padded_shortcut,
    default_size=32,
    min_size=8,
)
# timm's kernels: Eq. 12, but never below 3, which no stage here comes near.
_average = functools.partial(
    _bottleneck,
    shortcut=average_shortcut,
    released=(5, 5, 5, 7),
    paper=RESNET_D_PAPER,
)
_deep = functools.partial(_average, stem=deep_stem, stem_widths=(32, 32, 64))
_tiered = functools.partial(_deep, stem_widths=(24, 32, 64))
_RESNEXT_32X4D: typing.Any = {
    "groups": 32,
    "base_width": 4,
    "paper": RESNEXT_PAPER,
}
_RESNEXT_32X8D: typing.Any = {
    "groups": 32,
    "base_width": 8,
    "paper": RESNEXT_PAPER,
}

RESNETS = {
    "ECAResNet18": _basic((2, 2, 2, 2), released=(3, 5, 7, 7)),
    "ECAResNet34": _basic((3, 4, 6, 3), released=(3, 3, 5, 7)),
    "ECAResNet50": _bottleneck((3, 4, 6, 3), released=(3, 5, 5, 7)),
    "ECAResNet101": _bottleneck((3, 4, 23, 3), released=(3, 3, 5, 7)),
    "ECAResNet152": _bottleneck((3, 8, 36, 3), released=(3, 3, 5, 7)),
    "ECAResNet26T": _tiered((2, 2, 2, 2)),
    "ECAResNet50T": _tiered((3, 4, 6, 3)),
    "ECAResNet50D": _deep((3, 4, 6, 3)),
    "ECAResNet101D": _deep((3, 4, 23, 3)),
    "ECAResNet200D": _deep((3, 24, 36, 3)),
    "ECAResNet269D": _deep((3, 30, 48, 8)),
    "ECAResNetLight": _average((1, 1, 11, 3)),
    "ECAResNet50DPruned": _deep((3, 4, 6, 3), block_widths=PRUNED_50D),
    "ECAResNet101DPruned": _deep((3, 4, 23, 3), block_widths=PRUNED_101D),
    "ECAResNeXt26T": _tiered((2, 2, 2, 2), **_RESNEXT_32X4D),
    "ECAResNeXt50T": _tiered((3, 4, 6, 3), **_RESNEXT_32X4D),
    "ECAResNeXt50_32x4d": _bottleneck((3, 4, 6, 3), **_RESNEXT_32X4D),
    "ECAResNeXt101_32x8d": _bottleneck((3, 4, 23, 3), **_RESNEXT_32X8D),
    "ECAResNet20": _small((3, 3, 3)),
    "ECAResNet32": _small((5, 5, 5)),
    "ECAResNet56": _small((9, 9, 9)),
}


def features(x, row, attend):
    """Map an image tensor to the last feature map."""
    x = row.stem(x, row.stem_widths)
    for stage, blocks in enumerate(row.blocks):
        for block, widths in enumerate(blocks):
            # Stage numbers begin at 2, as in He et al. and keras.applications.
            prefix = f"conv{stage + 2}_block{block + 1}"
            strides = 2 if block == 0 and stage > 0 else 1
            shortcut = row.shortcut(x, widths[-1], strides, prefix)
            x = row.branch(x, row, widths, strides, prefix)
            x = attend(x, stage, f"{prefix}_")
            x = layers.Add(name=f"{prefix}_add")([shortcut, x])
            x = RELU(name=f"{prefix}_out")(x)
    return x


_LAST_ARGUMENTS = """\
        block_widths: Output channels of the convolutions of each block, for
            pruned networks: a tuple for each stage of a tuple for each block
            of integers. `None` (default) are those of the network.
"""


class Builder(typing.Protocol):
    """The type of the builders: functions with the row that they build."""

    row: ResNet

    def __call__(
        self,
        include_top: bool = ...,
        weights: PathLike | None = ...,
        input_tensor: keras.KerasTensor | None = ...,
        input_shape: InputShape = ...,
        pooling: Pooling = ...,
        classes: int = ...,
        classifier_activation: Activation = ...,
        name: str | None = ...,
        *,
        kernel_size: KernelSize = ...,
        attention: Attention = ...,
        dropout: float = ...,
        block_widths: typing.Any = ...,
    ) -> keras.Model: ...


def _builder(model: str) -> Builder:
    row = RESNETS[model]
    default_name = model.lower()

    def build(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=default_name,
        *,
        kernel_size="adaptive",
        attention="eca",
        dropout=0.0,
        block_widths=None,
    ):
        built = row.with_widths(block_widths)
        attend = attention_argument.resolve(
            attention,
            kernel_size,
            released=row.released,
            stages=len(row.depths),
            model=model,
        )
        return build_classifier(
            lambda image: features(image, built, attend),
            Request(
                builder=model,
                row=row,
                include_top=include_top,
                weights=weights,
                input_tensor=input_tensor,
                input_shape=input_shape,
                pooling=pooling,
                classes=classes,
                classifier_activation=classifier_activation,
                name=name,
                dropout=dropout,
            ),
        )

    build.__name__ = build.__qualname__ = model
    vars(build)["row"] = row
    build.__doc__ = builder_doc(
        f"{model.removeprefix('ECA')} with channel attention on every block",
        row.paper,
        row,
        last_arguments=_LAST_ARGUMENTS,
    )
    return typing.cast(Builder, build)


ECAResNet18 = _builder("ECAResNet18")
ECAResNet34 = _builder("ECAResNet34")
ECAResNet50 = _builder("ECAResNet50")
ECAResNet101 = _builder("ECAResNet101")
ECAResNet152 = _builder("ECAResNet152")
ECAResNet26T = _builder("ECAResNet26T")
ECAResNet50T = _builder("ECAResNet50T")
ECAResNet50D = _builder("ECAResNet50D")
ECAResNet101D = _builder("ECAResNet101D")
ECAResNet200D = _builder("ECAResNet200D")
ECAResNet269D = _builder("ECAResNet269D")
ECAResNetLight = _builder("ECAResNetLight")
ECAResNet50DPruned = _builder("ECAResNet50DPruned")
ECAResNet101DPruned = _builder("ECAResNet101DPruned")
ECAResNeXt26T = _builder("ECAResNeXt26T")
ECAResNeXt50T = _builder("ECAResNeXt50T")
ECAResNeXt50_32x4d = _builder("ECAResNeXt50_32x4d")
ECAResNeXt101_32x8d = _builder("ECAResNeXt101_32x8d")
ECAResNet20 = _builder("ECAResNet20")
ECAResNet32 = _builder("ECAResNet32")
ECAResNet56 = _builder("ECAResNet56")
