"""Listening to the layers of a model while it runs."""

import contextlib
import difflib

import keras

from eca_keras.utils.keras_graph import children
from eca_keras.utils.keras_graph import data_format
from eca_keras.utils.keras_graph import functional

CLOSE_NAMES = 5

_ABSENT = object()


def walk(model, prefix=""):
    """Yields `(path, operation)` of all that a model is made of, each once.

    Models and layers inside are gone into, after they were yielded
    themselves; what is in them has their names in front: `"backbone/conv1"`.
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
    """Returns the operation of a name or path.

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
        raise ValueError(
            f"`layer` must be the name of one layer, {len(paths)} have this "
            f"name: {', '.join(paths)}. Received: layer={name!r}"
        )
    names = {path.rpartition("/")[2]: path for path in parts}
    close = difflib.get_close_matches(str(name), names, CLOSE_NAMES, 0)
    raise ValueError(
        f"`layer` must be the name of a layer of {model.name!r}, such as "
        f"{', '.join(names[each] for each in close)}. "
        f"Received: layer={name!r}"
    )


@contextlib.contextmanager
def replaced(replacements):
    """Gives objects other attributes for a while.

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
    """Returns `function(inputs)`, a structure of tensors.

    On a CPU, TensorFlow runs convolutions of channels-first maps only where
    they are compiled. Then what `function` hears from the layers of the
    model are symbolic tensors: it has to return those it wants.
    """
    if (
        keras.backend.backend() == "tensorflow"
        and data_format(model) == "channels_first"
    ):
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            function = tf.function(function, autograph=False, jit_compile=True)
            inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
    return function(inputs)


def batches(inputs, size):
    """Yields slices of `size` samples of an array or a structure of them."""
    count = len(keras.tree.flatten(inputs)[0])
    for start in range(0, count, size):
        yield keras.tree.map_structure(
            lambda values, start=start: values[start : start + size], inputs
        )


def check_images(images, batch_size):
    """Raises ValueError unless there is an image, and room for one."""
    arrays = keras.tree.flatten(images)
    if not arrays or not all(getattr(array, "shape", ()) for array in arrays):
        raise ValueError(
            "`images` must be an array, the first axis of which is that of "
            f"the images. Received: images={images!r}"
        )
    if not all(map(len, arrays)):
        raise ValueError(
            "`images` must hold at least one image. Received: shape="
            f"{tuple(arrays[0].shape)}"
        )
    if batch_size < 1:
        raise ValueError(
            "`batch_size` must be at least 1. "
            f"Received: batch_size={batch_size}"
        )
