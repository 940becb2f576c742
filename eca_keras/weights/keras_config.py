"""Reads the configuration in a model file and admits what is on the list.

Keras makes an object of every dictionary with a `class_name`, wherever it is,
and looks the name up in several ways: the name under which a class is
registered wins over the module, a function goes by `config`, and older files
name no module at all. What is admitted here is written anew in one way, so
that Keras finds the class that was meant and no other.
"""

import json
import math

import keras

from eca_keras.utils.checks import shown
from eca_keras.utils.keras_graph import scoped_objects
from eca_keras.weights import keras_allowed as allowed
from eca_keras.weights import keras_bounds as bounds
from eca_keras.weights.keras_bounds import Refused
from eca_keras.weights.tensors import CheckpointError


def parse(data):
    """Return the dictionary in a `config.json`, given as bytes.

    Raises:
        Refused: if it is larger or deeper than a model is.
        CheckpointError: if it is none.
    """
    values = sum(map(data.count, (b",", b"[", b"{")))
    if len(data) > bounds.CONFIG_BYTES or values > bounds.CONFIG_VALUES:
        raise Refused(
            f"its config.json has {len(data)} bytes and {values} values, more "
            "than a model has"
        )
    try:
        config = json.loads(data)
    except RecursionError:
        raise Refused("its config.json is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"its config.json is damaged ({error})") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise CheckpointError("its config.json does not describe a model")
    return config


def admit(config, custom_objects=()):
    """Return a configuration in which everything is on the closed list.

    Args:
        config: What `parse` returned.
        custom_objects: Dictionary from names to classes of the user.

    Returns:
        The configuration, with modules and registered names as Keras takes
        them and without `compile_config`, and the set of the modules that
        have to be imported first.

    Raises:
        Refused: at the first thing that is not on the list, with its place.
    """
    walk = _Walk(custom_objects)
    return walk.value(config, "config.json"), walk.modules


class _Walk:
    def __init__(self, custom_objects):
        known = {**scoped_objects(), **dict(custom_objects)}
        self.custom = {
            *known,
            *(keras.saving.get_registered_name(o) for o in known.values()),
        }
        # Strings stand for these, too, wherever Keras takes a function.
        registered = set(keras.saving.get_custom_objects())
        self.forbidden = registered - self.custom - set(allowed.OWN)
        self.modules = set()

    def value(self, value, place, depth=0):
        if depth > bounds.CONFIG_DEPTH:
            raise Refused("its config.json is nested too deeply")
        if isinstance(value, list):
            return [
                self.value(each, f"{place}[{i}]", depth + 1)
                for i, each in enumerate(value)
            ]
        if isinstance(value, dict):
            if "class_name" in value or "registered_name" in value:
                value = self.named(value, place)
            return {
                self.text(key, place): self.value(
                    each, f"{place}.{key}", depth + 1
                )
                for key, each in value.items()
            }
        return self.text(value, place)

    def text(self, value, place):
        if isinstance(value, str) and value in self.forbidden:
            raise _unknown(value, place)
        return value

    def named(self, value, place):
        """Return a dictionary with a `class_name` as Keras should see it."""
        name, inner = value.get("class_name"), value.get("config")
        registered = value.get("registered_name", name)
        if not isinstance(name, str) or not (
            registered is None or isinstance(registered, str)
        ):
            raise Refused(f"its class_name is no name, in {_short(place)}")
        if name in allowed.VALUES:
            return _plain_value(value, place)
        value = {k: v for k, v in value.items() if k != "compile_config"}
        if name == "function":
            return self.function(value, place)
        if registered in self.custom:
            return {**value, "registered_name": registered}
        module = value.get("module")
        if registered in allowed.OWN:
            module = allowed.OWN[registered]
            self.modules.add(module)
            name = registered.partition(">")[2]
        else:
            module = _keras_module(name, registered, module, place)
            registered = None
        if inner is not None and not isinstance(inner, dict):
            raise Refused(
                f"the config of {name} is no dictionary, in {_short(place)}"
            )
        _check_object(name, inner or {}, value, place)
        if value.get("module") is None:
            value = {**value, "config": _modern(name, inner or {})}
        return {
            **value,
            "module": module,
            "class_name": name,
            "registered_name": registered,
        }

    def function(self, value, place):
        name = value.get("config")
        if not isinstance(name, str):
            raise Refused(f"it names no function, in {_short(place)}")
        if name not in self.custom and (
            name not in allowed.FUNCTIONS
            or value.get("module") not in allowed.FUNCTION_MODULES
            or value.get("registered_name") not in (None, "function", name)
        ):
            raise _unknown(f"{value.get('module')}.{name}", place)
        return {**value, "registered_name": name}


def _plain_value(value, place):
    inner = value.get("config")
    keys = allowed.VALUES[value["class_name"]]
    if not isinstance(inner, dict) or set(inner) != keys:
        raise Refused(f"it has a value of an unknown kind, in {_short(place)}")
    dtype = inner.get("dtype", "bool")
    symbolic = value["class_name"] == "__keras_tensor__"
    if not isinstance(dtype, str) or not (
        dtype in allowed.VALUE_DTYPES or (symbolic and dtype == "string")
    ):
        raise Refused(
            f"it has a value of the dtype {shown(dtype)}, in {_short(place)}"
        )
    return {"class_name": value["class_name"], "config": inner}


def _keras_module(name, registered, module, place):
    """Return the module of Keras that has an admitted class."""
    if registered in (None, name):
        if module is None:
            order = allowed.LEGACY_ORDER
            if place.endswith("initializer"):
                order = ("keras.initializers",)
            for each in order:
                if name in allowed.KERAS[each]:
                    return each
        elif name in allowed.KERAS.get(str(module), ()):
            return module
    where = module if isinstance(module, str) else None
    full = name if registered in (None, name) else registered
    raise _unknown(f"{where}.{full}" if where else full, place)


def _unknown(name, place):
    sentence = (
        f"it names {shown(name)} ({_short(place)}), which is not on the closed "
        "list of what is plain in Keras and eca_keras"
    )
    if not name.startswith(("keras.", "__")) or ">" in name:
        short = shown(name.rpartition(".")[2])
        sentence += (
            f": a class of yours goes into custom_objects={{{short!r}: "
            "THE_CLASS}"
        )
    return Refused(sentence)


def _short(place):
    place = place.replace(".config.", ".")
    return shown(place, 120)


def _modern(name, config):
    """Return the config of a class as Keras 3 has it, from an older file."""
    config = dict(config)
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if name == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    return config


def _check_object(name, config, value, place):
    """Refuse an admitted class with arguments that are no model's."""
    for key in ("vocabulary", "idf_weights"):
        if isinstance(config.get(key), str):
            raise Refused(
                f"its {name} would read the file {shown(config[key])} "
                f"({_short(place)}.{key})"
            )
    layer = config.get("name")
    if isinstance(layer, str) and {"..", "\\", "\0"} & {
        *layer.replace("/", " ").split(),
        *layer,
    }:
        raise Refused(f"it has a layer called {shown(repr(layer))}")
    for key in ("batch_shape", "batch_input_shape"):
        _check_shape(config.get(key), bounds.INPUT_SIZE, place)
    _check_shape(config.get("input_shape"), bounds.ANCHOR_IMAGE_SIZE, place)
    _check_shape(value.get("build_config"), bounds.INPUT_SIZE, place)
    if config.get("stateful"):
        # Numbers for each sample of a batch, of any size, and no weights.
        raise Refused(f"its {name} keeps a state, in {_short(place)}")
    for key, most in bounds.COUNTS.items():
        # The kernels of convolutions are weights.
        if not (key == "kernel_size" and "Conv" in name):
            counts = config.get(key)
            for count in counts if isinstance(counts, list) else [counts]:
                if isinstance(count, (int, float)) and count > most:
                    raise Refused(
                        f"its {name} has {key}={shown(count)}, in "
                        f"{_short(place)}"
                    )
    nodes = value.get("inbound_nodes", [])
    for node in nodes if isinstance(nodes, list) else [nodes]:
        # Otherwise the operation would run at once, on numbers of the file.
        # Older files have lists, of tensors alone.
        tensor = node and isinstance(node, list)
        if not tensor and "__keras_tensor__" not in _names(node):
            raise Refused(f"it calls {name} on no tensor, in {_short(place)}")


def _check_shape(shape, most, place, depth=0):
    """Refuse a shape that is none or too large, at any depth of a value."""
    if isinstance(shape, dict):
        shape = list(shape.values())
    if not isinstance(shape, list):
        return
    known = [size for size in shape if isinstance(size, (int, float))]
    if (
        max(len(shape), depth) > bounds.DIMENSIONS
        or any(size < 0 for size in known)
        or math.prod(known) > most
    ):
        raise Refused(
            f"its input has the shape {shown(shape)}, in {_short(place)}"
        )
    for each in shape:
        _check_shape(each, most, place, depth + 1)


def _names(value):
    """Return the class names inside a value."""
    if isinstance(value, list):
        return set().union(*map(_names, value))
    if not isinstance(value, dict):
        return set()
    name = value.get("class_name")
    names = {name} if isinstance(name, str) else set()
    return names.union(*map(_names, value.values()))
