"""What each layer and operation does to the axis that holds the channels."""

from __future__ import annotations

import keras

from eca_keras.utils.keras_graph import ModelGraph
from eca_keras.utils.keras_graph import call_arguments
from eca_keras.utils.keras_graph import count_kernels
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional

FORMATS = ("channels_first", "channels_last")

RANKS = (3, 4, 5)  # batch, one to three positions, channels

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)

# Their features are the last axis of what they read and make.
FEATURES_LAST = (
    keras.layers.Bidirectional,
    keras.layers.Dense,
    keras.layers.Embedding,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
    keras.layers.RNN,
)

# These change sizes, and leave the axes in their order.
SAME_AXES = {
    *("Concatenate", "Cropping1D", "DynamicSlice", "Pad", "Repeat", "Slice"),
    *("Split", "Tile", "UpSampling1D", "ZeroPadding1D"),
    *("Amax", "Amin", "Max", "Mean", "Min", "Std", "Sum", "Var"),
}

# These may move axes though the shape stays the same.
MOVING = {
    *("Dot", "Einsum", "EinsumDense", "GetItem", "Inner", "Matmul", "Outer"),
    *("Rearrange", "Reshape", "Rot90", "Tensordot", "Vectorize"),
}

# Layers of Keras that compute what somebody else wrote.
FOREIGN = {
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
}


class Call:
    """One call of an operation, as far as axes are concerned.

    Attributes:
        name: Name of the operation.
        inputs, outputs: Its tensors.
        nested: Whether it is the way into or out of a nested model.
        decides: Whether the output has the axis that the operation tells,
            whatever the input has: there is a kernel from one to the other.
    """

    nested = False

    def __init__(self, node):
        self._operation = node.operation
        self._kind = {cls.__name__ for cls in type(node.operation).__mro__}
        self._order = _order(node)
        self._sliced = "GetItem" in self._kind and _only_slices(node)
        self.name = node.operation.name
        self.inputs = [] if node.is_input else list(node.input_tensors)
        self.outputs = list(node.outputs)
        self.decides = bool(count_kernels(node.operation)) and not isinstance(
            node.operation, (*NORMALIZATIONS, *FEATURES_LAST)
        )

    def own_axis(self, tensor, reading=False):
        """Return the axis that the operation itself tells, or None."""
        operation, rank = self._operation, len(tensor.shape)
        if rank not in RANKS:
            return None
        if isinstance(operation, keras.layers.TimeDistributed):
            inner = own_axis(operation.layer, rank - 1)
            return None if inner is None else inner + 1
        if any(name.startswith("ConvLSTM") for name in self._kind):
            steps = int(reading or operation.return_sequences)
            return steps + axis_of(operation.data_format, rank - steps)
        return own_axis(operation, rank)

    def joins(self, source, tensor):
        """Tell whether the axes of an output are those of an input."""
        before, after = tuple(source.shape), tuple(tensor.shape)
        if self._order is not None or self._sliced:
            return True
        if len(before) != len(after) or self._kind & MOVING:
            return False
        return (
            bool(self._kind & SAME_AXES)
            or self.own_axis(tensor) is not None
            or all(size in (1, after[i]) for i, size in enumerate(before))
        )

    def forward(self, source, tensor, axis):
        """Return where an axis of an input is in an output, or None."""
        if self._order is not None:
            return self._order.index(axis)
        return axis if self._keeps(source, tensor, axis) else None

    def backward(self, source, tensor, axis):
        """Return where an axis of an output is in an input, or None."""
        if self._order is not None:
            return self._order[axis]
        return axis if self._keeps(source, tensor, axis) else None

    def _keeps(self, source, tensor, axis):
        if not self.joins(source, tensor):
            return False
        if _is_known(self._operation):
            return True
        # Somebody else's: the axis is where its size is, if one is so large.
        after = tuple(tensor.shape)
        own = self.own_axis(tensor)
        alike = tuple(source.shape) == after
        return own == axis or (alike and after[1:].count(after[axis]) == 1)


class Link:
    """A feature map on its way into or out of a nested model."""

    nested, decides = True, False

    def __init__(self, name, source, tensor):
        self.name = name
        self.inputs, self.outputs = [source], [tensor]

    def own_axis(self, tensor, reading=False):
        return None

    def joins(self, source, tensor):
        return True

    def forward(self, source, tensor, axis):
        return axis

    backward = forward


def all_calls(model):
    """Yield the calls in a model and the models in it, from the inputs."""
    for node in ModelGraph(model).nodes:
        inner = functional(node.operation)
        if inner is None:
            yield Call(node)
            continue
        name = node.operation.name
        for pair in zip(node.input_tensors, inner.inputs, strict=False):
            yield Link(name, *pair)
        yield from all_calls(node.operation)
        for pair in zip(inner.outputs, node.outputs, strict=True):
            yield Link(name, *pair)


def axis_of(data_format, rank):
    return 1 if data_format == "channels_first" else rank - 1


def _is_map(tensor):
    return len(tensor.shape) in RANKS


def _is_keras(operation):
    return type(operation).__module__.startswith("keras.")


def _is_known(operation):
    """Tell whether it is Keras that wrote all that an operation computes."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    written = type(operation).__name__ in FOREIGN
    model = isinstance(operation, keras.Model)
    return _is_keras(operation) and not written and not model


def own_axis(operation, rank):
    """Return the channel axis that an operation has by itself, or None."""
    if isinstance(operation, NORMALIZATIONS):
        axes = operation.axis
        axes = [axes] if isinstance(axes, int) else list(axes or ())
        return axes[0] % rank if len(axes) == 1 else None
    if isinstance(operation, FEATURES_LAST):
        return rank - 1
    if isinstance(operation, keras.layers.Wrapper):
        return own_axis(operation.layer, rank)
    layers = [operation]
    if isinstance(operation, keras.Layer):
        layers = flatten_layers(operation)
    formats = {
        getattr(layer, "data_format", None)
        for layer in layers
        # By default it leaves all axes in their order, whatever they are.
        if not isinstance(layer, keras.layers.Flatten)
        or layer.data_format == "channels_first"
    }
    formats &= set(FORMATS)
    return axis_of(*formats, rank) if len(formats) == 1 else None


def _only_slices(node):
    keys = call_arguments(node)[1]
    keys = keys if isinstance(keys, (list, tuple)) else [keys]
    return all(isinstance(key, (slice, type(...))) for key in keys)


def _order(node):
    """Return for each axis of the output the one of the input, or None."""
    operation = node.operation
    if isinstance(operation, keras.layers.Permute):
        return [0, *operation.dims]
    kind = type(operation).__name__
    moves = kind in ("Transpose", "Moveaxis", "Swapaxes")
    if not moves or not _is_keras(operation):
        return None
    rank = len(node.input_tensors[0].shape)
    axes = list(range(rank))
    if kind == "Transpose":
        order = operation.axes
        return axes[::-1] if order is None else [axis % rank for axis in order]
    if kind == "Swapaxes":
        one, other = operation.axis1, operation.axis2
        axes[one], axes[other] = axes[other], axes[one]
        return axes
    source = [axis % rank for axis in operation.source]
    target = [axis % rank for axis in operation.destination]
    rest = iter(axis for axis in axes if axis not in source)
    return [
        source[target.index(i)] if i in target else next(rest) for i in axes
    ]
