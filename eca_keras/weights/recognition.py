"""Reads off the names and shapes of a state dict which network it is of."""

import dataclasses
import re

from eca_keras.applications import mobilenet_v2
from eca_keras.applications import resnet
from eca_keras.utils import checks
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown
from eca_keras.weights.tensors import CheckpointError

ECA_KINDS = ("eca", "eca_ns")

_RESNET_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(\w+)\.(.+)")
_RESNET_PARTS = re.compile(r"(conv|bn)\d|downsample")
_MOBILENET_BLOCK = re.compile(r"features\.(\d+)\.conv\.(\d+)\.(.+)")

# What other families are recognised by: a pattern that one of their names
# matches, the first that does.
_OTHERS = {
    r"blocks\.0\.attn\.qkv\.weight": "a vision transformer",
    r"encoder\.layers\.encoder_layer_0\..*": "a vision transformer",
    r"(features|layers)\.[01]\.(0|blocks\.0)\.attn\.qkv\.weight": "a Swin "
    "transformer",
    r"stages\.0\.blocks\.0\.conv_dw\.weight": "ConvNeXt",
    r"conv_stem\.weight": "a MobileNet or EfficientNet of timm",
    r"features\.denseblock1\..*": "DenseNet",
    r"Conv2d_1a_3x3\..*": "Inception",
    r"features\.\d+\.squeeze\.weight": "SqueezeNet",
    r"features\.0\.weight": "VGG or AlexNet",
    r"backbone\..*": "a detector or segmenter, of which only the classifier "
    "could be loaded",
}


@dataclasses.dataclass(frozen=True)
class Network:
    """What a state dict holds.

    Attributes:
        builder: Name of the builder in `eca_keras.applications`.
        attention: `"eca"`, `"eca_ns"`, `None` (the plain network), or what
            the file calls another kind of attention.
        kernel_sizes: Kernel sizes per stage, or `None` without a kernel.
        classes: Number of classes, or `None` without a classifier.
        attention_module: What a residual block calls its ECA module: `"eca"`
            in the authors' files, `"se"` in timm's.
        options: Further arguments of the builder, a dictionary.
    """

    builder: str
    attention: str | None
    kernel_sizes: tuple | None
    classes: int | None
    attention_module: str = "eca"
    options: dict = dataclasses.field(default_factory=dict)

    @property
    def arguments(self):
        """The arguments with which the builder makes this network."""
        arguments = {**self.options, "attention": self.attention}
        if self.kernel_sizes is not None:
            arguments["kernel_size"] = self.kernel_sizes
        if self.classes is None:
            arguments["include_top"] = False
        else:
            arguments["classes"] = self.classes
        return arguments


def recognise(shapes):
    """Return the `Network` of a state dict.

    Args:
        shapes: Dictionary from PyTorch's names to shapes.

    Raises:
        CheckpointError: if it is not a network of this library.
    """
    if "layer1.0.conv1.weight" in shapes:
        return _resnet(shapes)
    if "features.1.conv.0.0.weight" in shapes:
        return _mobilenet(shapes)
    for pattern, family in _OTHERS.items():
        if any(re.fullmatch(pattern, name) for name in shapes):
            raise CheckpointError(
                f"it looks like {family}, not like a ResNet or a MobileNetV2 "
                "with ECA."
            )
    raise CheckpointError(
        "it is of an unknown architecture, neither a ResNet nor a "
        f"MobileNetV2. It begins with {listed(sorted(shapes)[:3])}."
    )


def _size(shapes, name, axis=0):
    """Return the size of an axis of a tensor, 0 where there is none."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0


def _resnet(shapes):
    depths, attention, modules = {}, [], set()
    for name, shape in shapes.items():
        if match := _RESNET_BLOCK.fullmatch(name):
            stage, block, part, leaf = match.groups()
            stage = int(stage) - 1
            depths[stage] = max(depths.get(stage, 0), int(block) + 1)
            if not _RESNET_PARTS.fullmatch(part):
                attention.append((stage, f"{part}.{leaf}", shape))
                modules.add(part)
    depths = tuple(depth for _, depth in sorted(depths.items()))
    geometry = _file_geometry(shapes, depths)
    builders = [
        name
        for name, row in resnet.RESNETS.items()
        if _row_geometry(row) == geometry
    ]
    if not builders:
        raise CheckpointError(
            f"it is a ResNet that no builder makes: {geometry}."
        )
    kind, kernel_sizes = _attention(
        attention, len(depths), known=("eca.conv.weight", "se.conv.weight")
    )
    return Network(
        builders[0],
        kind,
        kernel_sizes,
        _size(shapes, "fc.weight") or None,
        attention_module=min(modules) if kind in ECA_KINDS else "eca",
    )


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """What tells the rows of the ResNets apart."""

    bottleneck: bool
    depths: tuple
    stem: tuple
    average_shortcut: bool
    width: int  # of the 3 x 3 convolutions of the first stage
    groups: int

    def __str__(self):
        block = "bottleneck" if self.bottleneck else "basic"
        shortcut = "average-pool" if self.average_shortcut else "strided"
        return (
            f"{block} blocks {self.depths}, stem of {self.stem} channels, "
            f"{shortcut} shortcuts, first stage {self.width} wide in "
            f"{self.groups} groups"
        )


def _row_geometry(row):
    if row.stem is resnet.small_stem:
        return None  # nobody has published such weights
    return _Geometry(
        row.branch is resnet.bottleneck_branch,
        row.depths,
        row.stem_widths,
        row.shortcut is resnet.average_shortcut,
        row.widths[0] * row.base_width // resnet.BASE_WIDTH * row.groups,
        row.groups,
    )


def _file_geometry(shapes, depths):
    stem = ("conv1.weight",)
    if "conv1.0.weight" in shapes:
        stem = ("conv1.0.weight", "conv1.3.weight", "conv1.6.weight")
    width = _size(shapes, "layer1.0.conv2.weight")
    group_width = _size(shapes, "layer1.0.conv2.weight", 1)
    return _Geometry(
        "layer1.0.conv3.weight" in shapes,
        depths,
        tuple(_size(shapes, name) for name in stem),
        len(shapes.get("layer2.0.downsample.1.weight", ())) == 4,
        width,
        width // group_width if group_width else 0,
    )


def _mobilenet(shapes):
    table = mobilenet_v2.MOBILENET_V2
    stage_of = [0]  # the stage of each block; blocks are counted from 1
    widths = [_size(shapes, "features.0.0.weight")]
    for stage, row in enumerate(table.depths):
        projection = 2 if stage else 1
        name = f"features.{len(stage_of)}.conv.{projection}.weight"
        widths.append(_size(shapes, name))
        stage_of.extend([stage] * row.blocks)
    widths.append(_size(shapes, f"features.{len(stage_of)}.0.weight"))
    options = _width_options(widths)
    attention = []
    for name, shape in shapes.items():
        match = _MOBILENET_BLOCK.fullmatch(name)
        if match and 1 <= int(match[1]) < len(stage_of):
            block = int(match[1])
            last = 3 if block > 1 else 2  # module of the block's last BN
            if int(match[2]) > last:
                attention.append((stage_of[block], match[3], shape))
    kind, kernel_sizes = _attention(
        attention, len(table.depths), known=("conv.weight",)
    )
    return Network(
        "ECAMobileNetV2",
        kind,
        kernel_sizes,
        _size(shapes, "classifier.1.weight") or None,
        options=options,
    )


def _width_options(widths):
    """Return the arguments of `ECAMobileNetV2` that give these widths."""
    # Several may: the one with fewest decimals is what people write.
    for alpha in sorted(
        (step / 1000 for step in range(1, 4001)), key=lambda a: len(str(a))
    ):
        for rounding in mobilenet_v2.ROUNDINGS:
            if mobilenet_v2.widths(alpha, rounding) == widths:
                return {"alpha": alpha, "rounding": rounding}
    raise CheckpointError(
        "it is a MobileNetV2 whose widths no multiplier gives: "
        f"{widths} channels."
    )


def _attention(tensors, stages, known):
    """Return the kind of attention and its kernel sizes per stage.

    Args:
        tensors: `(stage, name, shape)` of each tensor of attention.
        stages: Number of stages.
        known: Names of the tensor of an ECA module.
    """
    if not tensors:
        return None, None
    foreign = [name for _, name, _ in tensors if name not in known]
    if foreign:
        return shown(foreign[0]), None
    if any(len(shape) != 3 or shape[1] != 1 for *_, shape in tensors):
        raise CheckpointError(
            "its attention has tensors that are no kernels of ECA: shape "
            f"{tensors[0][2]}."
        )
    kinds = {"eca" if shape[0] == 1 else "eca_ns" for *_, shape in tensors}
    sizes = [
        {shape[2] for at, _, shape in tensors if at == stage}
        for stage in range(stages)
    ]
    if (
        len(kinds) > 1
        or any(len(size) != 1 for size in sizes)
        or not all(checks.is_kernel_size(k) for size in sizes for k in size)
    ):
        raise CheckpointError(
            "a builder takes one odd kernel size per stage, and the file has "
            f"{[sorted(size) for size in sizes]}."
        )
    return kinds.pop(), tuple(size.pop() for size in sizes)
