"""What is inside a model: its layers, and the graph of their calls.

Keras's private names are used in this module and nowhere else.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import Any

import keras
from keras.src.saving import serialization_lib

# Sizes that a model leaves open are taken to be this many positions: enough
# for five halvings and a large last window.
NOMINAL_SIZE = 256

# What `keras.config.set_floatx` takes.
FLOATS = ("bfloat16", "float16", "float32", "float64")

# These change the size of a feature map by a border, not its resolution.
BORDERS = ("ZeroPadding", "Cropping", "Pad")


def functional(model):
    """Return the functional model behind a model; `None` if it has none."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, keras.Function) else None


def flatten_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a model and all layers inside it, at any depth, each once."""
    return list(model._flatten_layers())


def children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers directly inside a layer."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def custom_classes(model: keras.Model) -> dict[str, type]:
    """Return the classes of a model's layers that are not Keras's, by name.

    With `keras.saving.custom_object_scope` they need not be registered.
    """
    return {
        type(layer).__name__: type(layer)
        for layer in flatten_layers(model)
        if not type(layer).__module__.startswith("keras.")
    }


def kernel_sizes(model: keras.Model) -> list[int]:
    """Return the kernel sizes of the attention in a model, in its order."""
    sizes: list[int] = []
    for layer in model.layers:
        # CBAM-like layers have a gate inside, which is not another layer.
        if hasattr(layer, "resolved_kernel_size"):
            sizes.append(layer.resolved_kernel_size)
        elif hasattr(layer, "layers"):
            sizes.extend(kernel_sizes(layer))
    return sizes


def producing_call(tensor):
    """Return the call, a node of Keras, that a symbolic tensor comes from."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def producer(tensor):
    """Return the layer or operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def run_through(model, inputs, operation_fn):
    """Run a functional model with other functions for its operations.

    Args:
        model: A functional model.
        inputs: List of its inputs.
        operation_fn: Callable that takes an operation and returns the
            function to call in its place.
    """
    return model._run_through_graph(inputs, operation_fn=operation_fn)


def check_compatible(layer, inputs):
    """Refuse inputs that a layer does not take, with Keras's sentence."""
    layer._assert_input_compatibility(inputs)


@contextlib.contextmanager
def policy_scope(policy, data_format=None):
    """Make layers with a dtype policy and data format, Keras's own if None."""
    config = keras.config
    before = config.dtype_policy(), config.floatx(), config.image_data_format()
    if policy is not None:
        policy = keras.dtype_policies.get(policy)
        config.set_dtype_policy(policy)
        if policy.variable_dtype in FLOATS:
            config.set_floatx(policy.variable_dtype)
    if data_format is not None:
        config.set_image_data_format(data_format)
    try:
        yield
    finally:
        config.set_dtype_policy(before[0])
        config.set_floatx(before[1])
        config.set_image_data_format(before[2])


@contextlib.contextmanager
def rebuilding_scope():
    """Make layers from configs of this process, which are to be trusted.

    A layer inside several others is made once, see `shared_object`.
    """
    with (
        serialization_lib.ObjectSharingScope(),
        serialization_lib.SafeModeScope(False),
    ):
        yield


def shared_object(key, make):
    """Return the object that a `rebuilding_scope` has made for a key.

    If it has none, what `make()` returns; it has none for the key `None`.
    """
    found = None if key is None else serialization_lib.get_shared_object(key)
    if found is None:
        found = make()
        serialization_lib.record_object_after_deserialization(found, key)
    return found


def is_own_build(layer):
    """Tell whether a layer has its own way to be built from a config."""
    own = type(layer).build_from_config
    return own not in (
        keras.Layer.build_from_config,
        keras.Model.build_from_config,
    )


def count_kernels(operation: keras.Operation) -> int:
    """Count the layers in `operation`, itself included, with a kernel."""
    if not isinstance(operation, keras.Layer):
        return 0
    if isinstance(operation, keras.Sequential) or functional(operation):
        return sum(count_kernels(layer) for layer in operation.layers)
    return int(any(len(weight.shape) > 1 for weight in operation.weights))


def call_arguments(node):
    """Return the positional arguments of a call, tensors and others."""
    return node.arguments.args


class ModelGraph:
    """The calls of a model's own layers; a nested model is one call.

    Calls are numbered from the inputs to the outputs. A set of calls is an
    integer whose bit `i` stands for call `i`. Tensors go by their `id`.

    Args:
        model: A model with such a graph.
        channels: The `ChannelAxes` of its feature maps; `positions` needs it.

    Attributes:
        model: The functional model.
        channels: As above.
        nodes: The calls: Keras's nodes, those of the input layers included.
        producer: Tensor to the number of the call that it comes from.
        readers: Tensor to the numbers of the calls that read it.
        before: For each call, the set of all calls that it depends on.
        outputs: The tensors that the model returns.
    """

    def __init__(self, model, channels=None):
        self.model = functional(model)
        self.channels = channels
        by_depth = self.model._nodes_by_depth
        self.nodes = [
            node for depth in sorted(by_depth)[::-1] for node in by_depth[depth]
        ]
        self.outputs = {id(tensor) for tensor in self.model.outputs}
        self.producer, self.readers, self.before = {}, {}, []
        for i, node in enumerate(self.nodes):
            parents = {self.producer[id(t)] for t in node.input_tensors}
            self.before.append(
                functools.reduce(
                    operator.or_, (self.upto(parent) for parent in parents), 0
                )
            )
            for tensor in node.input_tensors:
                self.readers.setdefault(id(tensor), []).append(i)
            for tensor in node.outputs:
                self.producer[id(tensor)] = i

    def upto(self, i):
        """Return the set of call `i` and all that it depends on."""
        return self.before[i] | 1 << i

    def members(self, calls):
        """Return the numbers in a set of calls, in order."""
        return [i for i in range(calls.bit_length()) if calls >> i & 1]

    def positions(self, tensor):
        """Return the position sizes of a feature map.

        `None` for others, and where it is not known which axis holds the
        channels.
        """
        shape = self.shapes[id(tensor)]
        if len(shape) not in (3, 4, 5):
            return None
        axis = self.channels.find(tensor)
        if axis is None:
            return None
        return (*shape[1:axis], *shape[axis + 1 :])

    def is_border(self, i):
        """Tell whether a call only adds or removes a border."""
        node = self.nodes[i]
        name = type(node.operation).__name__
        return name.startswith(BORDERS) and len(node.input_tensors) == 1

    @functools.cached_property
    def kernels(self):
        """For each call, the number of layers with a kernel in it."""
        return [count_kernels(node.operation) for node in self.nodes]

    @functools.cached_property
    def shapes(self):
        """Tensor to its shape, open sizes but the batch filled in."""
        if all(None not in tensor.shape[1:] for tensor in self.model.inputs):
            return {
                id(tensor): tensor.shape
                for node in self.nodes
                for tensor in node.outputs
            }
        values = {}
        for node in self.nodes:
            values.update(self._nominal(node, values))
        return {key: value.shape for key, value in values.items()}

    def _nominal(self, node, values):
        """Return the outputs of a call for inputs of nominal size."""
        outputs = [_filled(tensor) for tensor in node.outputs]
        if not node.is_input:
            arguments, keywords = node.arguments.fill_in(values)
            try:
                found = node.operation.compute_output_spec(
                    *arguments, **keywords
                )
            except (TypeError, ValueError, NotImplementedError):
                pass  # what the tensors themselves say has to do
            else:
                outputs = keras.tree.flatten(found)
        return zip(map(id, node.outputs), outputs, strict=True)


def _filled(tensor):
    batch, *sizes = tensor.shape
    sizes = [NOMINAL_SIZE if size is None else size for size in sizes]
    return keras.KerasTensor((batch, *sizes), tensor.dtype)


def leaves(model):
    """Iterate over the layers of a model and of the models in it.

    A model may be in another one's graph, or an attribute of it, as the heads
    on the regions of a detector are.
    """
    for layer in children(model):
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def scoped_objects() -> dict[str, Any]:
    """Return what `keras.saving.custom_object_scope` has made known."""
    from keras.src.backend.common import global_state

    name = "custom_objects_scope_dict"
    return dict(global_state.get_global_attribute(name, {}))
