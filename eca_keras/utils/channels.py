"""Which axis of each feature map in a model holds its channels.

A model has no data format, its layers have: behind a channels-first stem and
a `Permute` there may be a channels-last backbone. The axis is followed through
the graph of calls.
"""

from __future__ import annotations

import keras

from eca_keras.errors import InputError
from eca_keras.utils.channel_rules import FORMATS
from eca_keras.utils.channel_rules import RANKS
from eca_keras.utils.channel_rules import all_calls
from eca_keras.utils.channel_rules import axis_of
from eca_keras.utils.channel_rules import own_axis
from eca_keras.utils.keras_graph import ModelGraph
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional


class ChannelAxes:
    """The channel axes of the feature maps in a functional model.

    What made a feature map decides: the `data_format` of a convolution, the
    last axis behind `Dense`. Pooling, padding, normalization, activations,
    sums and concatenations keep the axis of what they read, and transposing
    moves it. Where that does not tell, as for the inputs of the model and
    behind `Reshape` and `Lambda`, what reads a feature map does. The format
    that is inside somebody else's layer is the last to be asked: the layer may
    transpose around it, and must not contradict what is known without it.

    Args:
        model: The model. Nested models are supported: what is outside tells
            about the inside, and the other way around.
        default: Data format of the feature maps that nothing tells about;
            `None` if there is no such format.
    """

    def __init__(self, model, default=None):
        self._default = default
        self._unclear = {}  # id of a tensor to a sentence about it
        self._inherited = set()  # ids of those unclear for what they are of
        self._calls = list(all_calls(model))
        self._readers = {}  # id of a tensor to the calls that read it
        for call in self._calls:
            for key in {id(tensor) for tensor in call.inputs}:
                self._readers.setdefault(key, []).append(call)
        self._solve()
        while self._cross() or self._contradict():
            self._solve()
        self._resolve()

    def find(self, tensor):
        """Return the channel axis of a tensor; `None` if it is not known."""
        if id(tensor) in self._known:
            return self._known[id(tensor)][0]
        if id(tensor) in self._unclear or self._default is None:
            return None
        return axis_of(self._default, len(tensor.shape))

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
            if axis == axis_of(data_format, len(shape)):
                return data_format
        raise InputError(
            "The channels must be the first axis behind the batch or the last "
            f"one. For the output of {name!r}, they are axis {axis}. "
            f"Received: shape={shape}"
        )

    def _solve(self):
        self._known = {}  # id of a tensor to its axis and who told it
        for self._believing in (False, True):
            self._forward()
            while self._backward():
                self._forward()

    def _cross(self):
        """Note nested models that are called on different feature maps."""
        crossing = False
        for call in filter(lambda each: each.nested, self._calls):
            ends = id(call.inputs[0]), id(call.outputs[0])
            if any(end not in self._known for end in ends):
                continue
            (axis, name), inside = (self._known[end] for end in ends)
            axis = call.forward(call.inputs[0], call.outputs[0], axis)
            claims = [(axis, name), inside]
            if axis is not None and len(dict(claims)) == 2:
                crossing = True
                del self._known[ends[1]]
                self._tell(call.outputs[0], claims)
        return crossing

    def _contradict(self):
        """Note a layer that tells what others around it do not."""
        for call in filter(lambda each: each.claims, self._calls):
            for tensor in call.outputs:
                own = call.own_axis(tensor)
                if own is None or id(tensor) not in self._known:
                    continue
                claims = [(own, call.name), self._known[id(tensor)]] + [
                    self._known[id(source)]
                    for source in call.inputs
                    if tuple(source.shape) == tuple(tensor.shape)
                    and id(source) in self._known
                ]
                if len(dict(claims)) > 1:
                    del self._known[id(tensor)]
                    self._tell(tensor, claims)
                    return True
        return False

    def _resolve(self):
        """Tell what is unclear for its maker, but not for its readers.

        As in MLP-Mixer, where `Dense` mixes positions between two `Permute`,
        before the channels are added to those of the shortcut.
        """
        for call in reversed(self._calls):
            for tensor in call.outputs:
                claims = self._from_readers(tensor, own=False)
                if id(tensor) in self._inherited and len(dict(claims)) == 1:
                    del self._unclear[id(tensor)]
                    self._known[id(tensor)] = claims[0]

    def _forward(self):
        """Tell tensors from what made them."""
        for call in self._calls:
            for tensor in filter(self.is_open, call.outputs):
                self._tell(tensor, self._from_maker(call, tensor))

    def _backward(self):
        """Tell the first tensor that its readers tell about, if any.

        And what that was made from, but no others: knowing it may tell more
        about them than what reads them.
        """
        for i, call in enumerate(self._calls):
            for tensor in filter(self.is_open, call.outputs):
                if self._tell(tensor, self._from_readers(tensor)):
                    for earlier in reversed(self._calls[: i + 1]):
                        for source in filter(self.is_open, earlier.inputs):
                            self._tell(source, self._from_readers(source))
                    return True
        return False

    def is_open(self, tensor):
        """Tell whether a tensor is a feature map that nothing tells about."""
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
        decides = own is not None and call.decides
        if decides and not call.claims:
            return [(own, call.name)]
        claiming = own is not None and call.claims and self._believing
        claims, unclear = [], []
        sources = [each for each in call.inputs if call.joins(each, tensor)]
        for source in sources:
            axis, name = self._known.get(id(source), (None, None))
            if axis is not None:
                follow = call.suspect if claiming else call.forward
                axis = follow(source, tensor, axis)
            if axis is not None:
                claims.append((axis, name))
            elif id(source) in self._unclear and not decides:
                unclear.append(self._unclear[id(source)])
        if not claims and unclear:
            self._unclear[id(tensor)] = unclear[0]
            self._inherited.add(id(tensor))
        elif claiming or (
            own is not None and not call.claims and (claims or not sources)
        ):
            claims.append((own, call.name))
        return claims

    def _from_readers(self, tensor, own=True):
        claims = []
        for call in self._readers.get(id(tensor), []):
            axis = call.own_axis(tensor)
            if call.claims and not (self._believing and self._agrees(call)):
                axis = None
            if axis is not None:
                claims += [(axis, call.name)] if own else []
                continue
            for output in call.outputs:
                axis, name = self._known.get(id(output), (None, None))
                if axis is not None:
                    axis = call.backward(tensor, output, axis)
                if axis is not None:
                    claims.append((axis, name))
        return claims

    def _agrees(self, call):
        return not any(id(tensor) in self._unclear for tensor in call.outputs)


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
    default = axis_of((formats or [keras.config.image_data_format()])[0], 4)
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
        return axes.get(id(operation)) or own_axis(operation, 4) or default

    return find


def _all_nodes(model):
    for node in ModelGraph(model).nodes:
        yield node
        if functional(node.operation) is not None:
            yield from _all_nodes(node.operation)
