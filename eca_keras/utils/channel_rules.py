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
    keras.layers.Dense,
    keras.layers.Embedding,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
    keras.layers.RNN,
)

CONV_LSTM = (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
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

# Layers and operations of Keras that compute what somebody else wrote.
FOREIGN = {
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
    *("AssociativeScan", "Cond", "ForiLoop", "Map", "Pipeline", "Scan"),
    *("Switch", "VectorizedMap", "WhileLoop"),
}

# They compute what the layer inside does.
WRAPPERS = (keras.layers.Bidirectional, keras.layers.Wrapper)


class Call:
    """One call of an operation, as far as axes are concerned.

    Attributes:
        name: Name of the operation.
        inputs, outputs: Its tensors.
        nested: Whether it is the way into or out of a nested model.
        decides: Whether the output has the axis that the operation tells,
            whatever the input has: there is a kernel from one to the other.
        claims: Whether the axis that the operation tells is only that of what
            is inside it: what it does around that, somebody else wrote.
    """

    nested = False

    def __init__(self, node):
        self._operation = node.operation
        inner, steps = _unwrap(node.operation)
        self._kind = {cls.__name__ for cls in type(inner).__mro__}
        self._order = _order(node, inner, steps)
        self._sliced = "GetItem" in self._kind and _only_slices(node)
        self._axes = {}  # rank to the axis that the operation tells
        self.name = node.operation.name
        self.inputs = [] if node.is_input else list(node.input_tensors)
        self.outputs = list(node.outputs)
        self.decides = bool(count_kernels(node.operation)) and not isinstance(
            inner, (*NORMALIZATIONS, *FEATURES_LAST)
        )
        self.claims = not _is_known(inner)

    def own_axis(self, tensor):
        """Return the axis that the operation itself tells, or None."""
        rank = len(tensor.shape)
        if rank not in self._axes:
            told = rank in RANKS
            self._axes[rank] = own_axis(self._operation, rank) if told else None
        return self._axes[rank]

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

    def suspect(self, source, tensor, axis):
        """Return where an axis would be behind what a claim is about.

        Nothing but a kernel is likely to change the order of the sizes.
        """
        before, after = tuple(source.shape), tuple(tensor.shape)
        moved = not self.decides and before != after
        if moved and _sizes(before) == _sizes(after):
            return after.index(before[axis], 1)
        return axis

    def _keeps(self, source, tensor, axis):
        if not self.joins(source, tensor):
            return False
        # Somebody else's: the axis is where its size is, if one is so large.
        after = tuple(tensor.shape)
        alike = tuple(source.shape) == after
        return not self.claims or (alike and after[1:].count(after[axis]) == 1)


class Link:
    """A feature map on its way into or out of a nested model.

    Args:
        name: Name of the model.
        source, tensor: The feature map on both sides.
        steps: Number of time axes that a `TimeDistributed` adds outside.
        outer: The one of both that is outside.
    """

    nested, decides, claims = True, False, False

    def __init__(self, name, source, tensor, steps, outer):
        self.name = name
        self.inputs, self.outputs = [source], [tensor]
        self._shift = steps if outer is tensor else -steps
        # One vector a time step: there is no other axis for its features.
        self._vectors = len(outer.shape) == steps + 2 and steps > 0

    def own_axis(self, tensor):
        return len(tensor.shape) - 1 if self._vectors else None

    def joins(self, source, tensor):
        return not self._vectors

    def forward(self, source, tensor, axis):
        axis += self._shift
        return axis if axis > 0 else None

    def backward(self, source, tensor, axis):
        axis -= self._shift
        return axis if axis > 0 else None


def all_calls(model):
    """Yield the calls in a model and the models in it, from the inputs."""
    for node in ModelGraph(model).nodes:
        wrapped, steps = _unwrap(node.operation)
        inner = functional(wrapped)
        if inner is None or not _is_graph(wrapped):
            yield Call(node)
            continue
        name = node.operation.name
        for outside, inside in zip(
            node.input_tensors, inner.inputs, strict=False
        ):
            yield Link(name, outside, inside, steps, outside)
        yield from all_calls(wrapped)
        for inside, outside in zip(inner.outputs, node.outputs, strict=True):
            yield Link(name, inside, outside, steps, outside)


def _sizes(shape):
    return sorted(size or 0 for size in shape[1:])


def axis_of(data_format, rank):
    """Return the axis of the channels in a data format."""
    return 1 if data_format == "channels_first" else rank - 1


def _is_trusted(operation):
    written_by = type(operation).__module__
    return written_by.startswith(("keras.", "eca_keras.layers."))


def _is_graph(model):
    """Tell whether a model computes its graph, not what a subclass adds."""
    return type(model).call.__module__.startswith("keras.")


def _is_known(operation):
    """Tell whether Keras, or we, wrote all that an operation computes."""
    foreign = type(operation).__name__ in FOREIGN
    model = isinstance(operation, keras.Model)
    return _is_trusted(operation) and not foreign and not model


def _unwrap(operation):
    """Return what is inside wrappers, and how many time axes these add."""
    steps = 0
    while isinstance(operation, WRAPPERS) and _is_trusted(operation):
        steps += isinstance(operation, keras.layers.TimeDistributed)
        operation = _inside(operation)
    return operation, steps


def _inside(wrapper):
    if isinstance(wrapper, keras.layers.Bidirectional):
        return wrapper.forward_layer
    return wrapper.layer


def own_axis(operation, rank):
    """Return the channel axis that an operation has by itself, or None."""
    if isinstance(operation, WRAPPERS):
        steps = int(isinstance(operation, keras.layers.TimeDistributed))
        axis = own_axis(_inside(operation), rank - steps)
        return None if axis is None else axis + steps
    if isinstance(operation, NORMALIZATIONS):
        axes = operation.axis
        axes = [axes] if isinstance(axes, int) else list(axes or ())
        return axes[0] % rank if len(axes) == 1 else None
    if isinstance(operation, CONV_LSTM):
        steps = rank - operation.cell.rank - 2  # none in its states
        return steps + axis_of(operation.data_format, rank - steps)
    if isinstance(operation, FEATURES_LAST):
        return rank - 1
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


def _order(node, operation, steps):
    """Return for each axis of the output the one of the input, or None."""
    kind = type(operation).__name__
    if not _is_trusted(operation):
        return None
    if kind == "Permute":
        dims = [steps + axis for axis in operation.dims]
        return [*range(steps + 1), *dims]
    if kind not in ("Transpose", "Moveaxis", "Swapaxes"):
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
