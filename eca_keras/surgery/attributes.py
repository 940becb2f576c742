"""What a layer holds besides variables: functions, and plain attributes.

A config has names where a layer has functions and classes, and an attribute
that is set after the layer is made, in `build` or `adapt`, is in no config.
"""

import contextlib
import copy
import functools
import types

import keras
import numpy as np

from eca_keras.utils.keras_graph import flatten_layers

# Whose objects come from the config, or have methods that carry their state.
FRAMEWORKS = ("jax", "jaxlib", "keras", "tensorflow", "torch")

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)

# Bookkeeping of TensorFlow's in every layer.
INTERNAL = ("_self_", "_obj_reference_counts")

# Set in every layer, but by those who write layers.
PUBLIC = ("_supports_masking", "autocast", "supports_jit")

CODE = (
    type,
    types.BuiltinFunctionType,
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
)


def custom_objects(layer):
    """Return what a layer's config may name that is not Keras's, by name.

    With `keras.saving.custom_object_scope` it need not be registered. A name
    that stands for several is left out.
    """
    found = {}
    for part in flatten_layers(layer):
        values = vars(part).values()
        functions = [each for each in values if _is_argument(each)]
        kinds = [type(each) for each in values if hasattr(each, "get_config")]
        for each in (type(part), *functions, *kinds):
            name = each.__name__
            if name == "<lambda>" or _package(each) in FRAMEWORKS:
                continue
            found.setdefault(name, set()).add(each)
    return {name: each for name, (each, *more) in found.items() if not more}


def carry_functions(old, new):
    """Give a layer the functions of another one that its config had.

    A config has their names or, of a lambda, its code alone.
    """
    for key, value in vars(old).items():
        made = vars(new).get(key)
        if (
            isinstance(value, types.FunctionType)
            and isinstance(made, types.FunctionType)
            # Those that `__init__` makes have the same code.
            and made.__code__ is not value.__code__
        ):
            if not _is_argument(value):
                raise ValueError(f"{key!r} uses a layer or variable itself")
            vars(new)[key] = value


def carry_attributes(old, new, done):
    """Give a layer copies of the plain attributes of another one.

    These are numbers, strings, arrays, tensors, containers of them, and
    objects with such attributes.

    Args:
        old, new: The layers.
        done: Set of the ids of the variables that have been copied.
    """
    model = isinstance(old, keras.Model)
    common = _common(keras.Model if model else keras.Layer)
    for key, value in list(vars(old).items()):
        if key in common or key.startswith(INTERNAL):
            continue
        if is_plain(value):
            vars(new)[key] = _copied(value)
        elif _is_table(value):
            _check_table(old, key, value, vars(new).get(key))
        else:
            _carry_tensors(new, key, value, done)


@functools.cache
def _common(kind):
    """Return the names of the attributes that every layer has, or model."""
    return {*vars(keras.Layer()), *vars(kind())} - {*PUBLIC}


def is_plain(value, around=()):
    """Tell whether a value is data: of numbers and strings, at any depth."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype != object
    if id(value) in around:  # it holds itself
        return False
    around = (*around, id(value))
    if isinstance(value, dict):
        inside = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    elif isinstance(value, CODE) or _package(type(value)) in FRAMEWORKS:
        return False
    else:
        # Without a dictionary it may be anything, such as a lock.
        inside = list(getattr(value, "__dict__", {"": object}).values())
    return all(is_plain(each, around) for each in inside)


def _copied(value):
    """Copy a plain value; the containers of Keras become Python's."""
    for kind in (list, dict, set):
        if isinstance(value, kind) and _package(type(value)) in FRAMEWORKS:
            value = kind(value)
    return copy.deepcopy(value)


def _carry_tensors(new, key, value, done):
    """Carry an attribute that is a tensor, or variables in a structure.

    Keras does not track all of them: not the states of recurrent layers.
    """
    made = keras.tree.flatten(vars(new).get(key))
    for i, each in enumerate(keras.tree.flatten(value)):
        if id(each) in done or not _is_eager(each):
            continue
        array = owned(each)
        if hasattr(each, "assign"):
            if i >= len(made) or not hasattr(made[i], "assign"):
                raise ValueError(f"the attribute {key!r} has a variable")
            made[i].assign(array)
        elif each is value:
            vars(new)[key] = keras.ops.convert_to_tensor(array)


def owned(value):
    """Return the values of a variable or tensor in an array of its own.

    What looks like a copy may be the same memory: Keras gives that of JAX's
    arrays away in `predict` and `fit`.
    """
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    return np.array(value)


def _is_eager(value):
    if isinstance(value, keras.Variable):
        return True
    if not keras.ops.is_tensor(value):
        return False
    try:
        keras.ops.convert_to_numpy(value)
    except Exception:  # whatever a backend raises for a symbolic tensor
        return False
    return True


def _is_table(value):
    """Tell whether a value is a lookup table of TensorFlow's."""
    return hasattr(value, "lookup") and hasattr(value, "export")


def _check_table(layer, key, table, made):
    if hasattr(layer, "load_assets"):
        return  # which has filled it
    ours, other = (
        dict(zip(*(each.numpy().tolist() for each in rows), strict=True))
        for rows in (table.export(), made.export())
    )
    if ours != other:
        raise ValueError(f"the attribute {key!r} is a table with other rows")


def _is_argument(value):
    """Tell whether a value is a function that a copy may have, too."""
    if not isinstance(value, types.FunctionType):
        return False
    for cell in value.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty one
            if isinstance(cell.cell_contents, (keras.Layer, keras.Variable)):
                return False
    return True


def _package(value):
    return str(value.__module__).partition(".")[0]
