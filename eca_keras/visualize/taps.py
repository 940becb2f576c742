"""Listening to the layers of a model while it runs."""

import contextlib
import difflib

import keras

from eca_keras.utils.checks import check_count
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import refusal
from eca_keras.utils.keras_graph import children
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional

CLOSE_NAMES = 5

_ABSENT = object()


def walk(model, prefix=""):
    """Yield `(path, operation)` of all that a model is made of, each once.

    Models and layers inside are supported: they are yielded first, and what
    is in them has their names in front: `"backbone/conv1"`.
    Besides layers there are the operations of `keras.ops`, but no inputs.
    """
    yield from _walk(model, prefix, set())


def _walk(model, prefix, seen):
    for operation in _parts(model):
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        path = prefix + operation.name
        yield path, operation
        yield from _walk(operation, f"{path}/", seen)


def _parts(operation):
    graph = functional(operation)
    if graph is not None:
        return [
            part
            for part in graph.operations
            if not isinstance(part, keras.layers.InputLayer)
        ]
    if isinstance(operation, keras.Layer):
        return children(operation)
    return []


def find(model, name):
    """Return the operation of a name or path.

    Raises:
        ValueError: if there is none, or several have the name.
    """
    parts = dict(walk(model))
    if name in parts:
        return parts[name]
    paths = [path for path, part in parts.items() if part.name == name]
    if len(paths) == 1:
        return parts[paths[0]]
    if paths:
        rule = (
            f"must be the name of one layer, {len(paths)} have this name: "
            f"{listed(paths)}"
        )
        raise refusal("layer", name, rule)
    names = {path.rpartition("/")[2]: path for path in parts}
    close = difflib.get_close_matches(str(name), names, CLOSE_NAMES, 0)
    shown = listed(names[each] for each in close)
    rule = f"must be the name of a layer of {model.name!r}, such as {shown}"
    raise refusal("layer", name, rule)


@contextlib.contextmanager
def replaced(replacements):
    """Give objects other attributes for a while.

    Args:
        replacements: List of `(object, attribute, value)`. To listen to a
            layer, replace its `call`: models call their layers, at any
            depth, through it.
    """
    before = []
    try:
        for owner, attribute, value in replacements:
            # Keras's own `__setattr__` tracks what a layer is made of.
            value_before = vars(owner).get(attribute, _ABSENT)
            before.append((owner, attribute, value_before))
            object.__setattr__(owner, attribute, value)
        yield
    finally:
        for owner, attribute, value in reversed(before):
            if value is _ABSENT:
                object.__delattr__(owner, attribute)
            else:
                object.__setattr__(owner, attribute, value)


def run(function, model, inputs):
    """Return `function(inputs)`, a structure of tensors.

    On a CPU, TensorFlow runs channels-first convolutions only where
    they are compiled. Then what `function` hears from the layers of the
    model are symbolic tensors: it has to return those it wants.
    """
    formats = {
        getattr(layer, "data_format", None) for layer in flatten_layers(model)
    }
    if keras.backend.backend() == "tensorflow" and "channels_first" in formats:
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            function = tf.function(function, autograph=False, jit_compile=True)
            inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
    return function(inputs)


def batches(inputs, size):
    """Yield slices of `size` samples of an array or a structure of them."""
    count = len(keras.tree.flatten(inputs)[0])
    for start in range(0, count, size):
        yield keras.tree.map_structure(
            lambda values, start=start: values[start : start + size], inputs
        )


def check_images(images, batch_size):
    """Refuse images and a batch size unless there is an image."""
    arrays = keras.tree.flatten(images)
    if not arrays or not all(getattr(array, "shape", ()) for array in arrays):
        rule = "must be an array, the first axis of which is that of the images"
        raise refusal("images", images, rule)
    if not all(map(len, arrays)):
        shape = tuple(arrays[0].shape)
        raise refusal("images", shape, "must hold at least one image")
    check_count("batch_size", batch_size)
