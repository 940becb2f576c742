"""The float32 twin of a model that computes in another precision."""

import keras

from eca_keras.errors import InputError
from eca_keras.export.checking.outputs import model_outputs
from eca_keras.surgery.layer_state import restore_own
from eca_keras.utils.keras_graph import custom_classes
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import policy_scope

OTHER = ("float16", "bfloat16", "float64")
POLICIES = (*OTHER, "mixed_float16", "mixed_bfloat16")


def other_dtypes(model):
    """Return the names of the float types besides float32 in a model."""
    found = {model.inputs[0].dtype}
    for layer in flatten_layers(model):
        found |= {layer.compute_dtype, layer.variable_dtype}
    return sorted(found & set(OTHER))


def lowered(endpoint, samples):
    """Return what formats export whose runtimes compute in float32.

    Args:
        endpoint: The `Endpoint`.
        samples: Arrays of inputs by name, on which its twin is compared with
            it.

    Returns:
        The endpoint or its float32 twin, the samples in the types of its
        inputs, and notes for the report.
    """
    dtypes = other_dtypes(endpoint.model)
    if not dtypes:
        return endpoint, samples, ()
    twin = endpoint.on(in_float32(endpoint.model))
    before = model_outputs(endpoint, samples)
    samples = {
        name: samples[name].astype(spec.dtype.as_numpy_dtype)
        for name, spec in twin.specs().items()
    }
    change = twin.change(before, model_outputs(twin, samples))
    note = (
        f"the model computes in {' and '.join(dtypes)} and was rebuilt in "
        f"float32, which {change}"
    )
    return twin, samples, (note,)


def in_float32(model):
    """Rebuild a model with the same weights and float32 everywhere.

    Raises:
        ValueError: if the model cannot be rebuilt from its config.
    """
    try:
        config = _lower(model.get_config())
        # Layers that a custom layer makes inside follow the global policy.
        with (
            policy_scope("float32"),
            keras.saving.custom_object_scope(custom_classes(model)),
        ):
            rebuilt = type(model).from_config(config)
        weights = [weight.astype("float32") for weight in model.get_weights()]
        rebuilt.set_weights(weights)
        pairs = flatten_layers(model), flatten_layers(rebuilt)
        for layer, twin in zip(*pairs, strict=True):
            restore_own(layer, twin)
    except (TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"`model` computes in {' and '.join(other_dtypes(model))} and "
            "could not be rebuilt in float32 from its config: build it in "
            f"float32 and copy the weights. Received: {reason}"
        ) from error
    return rebuilt


def _lower(config):
    """Replace dtype policies, and dtypes of inputs and casts, in a config."""
    if isinstance(config, (list, tuple)):
        return type(config)(_lower(value) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": "float32"}}
    return {
        key: "float32"
        if key == "dtype" and value in POLICIES
        else _lower(value)
        for key, value in config.items()
    }
