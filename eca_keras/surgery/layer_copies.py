"""Second layers like given ones, made from their configs.

A config has names where a layer has functions and classes, and leaves out
what is decided by `keras.config`, or by a layer about those inside it.
"""

import collections
import contextlib
import warnings

import keras

from eca_keras.surgery.attributes import carry_functions
from eca_keras.surgery.attributes import custom_objects
from eca_keras.surgery.naming import FROM_CONFIG
from eca_keras.surgery.naming import naming
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import is_own_build
from eca_keras.utils.keras_graph import policy_scope
from eca_keras.utils.keras_graph import rebuilding_scope
from eca_keras.utils.keras_graph import shared_object


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
                    config = self._configs[id(each)] = quiet_config(each)
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


def quiet_config(operation):
    """Return a new dictionary with the config of a layer or operation."""
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


def policy_config(layer):
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
        if policy_config(copy) != policy_config(part):
            copy.dtype_policy = part.dtype_policy
        known = getattr(part, "data_format", None)
        if known is not None and copy.data_format != known:
            copy.data_format = known
