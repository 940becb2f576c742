"""A copy of a functional model, with attention in it."""

import inspect
import itertools

import keras

from eca_keras.errors import InputError
from eca_keras.surgery.attributes import carry_model_attributes
from eca_keras.surgery.layer_copies import LayerCopies
from eca_keras.surgery.layer_copies import scope
from eca_keras.surgery.layer_copies import unquantized
from eca_keras.surgery.layer_state import restore
from eca_keras.surgery.naming import FROM_CONFIG
from eca_keras.surgery.naming import check
from eca_keras.surgery.naming import naming
from eca_keras.utils.keras_graph import ModelGraph
from eca_keras.utils.keras_graph import functional
from eca_keras.utils.keras_graph import policy_scope
from eca_keras.utils.keras_graph import producer
from eca_keras.utils.keras_graph import producing_call
from eca_keras.utils.keras_graph import rebuilding_scope

# What a class of models may do in another way than Keras.
BEHAVIOUR = {
    *("call", "__call__", "compute_loss", "compute_metrics"),
    *("train_step", "test_step", "predict_step"),
}


class ModelCopy:
    """A copy of a model with attention at some points.

    Args:
        model: The given model.
        attention: The `Attention` to put in.
        points: List of `InsertionPoint`.
        channels: The `ChannelAxes` of the given model.
    """

    def __init__(self, model, attention, points, channels):
        self.model = model
        self.attention = attention
        self.channels = channels
        self.everywhere = {
            id(point.tensor) for point in points if point.reader is None
        }
        self.on_edges = {}
        for point in points:
            if point.reader is not None:
                at = self.on_edges.setdefault(id(point.reader), [])
                at.append(point.tensor)
        self.layers = LayerCopies(list(_operations(model)))
        self.copies = {}  # id of a layer to its copy
        self.added = {}  # what is followed to an attention layer
        self.variables = {}  # id of a variable to its owner and the new one

    def make(self, name):
        with rebuilding_scope():
            copy = self._copy_model(self.model, name or self.model.name)
        self._restore(self.model, copy)
        self._check_variables()
        for layer in self.added.values():
            layer.trainable = True
        return copy

    def _copy(self, operation):
        if id(operation) not in self.copies:
            if functional(operation) is None:
                copy = self.layers.make(operation)
            else:
                copy = self._copy_model(operation, operation.name)
            self.copies[id(operation)] = copy
        return self.copies[id(operation)]

    def _copy_model(self, model, name):
        graph = ModelGraph(model)
        names = {node.operation.name for node in graph.nodes}
        values = {}
        for node in graph.nodes:
            outputs = self._call(node, self._inputs(node, values, names))
            flat = keras.tree.flatten(outputs)
            for tensor, value in zip(node.outputs, flat, strict=True):
                if id(tensor) in self.everywhere:
                    value = self._attend(tensor, value, names)
                values[id(tensor)] = value
        inputs, outputs = keras.tree.map_structure(
            lambda tensor: values[id(tensor)],
            (graph.model.input, graph.model.output),
        )
        with policy_scope(unquantized(model.dtype_policy)):
            kind = _class_of(model)
            if isinstance(model, keras.Sequential):
                return kind(_chain(inputs, outputs), name=name)
            return kind(inputs=inputs, outputs=outputs, name=name)

    def _call(self, node, values):
        """Make a call in the copy that is in the given model."""
        operation = node.operation
        copy = self._copy(operation)
        if node.is_input:
            return copy.output
        arguments, keywords = node.arguments.fill_in(values)
        _check_arguments(operation, arguments, keywords)
        if functional(operation) is not None:
            return copy(*arguments, **keywords)
        with naming(operation, FROM_CONFIG), scope(operation):
            outputs = copy(*arguments, **keywords)
        found = [_spec(each) for each in keras.tree.flatten(outputs)]
        check(
            operation,
            found == [_spec(each) for each in node.outputs],
            f"the output of the copy would be {found}",
        )
        return outputs

    def _inputs(self, node, values, names):
        """Return the values that a call reads, some with attention."""
        attended = {
            id(tensor): self._attend(tensor, values[id(tensor)], names)
            for tensor in self.on_edges.get(id(node), [])
        }
        return {**values, **attended} if attended else values

    def _attend(self, tensor, value, names):
        source = producer(tensor)
        _check_map(tensor, source)
        # A shared layer is followed by one attention layer; what has no
        # weights is shared for convenience, and by feature maps of any depth.
        weights = getattr(source, "weights", None)
        outputs = producing_call(tensor).outputs if weights else [tensor]
        index = [id(each) for each in outputs].index(id(tensor))
        known = self.channels.data_format(tensor, source.name)
        # Another data format is another layer: its weights fit both.
        key = (id(source), index) if weights else id(tensor)
        if (key, known) in self.added:
            return self.added[key, known](value)
        prefix = self._free_prefix(source.name, names)
        with policy_scope(_policy(tensor), known):
            outputs = self.attention(value, 0, prefix)
        if _spec(outputs) != _spec(tensor):
            raise InputError(
                "`attention` must keep the shape and dtype of a feature map. "
                f"It makes {_spec(outputs)} from the output of "
                f"{source.name!r}, {_spec(tensor)}"
            )
        self.added[key, known] = producer(outputs)
        names.add(prefix + self.attention.suffix)
        return outputs

    def _free_prefix(self, source, names):
        prefixes = itertools.chain(
            [f"{source}_"], (f"{source}_{i}_" for i in itertools.count(2))
        )
        suffix = self.attention.suffix
        return next(each for each in prefixes if each + suffix not in names)

    def _restore(self, old, new):
        """Copy the state and the `trainable` flags, outside first."""
        new.trainable = old.trainable
        if functional(old) is not None:
            for layer in old.layers:
                self._restore(layer, self.copies[id(layer)])
            if type(new) is type(old):
                carry_model_attributes(old, new)
            return
        for weight, copy in restore(old, new):
            owner, first = self.variables.setdefault(id(weight), (old, copy))
            if first is not copy:
                raise InputError(
                    "`model` must not have variables that are shared in a way "
                    f"a copy cannot keep: {weight.path!r} is in "
                    f"{owner.name!r} and {old.name!r}"
                )

    def _check_variables(self):
        for weight in self.model.variables:
            if id(weight) not in self.variables:
                raise InputError(
                    "`model` must not have variables that are in no layer "
                    f"that it calls. Received: {weight.path!r}"
                )


def _operations(model, seen=None):
    """Yield the operations in a model and those inside it, each once."""
    seen = set() if seen is None else seen
    for node in ModelGraph(model).nodes:
        operation = node.operation
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if functional(operation) is None:
            yield operation
        else:
            yield from _operations(operation, seen)


def _spec(tensor):
    return tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)


def _check_arguments(operation, arguments, keywords):
    for each in keras.tree.flatten((arguments, keywords)):
        if isinstance(each, keras.Variable):
            raise InputError(
                "`model` must not call an operation on a variable, which "
                "belongs to no copy. Received: "
                f"{each.path!r} in the call of {operation.name!r}"
            )


def _chain(inputs, outputs):
    """Return the layers of a Sequential model."""
    chain = []
    tensor = outputs
    while tensor is not inputs:
        chain.append(producer(tensor))
        tensor = producing_call(tensor).input_tensors[0]  # others are masks
    return [producer(inputs), *reversed(chain)]


def _class_of(model):
    """Return the class of the copy: Keras's if that cannot be made alike."""
    own = [
        set(vars(base))
        for base in itertools.takewhile(
            lambda base: not base.__module__.startswith("keras."),
            inspect.getmro(type(model)),
        )
    ]
    names = set().union(*own)
    if not {"__init__", "get_config"} & names:
        return type(model)
    if lost := sorted(names & BEHAVIOUR):
        raise InputError(
            "`model` must not be of a class with a constructor and a "
            f"{lost[0]!r} of its own, which a copy would lose. Received: "
            f"{model.name!r} of class {type(model).__name__}"
        )
    sequential = isinstance(model, keras.Sequential)
    return keras.Sequential if sequential else keras.Model


def _check_map(tensor, source):
    if len(tensor.shape) not in (3, 4, 5):
        raise InputError(
            "Attention needs a feature map of rank 3, 4 or 5 (batch, positions "
            f"and channels). `where` chooses the layer {source.name!r}, whose "
            f"output has the shape {tuple(tensor.shape)}"
        )


def _policy(tensor):
    """Return the dtype policy that fits the layer a tensor comes from."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    node = producing_call(tensor)
    while not node.is_input:
        policy = getattr(node.operation, "dtype_policy", None)
        if (
            policy is not None
            and policy.quantization_mode is None
            and policy.compute_dtype == dtype
        ):
            return policy
        node = producing_call(node.input_tensors[0])
    return keras.DTypePolicy(dtype)
