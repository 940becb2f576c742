"""Second layers like given ones, with state of their own.

State is what a `.keras` file keeps: variables, assets such as the vocabulary
of a `StringLookup`, and what `save_own_variables` stores. Beyond that, plain
attributes and functions are taken over. What cannot be is refused by name.
"""

import collections
import contextlib
import re
import tempfile
import warnings

import keras

from eca_keras.errors import InputError
from eca_keras.surgery.attributes import carry_attributes
from eca_keras.surgery.attributes import carry_functions
from eca_keras.surgery.attributes import custom_objects
from eca_keras.surgery.attributes import owned
from eca_keras.utils.checks import shown
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import is_own_build
from eca_keras.utils.keras_graph import policy_scope
from eca_keras.utils.keras_graph import rebuilding_scope
from eca_keras.utils.keras_graph import shared_object

FROM_CONFIG = "that cannot be copied from its config"
STATE = "that cannot give its state to a copy"

REASON = 200  # characters of what a layer raises

# What a layer may raise when it is asked for its config or its state.
FAULTS = (
    *(AttributeError, KeyError, NotImplementedError, OSError, RuntimeError),
    *(TypeError, ValueError),
)


class LayerCopies:
    """Copies of layers and operations, made from their configs.

    A layer inside several of them is one layer in the copies, too.

    Args:
        operations: All that are to be copied, without models whose calls are.
    """

    def __init__(self, operations):
        times = collections.Counter(
            id(part)
            for each in operations
            if isinstance(each, keras.Layer)
            for part in flatten_layers(each)
        )
        self._shared = {key for key, count in times.items() if count > 1}
        self._configs = {}
        with rebuilding_scope():
            for each in operations:
                with naming(each, FROM_CONFIG):
                    config = self._configs[id(each)] = _config(each)
                    _keep_lambdas(each, config)
                    if id(each) in self._shared:
                        keras.saving.serialize_keras_object(each)
        _forget_ids(list(self._configs.values()), self._shared)

    def make(self, operation):
        """Return a copy that has no state yet, in a `rebuilding_scope`."""
        with naming(operation, FROM_CONFIG), scope(operation):
            config = self._configs[id(operation)]
            if not isinstance(operation, keras.Layer):
                return type(operation).from_config(config)
            copy = shared_object(
                id(operation) if id(operation) in self._shared else None,
                lambda: type(operation).from_config(config),
            )
            _align(operation, copy)
            if is_own_build(operation) and not copy.built:
                config = operation.get_build_config()
                if config:
                    copy.build_from_config(config)
                    copy.built = True
        return copy


@contextlib.contextmanager
def naming(layer, fault):
    """Say which layer it is that raises."""
    try:
        yield
    except InputError:
        raise
    except FAULTS as error:
        raise _refusal(layer, fault, _reason(error)) from error


@contextlib.contextmanager
def scope(operation):
    """Make and call a copy where what a config leaves open is as it was.

    Layers that a layer makes by itself take the policy and data format of the
    day, and a class or function need not be registered.
    """
    if not isinstance(operation, keras.Layer):
        yield
        return
    parts = flatten_layers(operation)
    inner = [unquantized(part.dtype_policy) for part in parts[1:] or parts]
    policy = max(inner, key=inner.count)
    formats = [getattr(part, "data_format", None) for part in parts]
    formats = [each for each in formats if isinstance(each, str)]
    known = formats[-1] if formats else None
    with (
        policy_scope(policy, known),
        keras.saving.custom_object_scope(custom_objects(operation)),
    ):
        yield


def restore(old, new):
    """Give a copy the state of the given layer, or refuse it by name.

    Returns:
        Pairs of variables, that of the given layer and that of the copy.
    """
    pairs = _pair_layers(old, new)
    for part, copy in pairs:
        copy.trainable = part.trainable
        with naming(old, STATE):
            _restore_own(part, copy)
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


def _reason(error):
    lines = [re.sub("\x1b\\[.m", "", line) for line in str(error).splitlines()]
    lines = [line for line in lines if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]  # which only says in which layer
    return shown(lines[0] if lines else repr(error), REASON)


def check(layer, holds, reason):
    """Refuse a layer whose copy is not like it."""
    if not holds:
        raise _refusal(layer, FROM_CONFIG, reason)


def _refusal(layer, fault, reason):
    return InputError(
        f"`model` has a layer {fault}, {layer.name!r} of class "
        f"{type(layer).__name__}. Received: {reason}"
    )


def _config(operation):
    with warnings.catch_warnings():
        # Nothing is saved: that a lambda has no name does not matter.
        warnings.filterwarnings("ignore", ".*includes a `lambda`")
        return dict(operation.get_config())


def _keep_lambdas(operation, config):
    """Put functions into a config that Keras could not read from it."""
    for key, value in vars(operation).items():
        if "activation" in key and getattr(value, "__name__", 0) == "<lambda>":
            config[key] = value


def _forget_ids(config, kept):
    """Remove from configs that objects are shared, but for the layers `kept`.

    Other objects may be gone by now, and their ids given to others.
    """
    if isinstance(config, dict):
        if config.get("shared_object_id") not in kept:
            config.pop("shared_object_id", None)
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for each in config:
            _forget_ids(each, kept)


def unquantized(policy):
    """Return the dtype policy that a quantized one was made from."""
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        policy = policy.default_policy
    if policy.quantization_mode is None:
        return policy
    return keras.DTypePolicy(policy.name.rpartition("_from_")[2])


def _policy(layer):
    """Return a dtype policy such that equal ones are equal, maps too."""
    return keras.dtype_policies.serialize(layer.dtype_policy)


def _align(old, new):
    """Give a copy, before it is built, what configs leave out."""
    parts, copies = flatten_layers(old), flatten_layers(new)
    # Layers that are made when it is built are not there yet.
    for part, copy in zip(parts, copies, strict=False):
        if type(part) is not type(copy):
            return
        carry_functions(part, copy)
        if copy.built and copy.weights:
            continue
        # Some layers give themselves another one than their config has.
        copy.name = part.name
        if _policy(copy) != _policy(part):
            copy.dtype_policy = part.dtype_policy
        known = getattr(part, "data_format", None)
        if known is not None and copy.data_format != known:
            copy.data_format = known


def _pair_layers(old, new):
    parts, copies = flatten_layers(old), flatten_layers(new)
    same = [type(each) for each in parts] == [type(each) for each in copies]
    check(old, same, "the copy would have other layers inside")
    return list(zip(parts, copies, strict=True))


def _restore_own(part, copy):
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
    if _policy(part) != _policy(copy):
        differing.append("dtype policy")
    vocabularies = [
        list(each.get_vocabulary())
        for each in (part, copy)
        if hasattr(each, "get_vocabulary")
    ]
    if vocabularies[1:] != vocabularies[:-1]:
        differing.append("vocabulary")
    try:
        configs = _config(part), _config(copy)
    except NotImplementedError:  # it is somebody else's business
        configs = {}, {}
    differing += [
        key
        for key, value in configs[0].items()
        if key != "name"
        and isinstance(value, (str, int, float, bool))
        and configs[1].get(key) != value
    ]
    if differing:
        reason = f"the copy of {part.name!r} would have another {differing[0]}"
        raise _refusal(layer, STATE, reason)
