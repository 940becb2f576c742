"""Reads off the names and shapes of a state dict which network it is of."""

import dataclasses
import re

from eca_keras.applications import mobilenet_v2
from eca_keras.utils import checks
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown
from eca_keras.weights import heads
from eca_keras.weights import resnets
from eca_keras.weights.layouts import ANCHORS
from eca_keras.weights.layouts import StateDict
from eca_keras.weights.tensors import CheckpointError

ECA_KINDS = ("eca", "eca_ns")
MAX_KERNEL_SIZE = 2047  # beyond the channels of any network here

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
    r"stages\.0\.0\.conv1_1x1\.conv\.weight": "a ByobNet of timm, such as "
    "eca_resnet33ts",
    r"stages\.0\.blocks\.0\.conv1\.weight": "a ResNet with normalizer-free "
    "or pre-activation blocks of timm",
    r"(res2|stages\.0)\.0\.(conv1|shortcut)\.weight": "a ResNet of "
    "detectron2 or a pre-activation ResNet of timm",
    r"resnet\.encoder\.stages\.0\.layers\.0\..*": "a ResNet of transformers, "
    "whose names are others",
}


@dataclasses.dataclass(frozen=True)
class Network:
    """What a state dict holds.

    Attributes:
        builder: Name of the builder in `eca_keras.applications`.
        attention: `"eca"`, `"eca_ns"`, `None` (the plain network), or what
            the file calls another kind of attention.
        kernel_sizes: Kernel sizes per stage, or `None` without a kernel.
        classes: Number of classes, or `None` without a classifier that is
            one linear layer.
        attention_module: What a residual block calls its ECA module: `"eca"`
            in the authors' files, `"se"` in timm's.
        options: Further arguments of the builder, a dictionary.
        head: What the file calls the classifier, such as `"fc"`.
        others: Names of tensors that are neither of the network nor of its
            classifier, such as those of a detector's heads.
        source: Keys and prefix under which the file has the network, such
            as `"state_dict_ema"` or `"state_dict.backbone"`.
        ema: Whether the file says that these are an EMA of the weights.
        beside: `source` of the weights of the other kind, where the file has
            both the weights and their EMA.
    """

    builder: str
    attention: str | None
    kernel_sizes: tuple | None
    classes: int | None
    attention_module: str = "eca"
    options: dict = dataclasses.field(default_factory=dict)
    head: str | None = None
    others: tuple[str, ...] = ()
    source: str = ""
    ema: bool = False
    beside: tuple[str, ...] = ()

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


def recognise(state: StateDict) -> Network:
    """Return the `Network` of a state dict.

    Raises:
        CheckpointError: if it is not a network of this library.
    """
    shapes = state.shapes
    body = {
        name.removeprefix(state.prefix): shape
        for name, shape in shapes.items()
        if name.startswith(state.prefix)
    }
    readers = dict(zip(ANCHORS, (_resnet, _mobilenet), strict=True))
    for anchor, reader in readers.items():
        if anchor in body:
            network, features = reader(body)
            break
    else:
        raise CheckpointError(_stranger(shapes))
    others = {
        name: shape
        for name, shape in shapes.items()
        if not heads.is_of_network(name, state.prefix)
    }
    head, classes = heads.find(others, features, state.prefix)
    return dataclasses.replace(
        network,
        classes=classes,
        head=head,
        others=() if head is not None else tuple(others),
        source=state.source,
        ema=state.ema,
        beside=state.beside,
    )


def _stranger(shapes):
    for pattern, family in _OTHERS.items():
        if any(re.fullmatch(rf"(.*\.)?{pattern}", name) for name in shapes):
            return (
                f"it looks like {family}, not like a ResNet or a MobileNetV2 "
                "with ECA."
            )
    return (
        "it is of an unknown architecture, neither a ResNet nor a "
        f"MobileNetV2. It begins with {listed(sorted(shapes)[:3])}."
    )


def _size(shapes, name, axis=0):
    """Return the size of an axis of a tensor, 0 where there is none."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0


def _resnet(shapes):
    """Return the `Network` and the number of its last channels."""
    attention, modules = [], set()
    for name, shape in shapes.items():
        if match := _RESNET_BLOCK.fullmatch(name):
            stage, _, part, leaf = match.groups()
            if not _RESNET_PARTS.fullmatch(part):
                attention.append((int(stage) - 1, f"{part}.{leaf}", shape))
                modules.add(part)
    builder, options, blocks = resnets.recognise(shapes)
    kind, kernel_sizes = _attention(
        attention,
        len(blocks),
        known=("eca.conv.weight", "se.conv.weight"),
    )
    network = Network(
        builder,
        kind,
        kernel_sizes,
        classes=None,
        attention_module=min(modules) if kind in ECA_KINDS else "eca",
        options=options,
    )
    return network, blocks[-1][-1][-1]


def _mobilenet(shapes):
    """Return the `Network` and the number of its last channels."""
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
    network = Network(
        "ECAMobileNetV2", kind, kernel_sizes, classes=None, options=options
    )
    return network, widths[-1]


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
        or not all(
            checks.is_kernel_size(k) and k <= MAX_KERNEL_SIZE
            for size in sizes
            for k in size
        )
    ):
        raise CheckpointError(
            "a builder takes one odd kernel size per stage, and the file has "
            f"{[sorted(size) for size in sizes]}."
        )
    return kinds.pop(), tuple(size.pop() for size in sizes)
