"""Which axis of each feature map in a model holds its channels.

A model has no data format, its layers have: behind a channels-first stem and
a `Permute` there may be a channels-last backbone. The axis is followed through
the graph of calls.
"""

from __future__ import annotations

import keras

from eca_keras.errors import InputError
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


class ChannelAxes:
    """The channel axes of the feature maps in a functional model.

    What made a feature map decides: the `data_format` of a convolution, the
    last axis behind `Dense`. Pooling, padding, normalization, activations,
    sums and concatenations keep the axis of what they read, and transposing
    moves it. Where that does not tell, as for the inputs of the model and
    behind `Reshape` and `Lambda`, what reads a feature map does.

    Args:
        model: The model. Nested models are supported: what is outside tells
            about the inside, and the other way around.
        default: Data format of the feature maps that nothing tells about;
            `None` if there is no such format.
    """

    def __init__(self, model, default=None):
        self._default = default
        self._known = {}  # id of a tensor to its axis and who told it
        self._unclear = {}  # id of a tensor to a sentence about it
        self._calls = list(_all_calls(model))
        self._readers = {}  # id of a tensor to the calls that read it
        for call in self._calls:
            for key in {id(tensor) for tensor in call.inputs}:
                self._readers.setdefault(key, []).append(call)
        self._forward()
        while self._backward():
            self._forward()

    def find(self, tensor):
        """Return the channel axis of a tensor; `None` if it is not known."""
        if id(tensor) in self._known:
            return self._known[id(tensor)][0]
        if id(tensor) in self._unclear or self._default is None:
            return None
        return _axis(self._default, len(tensor.shape))

    def data_format(self, tensor, name):
        """Return the data format of a feature map.

        Args:
            tensor: The symbolic tensor.
            name: Name of the layer that it comes from, for messages.

        Raises:
            ValueError: if it is not known, or its channel axis is neither the
                first nor the last.
        """
        shape = tuple(tensor.shape)
        axis = self.find(tensor)
        if axis is None:
            reason = self._unclear.get(
                id(tensor), "no layer that makes or reads it tells"
            )
            clear = "" if id(tensor) in self._unclear else "or `data_format` "
            raise InputError(
                f"The layers of the model {clear}must tell which axis holds "
                f"the channels. For the output of {name!r}, {reason}. "
                f"Received: shape={shape}"
            )
        for data_format in FORMATS:
            if axis == _axis(data_format, len(shape)):
                return data_format
        raise InputError(
            "The channels must be the first axis behind the batch or the last "
            f"one. For the output of {name!r}, they are axis {axis}. "
            f"Received: shape={shape}"
        )

    def _forward(self):
        """Tell tensors from what made them."""
        for call in self._calls:
            for tensor in filter(self._is_open, call.outputs):
                self._tell(tensor, self._from_maker(call, tensor))

    def _backward(self):
        """Tell the first tensor that its readers tell about, if any.

        And what that was made from, but no others: knowing it may tell more
        about them than what reads them.
        """
        for i, call in enumerate(self._calls):
            for tensor in filter(self._is_open, call.outputs):
                if self._tell(tensor, self._from_readers(tensor)):
                    for earlier in reversed(self._calls[: i + 1]):
                        for source in filter(self._is_open, earlier.inputs):
                            self._tell(source, self._from_readers(source))
                    return True
        return False

    def _is_open(self, tensor):
        return (
            len(tensor.shape) in RANKS
            and id(tensor) not in self._known
            and id(tensor) not in self._unclear
        )

    def _tell(self, tensor, claims):
        """Note what claims, pairs of an axis and a name, tell; if they do."""
        names = dict(reversed(claims))  # the first name of each axis
        if len(names) == 1:
            self._known[id(tensor)] = claims[0]
        elif names:
            self._unclear[id(tensor)] = " but ".join(
                f"{name!r} has the channels in axis {axis}"
                for axis, name in names.items()
            )
        return bool(names)

    def _from_maker(self, call, tensor):
        own = call.own_axis(tensor)
        if own is not None and call.decides:
            return [(own, call.name)]
        claims, unclear, sources = [], [], list(filter(_is_map, call.inputs))
        for source in sources:
            axis, name = self._known.get(id(source), (None, None))
            if axis is not None:
                axis = call.forward(source, tensor, axis)
            if axis is not None:
                claims.append((axis, name))
            elif id(source) in self._unclear and call.joins(source, tensor):
                unclear.append(self._unclear[id(source)])
        if not claims and unclear:
            self._unclear[id(tensor)] = unclear[0]
        elif own is not None and (claims or not sources):
            claims.append((own, call.name))
        return claims

    def _from_readers(self, tensor):
        claims = []
        for call in self._readers.get(id(tensor), []):
            own = call.own_axis(tensor, reading=True)
            if own is not None:
                claims.append((own, call.name))
                continue
            for output in call.outputs:
                axis, name = self._known.get(id(output), (None, None))
                if axis is not None:
                    axis = call.backward(tensor, output, axis)
                if axis is not None:
                    claims.append((axis, name))
        return claims


def image_axes(model):
    """Return the channel axes of what is made of images, of rank 4.

    For figures: nothing is refused, and models without a graph have layers
    with data formats, too.

    Returns:
        Function that takes an operation in the model, and returns the channel
        axis of its output; for the model itself, that of its input.
    """
    layers = flatten_layers(model)
    formats = [getattr(layer, "data_format", None) for layer in layers]
    formats = [each for each in formats if each in FORMATS]
    default = _axis((formats or [keras.config.image_data_format()])[0], 4)
    axes = {}
    if functional(model) is not None:
        channels = ChannelAxes(model)
        for node in _all_nodes(model):
            if len(node.outputs[0].shape) == 4:
                axis = channels.find(node.outputs[0])
                axes.setdefault(id(node.operation), axis)
        axes[id(model)] = channels.find(functional(model).inputs[0])
    else:
        axes[id(model)] = default

    def find(operation):
        return axes.get(id(operation)) or _own_axis(operation, 4) or default

    return find


class _Call:
    """One call of an operation, as far as axes are concerned.

    Attributes:
        name: Name of the operation.
        inputs, outputs: Its tensors.
        decides: Whether the output has the axis that the operation tells,
            whatever the input has: there is a kernel from one to the other.
    """

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
            inner = _own_axis(operation.layer, rank - 1)
            return None if inner is None else inner + 1
        if any(name.startswith("ConvLSTM") for name in self._kind):
            steps = int(reading or operation.return_sequences)
            return steps + _axis(operation.data_format, rank - steps)
        return _own_axis(operation, rank)

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
        if _is_keras(self._operation) and not self._kind & FOREIGN:
            return True
        # Somebody else's: the axis is where its size is, if one is so large.
        after = tuple(tensor.shape)
        own = self.own_axis(tensor)
        alike = tuple(source.shape) == after
        return own == axis or (alike and after[1:].count(after[axis]) == 1)


class _Link:
    """A feature map on its way into or out of a nested model."""

    decides = False

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


def _all_calls(model):
    """Yield the calls in a model and the models in it, from the inputs."""
    for node in ModelGraph(model).nodes:
        inner = functional(node.operation)
        if inner is None:
            yield _Call(node)
            continue
        name = node.operation.name
        for pair in zip(node.input_tensors, inner.inputs, strict=False):
            yield _Link(name, *pair)
        yield from _all_calls(node.operation)
        for pair in zip(inner.outputs, node.outputs, strict=True):
            yield _Link(name, *pair)


def _all_nodes(model):
    for node in ModelGraph(model).nodes:
        yield node
        if functional(node.operation) is not None:
            yield from _all_nodes(node.operation)


def _axis(data_format, rank):
    return 1 if data_format == "channels_first" else rank - 1


def _is_map(tensor):
    return len(tensor.shape) in RANKS


def _is_keras(operation):
    return type(operation).__module__.startswith("keras.")


def _own_axis(operation, rank):
    """Return the channel axis that an operation has by itself, or None."""
    if isinstance(operation, NORMALIZATIONS):
        axes = operation.axis
        axes = [axes] if isinstance(axes, int) else list(axes or ())
        return axes[0] % rank if len(axes) == 1 else None
    if isinstance(operation, FEATURES_LAST):
        return rank - 1
    if isinstance(operation, keras.layers.Wrapper):
        return _own_axis(operation.layer, rank)
    layers = [operation]
    if isinstance(operation, keras.Layer):
        layers = flatten_layers(operation)
    formats = {getattr(layer, "data_format", None) for layer in layers}
    formats &= set(FORMATS)
    return _axis(*formats, rank) if len(formats) == 1 else None


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
