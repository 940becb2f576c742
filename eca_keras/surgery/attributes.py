"""What a layer holds besides variables: functions, and plain attributes.

A config has names where a layer has functions and classes, and an attribute
that is set after the layer is made, in `build` or `adapt`, is in no config.
"""

import collections
import contextlib
import copy
import enum
import functools
import numbers
import types

import keras
import numpy as np

from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional

# Whose objects come from the config, or have methods that carry their state.
FRAMEWORKS = ("jax", "jaxlib", "keras", "tensorflow", "torch")

PLAIN = (
    *(bool, int, float, complex, str, bytes, bytearray, range, type(None)),
    *(np.generic, enum.Enum, numbers.Number),
)

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
        if isinstance(value, types.FunctionType) and (
            made is None
            or isinstance(made, types.FunctionType)
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
    if functional(old) is not None:
        carry_model_attributes(old, new)
        return
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
            _carry_variables(new, key, value, done)
            _check_variables(key, value, done)
    for kind in ("_parameters", "_buffers"):  # of PyTorch, not Keras's
        _carry_torch(vars(old).get(kind) or {}, vars(new).get(kind) or {})


def carry_model_attributes(old, new):
    """Give a model of the same class what was set on the other one."""
    for key, value in list(vars(old).items()):
        if key not in vars(new) and is_plain(value):
            vars(new)[key] = _copied(value)


@functools.cache
def _common(kind):
    """Return the names of the attributes that every layer has, or model."""
    return {*vars(keras.Layer()), *vars(kind())} - {*PUBLIC}


def is_plain(value, around=()):
    """Tell whether a value is data: numbers, strings, tensors, at any depth."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, np.ndarray) and value.dtype != object:
        return True
    if id(value) in around:  # it holds itself
        return False
    inside = _inside(value, bool(around))
    if inside is None:
        return False
    around = (*around, id(value))
    return all(is_plain(each, around) for each in inside)


def _inside(value, nested):
    """Return what a value consists of; `None` if it may hold anything."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return list(value)
    if isinstance(value, CODE):
        # Beside data it is shared; by itself see `carry_functions`.
        bound = isinstance(value, types.MethodType)
        return [] if nested and not bound and not _uses_layers(value) else None
    if not isinstance(value, keras.Variable) and keras.ops.is_tensor(value):
        return [] if _is_eager(value) else None
    if _package(type(value)) in FRAMEWORKS:
        return None
    slots = [
        name
        for kind in type(value).__mro__
        for name in getattr(kind, "__slots__", ())
        if hasattr(value, name)
    ]
    if not slots and not hasattr(value, "__dict__"):
        return None  # it may be anything, such as a lock
    attributes = getattr(value, "__dict__", {}).values()
    return [*attributes, *(getattr(value, name) for name in slots)]


def _copied(value):
    """Copy a plain value; the containers of Keras become Python's."""
    of_keras = _package(type(value)) in FRAMEWORKS
    for kind in (list, dict, set):
        if isinstance(value, kind) and (of_keras or type(value) is kind):
            if kind is dict:
                return {key: _copied(each) for key, each in value.items()}
            return kind(map(_copied, value))
    if of_keras and keras.ops.is_tensor(value) and _is_dense(value):
        return keras.ops.convert_to_tensor(owned(value))
    return copy.deepcopy(value)


def _is_dense(value):
    return hasattr(value, "shape") and not hasattr(value, "indices")


def _carry_variables(new, key, value, done):
    """Carry an attribute with variables in a structure.

    Keras does not track all of them: not the states of recurrent layers.
    """
    made = keras.tree.flatten(vars(new).get(key))
    for i, each in enumerate(keras.tree.flatten(value)):
        if id(each) in done or not hasattr(each, "assign"):
            continue
        if not _is_eager(each):
            continue
        if i >= len(made) or not hasattr(made[i], "assign"):
            raise ValueError(f"the attribute {key!r} has a variable")
        made[i].assign(owned(each))
        done.add(id(each))


def _check_variables(key, value, done, depth=4):
    """Refuse variables in objects that Keras does not look into."""
    if isinstance(value, keras.Layer):
        found = [each for each in value.variables if id(each) not in done]
    elif isinstance(value, keras.Variable) or (
        hasattr(value, "assign") and _is_eager(value)
    ):
        found = [value] if id(value) not in done else []
    else:
        found = []
        inside = _inside(value, nested=True) if depth else None
        for each in inside or ():
            _check_variables(key, each, done, depth - 1)
    if found:
        raise ValueError(f"the attribute {key!r} holds variables of its own")


def _carry_torch(old, new):
    """Carry parameters and buffers that are PyTorch's and no variables."""
    for name, value in old.items():
        if value is None:
            continue
        if new.get(name) is None or new[name].shape != value.shape:
            raise ValueError(f"the attribute {name!r} is not in a new layer")
        new[name].data.copy_(value.data)


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
    return isinstance(value, types.FunctionType) and not _uses_layers(value)


def _uses_layers(function):
    """Tell whether a function has a layer or variable in its closure."""
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty one
            if isinstance(cell.cell_contents, (keras.Layer, keras.Variable)):
                return True
    return False


def _package(value):
    return str(value.__module__).partition(".")[0]
