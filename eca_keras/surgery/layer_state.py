"""The state of a layer, given to a copy of it.

State is what a `.keras` file keeps: variables, assets such as the vocabulary
of a `StringLookup`, and what `save_own_variables` stores. Beyond that, plain
attributes and functions are taken over. What cannot be is refused by name.
"""

import collections
import contextlib
import tempfile

import keras

from eca_keras.surgery.attributes import carry_attributes
from eca_keras.surgery.attributes import carry_functions
from eca_keras.surgery.attributes import owned
from eca_keras.surgery.layer_copies import policy_config
from eca_keras.surgery.layer_copies import quiet_config
from eca_keras.surgery.naming import STATE
from eca_keras.surgery.naming import check
from eca_keras.surgery.naming import naming
from eca_keras.utils.keras_graph import flatten_layers

WITH_VOCABULARY = (
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def restore(old, new):
    """Give a copy the state of the given layer, or refuse it by name.

    Returns:
        Pairs of variables, that of the given layer and that of the copy.
    """
    pairs = _pair_layers(old, new)
    for part, copy in pairs:
        copy.trainable = part.trainable
        with naming(old, STATE):
            restore_own(part, copy)
    variables = _pair_variables(old, new)
    for weight, copy in variables:
        copy.assign(owned(weight))
        if copy.trainable != weight.trainable:
            copy.trainable = weight.trainable
    done = {id(weight) for weight, _ in variables}
    for part, copy in pairs:
        with naming(old, STATE):
            carry_functions(part, copy)
            carry_attributes(part, copy, done)
            _check_alike(old, part, copy)
    return variables


def _pair_layers(old, new):
    parts, copies = flatten_layers(old), flatten_layers(new)
    same = [type(each) for each in parts] == [type(each) for each in copies]
    check(old, same, "the copy would have other layers inside")
    return list(zip(parts, copies, strict=True))


def restore_own(part, copy):
    """Restore what the layer itself saves, as Keras does for a file."""
    if _overrides(part, "save_own_variables", "load_own_variables"):
        store = {}
        part.save_own_variables(store)
        copy.load_own_variables(
            {key: owned(value) for key, value in store.items()}
        )
    if hasattr(part, "save_assets") or hasattr(part, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            part.save_assets(folder)
            copy.load_assets(folder)


def _overrides(layer, *names):
    return any(
        getattr(type(layer), name) is not getattr(keras.Layer, name)
        for name in names
    )


def _pair_variables(old, new):
    ours, copies = (
        [*layer.variables, *layer.metrics_variables] for layer in (old, new)
    )
    if len(ours) == len(copies):
        by_name, names = _by_name(copies), _by_name(ours)
        if by_name.keys() == names.keys():
            # A quantized layer has them in another order than a new one.
            copies = [by_name[key] for key in names]
        pairs = list(zip(ours, copies, strict=True))
        if all(
            one.shape == other.shape and one.dtype == other.dtype
            for one, other in pairs
        ):
            return pairs
    reason = ", ".join(f"{each.path} {each.dtype}" for each in copies)
    check(old, False, f"the variables of the copy would be {reason or 'none'}")


def _by_name(variables):
    """Return variables by name and number among those of that name."""
    times, found = collections.Counter(), {}
    for each in variables:
        found[each.name, times[each.name]] = each
        times[each.name] += 1
    return found


def _check_alike(layer, part, copy):
    """Refuse a copy that says other things about itself."""
    differing = [
        key
        for key in ("trainable", "supports_masking")
        if getattr(part, key) != getattr(copy, key)
    ]
    if policy_config(part) != policy_config(copy):
        differing.append("dtype policy")
    vocabularies = [
        list(each.get_vocabulary())
        for each in (part, copy)
        if isinstance(each, WITH_VOCABULARY)
    ]
    if vocabularies[1:] != vocabularies[:-1]:
        differing.append("vocabulary")
    with contextlib.suppress(NotImplementedError):  # inside another layer
        ours, theirs = quiet_config(part), quiet_config(copy)
        differing += [
            key
            for key, value in ours.items()
            if isinstance(value, (str, int, float, bool))
            # A name may be a new one, and NaN is not itself.
            if key != "name" and repr(theirs.get(key)) != repr(value)
        ]
    if differing:
        reason = f"the copy of {part.name!r} would have another {differing[0]}"
        check(layer, False, reason, STATE)
