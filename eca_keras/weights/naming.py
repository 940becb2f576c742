"""PyTorch's names and layouts for the variables of this library's networks."""

import re
import typing

from keras import layers

_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# Axes of a Keras variable in PyTorch's order, by its rank: convolutions
# (h, w, in, out) -> (out, in, h, w) and transposed ones (h, w, out, in) ->
# (in, out, h, w), ECA and dense layers reversed.
_TO_TORCH = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
_DEPTHWISE_TO_TORCH = (2, 3, 0, 1)  # (h, w, channels, 1) -> (channels, 1, h, w)

_RESNET_LAYER = re.compile(r"conv(\d+)_block(\d+)_(\w+)")
_MOBILENET_LAYER = re.compile(r"(?:expanded_conv|block_(\d+))_(\w+)")

# Attention modules with one convolution: `eca.conv` and, in timm, `se.conv`.
_ECA_SUFFIXES = ("eca", "eca_circular", "eca_ns")

_FIXED = {
    "conv1_conv": "conv1",
    "conv1_bn": "bn1",
    "conv1_1_conv": "conv1.0",
    "conv1_1_bn": "conv1.1",
    "conv1_2_conv": "conv1.3",
    "conv1_2_bn": "conv1.4",
    "conv1_3_conv": "conv1.6",
    "conv1_3_bn": "bn1",
    "Conv1": "features.0.0",
    "bn_Conv1": "features.0.1",
    "Conv_1": "features.18.0",
    "Conv_1_bn": "features.18.1",
}

# Modules of an inverted residual. The first has no expansion, so its modules
# begin one earlier.
_MOBILENET_MODULES = {
    "expand": "0.0",
    "expand_BN": "0.1",
    "depthwise": "1.0",
    "depthwise_BN": "1.1",
    "project": "2",
    "project_BN": "3",
}
_FIRST_MOBILENET_MODULES = {
    "depthwise": "0.0",
    "depthwise_BN": "0.1",
    "project": "1",
    "project_BN": "2",
}


class Variable(typing.NamedTuple):
    """A variable of a Keras model with PyTorch's order of its axes."""

    variable: typing.Any
    axes: tuple

    @property
    def torch_shape(self):
        return tuple(self.variable.shape[axis] for axis in self.axes)

    def assign(self, values):
        """Assign an array in PyTorch's layout."""
        order = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        self.variable.assign(values.transpose(order))


def leaf(variable):
    """Return PyTorch's name of a variable within its module."""
    return _LEAVES.get(variable.name, variable.name)


def in_torch_order(variable, layer):
    """Return the `Variable` of a layer's variable."""
    rank = len(variable.shape)
    axes = _TO_TORCH.get(rank, tuple(range(rank)))
    if isinstance(layer, layers.DepthwiseConv2D):
        axes = _DEPTHWISE_TO_TORCH
    return Variable(variable, axes)


def torch_variables(model, attention_module="eca"):
    """Map PyTorch's names to the variables of a model.

    Args:
        model: A model made by one of the builders.
        attention_module: What the file calls the ECA module of a residual
            block: `"eca"` (the authors), `"se"` (timm).

    Returns:
        Dictionary from names to `Variable`. What comes before the network,
        such as a layer that normalizes images, has no entry.
    """
    names = {layer.name for layer in model.layers}
    # timm counts the pooling, which has no weights, as a module.
    convolution = 1 if "conv3_block1_0_pool" in names else 0
    head = "classifier.1" if "Conv1" in names else "fc"

    def module(name):
        if name == "predictions":
            return head
        if match := _RESNET_LAYER.fullmatch(name):
            stage, block, part = match.groups()
            prefix = f"layer{int(stage) - 1}.{int(block) - 1}"
            if part in ("0_conv", "0_bn"):
                index = convolution + part.endswith("bn")
                return f"{prefix}.downsample.{index}"
            if part in _ECA_SUFFIXES:
                return f"{prefix}.{attention_module}.conv"
            # "2_bn" is bn2; other attention keeps its own name.
            part = re.sub(r"(\d)_(conv|bn)", r"\2\1", part)
            return f"{prefix}.{part}"
        if match := _MOBILENET_LAYER.fullmatch(name):
            block, part = match.groups()
            modules = _MOBILENET_MODULES if block else _FIRST_MOBILENET_MODULES
            prefix = f"features.{int(block or 0) + 1}.conv"
            if part in modules:
                return f"{prefix}.{modules[part]}"
            # Attention comes last, after three or two modules with their BN.
            part = "conv" if part in _ECA_SUFFIXES else part
            return f"{prefix}.{len(modules) // 2 + 1}.{part}"
        return _FIXED.get(name)

    variables = {}
    for layer in model.layers:
        prefix = module(layer.name) if layer.weights else None
        if prefix is None:
            continue
        for variable in layer.weights:
            name = f"{prefix}.{leaf(variable)}"
            variables[name] = in_torch_order(variable, layer)
    return variables
