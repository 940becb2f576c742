"""A copy of a functional model, with attention in it."""

import inspect
import itertools

import keras

from eca_keras.errors import InputError
from eca_keras.utils.keras_graph import ModelGraph
from eca_keras.utils.keras_graph import custom_classes
from eca_keras.utils.keras_graph import data_format
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional
from eca_keras.utils.keras_graph import policy_scope
from eca_keras.utils.keras_graph import producer
from eca_keras.utils.keras_graph import producing_call


class ModelCopy:
    """A copy of a model with attention at some points.

    Args:
        model: The given model.
        attention: The `Attention` to put in.
        points: List of `InsertionPoint`.
    """

    def __init__(self, model, attention, points):
        self.model = model
        self.attention = attention
        self.everywhere = {
            id(point.tensor) for point in points if point.reader is None
        }
        self.on_edges = {}
        for point in points:
            if point.reader is not None:
                at = self.on_edges.setdefault(id(point.reader), [])
                at.append(point.tensor)
        self.copies = {}  # id of a layer to its copy
        self.added = {}  # what is followed to an attention layer
        self.data_format = data_format(model)

    def make(self, name):
        # A custom layer need not be registered: its class is at hand.
        with keras.saving.custom_object_scope(custom_classes(self.model)):
            copy = self._copy_model(self.model, name or self.model.name)
        self._restore(self.model, copy)
        for layer in self.added.values():
            layer.trainable = True
        return copy

    def _copy(self, operation):
        if id(operation) not in self.copies:
            if functional(operation) is None:
                copy = _copy_operation(operation)
            else:
                copy = self._copy_model(operation, operation.name)
            self.copies[id(operation)] = copy
        return self.copies[id(operation)]

    def _copy_model(self, model, name):
        graph = ModelGraph(model)
        names = {node.operation.name for node in graph.nodes}
        values = {}
        for node in graph.nodes:
            operation = self._copy(node.operation)
            if node.is_input:
                outputs = operation.output
            else:
                arguments, keywords = node.arguments.fill_in(
                    self._inputs(node, values, names)
                )
                outputs = operation(*arguments, **keywords)
            flat = keras.tree.flatten(outputs)
            for tensor, value in zip(node.outputs, flat, strict=True):
                if id(tensor) in self.everywhere:
                    value = self._attend(tensor, value, names)
                values[id(tensor)] = value
        inputs, outputs = keras.tree.map_structure(
            lambda tensor: values[id(tensor)],
            (graph.model.input, graph.model.output),
        )
        if isinstance(model, keras.Sequential):
            return _sequential(inputs, outputs, name)
        return _plain_class(type(model))(
            inputs=inputs, outputs=outputs, name=name
        )

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
        key = (id(source), index) if weights else id(tensor)
        if key in self.added:
            return self.added[key](value)
        prefix = self._free_prefix(source.name, names)
        with policy_scope(_policy(tensor), self.data_format):
            outputs = self.attention(value, 0, prefix)
        self.added[key] = producer(outputs)
        names.add(prefix + self.attention.suffix)
        return outputs

    def _free_prefix(self, source, names):
        prefixes = itertools.chain(
            [f"{source}_"], (f"{source}_{i}_" for i in itertools.count(2))
        )
        suffix = self.attention.suffix
        return next(each for each in prefixes if each + suffix not in names)

    def _restore(self, old, new):
        """Copy the weights and the `trainable` flags, outside first."""
        new.trainable = old.trainable
        if functional(old) is not None:
            for layer in old.layers:
                self._restore(layer, self.copies[id(layer)])
            return
        pairs = zip(flatten_layers(old), flatten_layers(new), strict=True)
        for part, copy in pairs:
            copy.trainable = part.trainable
            store = {}
            part.save_own_variables(store)
            copy.load_own_variables(store)
        for weight, copy in zip(old.weights, new.weights, strict=True):
            if copy.trainable != weight.trainable:
                copy.trainable = weight.trainable


def _copy_operation(operation):
    try:
        config = operation.get_config()
        if isinstance(operation, keras.layers.Lambda):
            # The function itself: it need not survive as a config.
            config = {**config, "function": operation.function}
            return keras.layers.Lambda(**config)
        copy = type(operation).from_config(config)
        # Some layers give themselves another one than their config has.
        copy.name = operation.name
        return copy
    except (TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"`model` has a layer that cannot be copied from its config, "
            f"{operation.name!r} of class {type(operation).__name__}: give it "
            f"a `get_config`. Received: {reason}"
        ) from error


def _sequential(inputs, outputs, name):
    chain = []
    tensor = outputs
    while tensor is not inputs:
        chain.append(producer(tensor))
        [tensor] = producing_call(tensor).input_tensors
    return keras.Sequential([producer(inputs), *reversed(chain)], name=name)


def _plain_class(cls):
    """Return the class if it has Keras's constructor, else keras.Model."""
    own = itertools.takewhile(
        lambda base: not base.__module__.startswith("keras."),
        inspect.getmro(cls),
    )
    changed = any({"__init__", "get_config"} & set(vars(base)) for base in own)
    return keras.Model if changed else cls


def _check_map(tensor, source):
    if len(tensor.shape) not in (3, 4, 5):
        raise InputError(
            "Attention needs a feature map of rank 3, 4 or 5 (batch, positions "
            f"and channels). `where` chooses the layer {source.name!r}, whose "
            f"output has the shape {tuple(tensor.shape)}"
        )


def _policy(tensor):
    """Return the dtype policy of the layer that a tensor comes from."""
    while True:
        node = producing_call(tensor)
        if node.is_input:
            return keras.DTypePolicy(tensor.dtype)
        policy = getattr(node.operation, "dtype_policy", None)
        if policy is not None and policy.quantization_mode is None:
            return policy
        tensor = node.input_tensors[0]
