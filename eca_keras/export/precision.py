"""The float32 twin of a model that computes in another precision."""

import contextlib

import keras

from eca_keras.errors import InputError
from eca_keras.export.compare import keras_outputs

OTHER = ("float16", "bfloat16", "float64")
POLICIES = (*OTHER, "mixed_float16", "mixed_bfloat16")


def other_dtypes(model):
    """Returns the names of the float types besides float32 in a model."""
    found = {model.inputs[0].dtype}
    for layer in model._flatten_layers():
        found |= {layer.compute_dtype, layer.variable_dtype}
    return sorted(found & set(OTHER))


def lowered(model, samples):
    """Returns a model for formats whose runtimes compute in float32.

    Args:
        model: The model.
        samples: Array of inputs, on which its twin is compared with it.

    Returns:
        The model or its float32 twin, the samples in the dtype of its input,
        and notes for the report.
    """
    dtypes = other_dtypes(model)
    if not dtypes:
        return model, samples, ()
    twin = in_float32(model)
    before = keras_outputs(model, samples).astype("float64")
    samples = samples.astype(twin.inputs[0].dtype)
    change = abs(before - keras_outputs(twin, samples)).max()
    note = (
        f"the model computes in {' and '.join(dtypes)} and was rebuilt in "
        f"float32, which changes its outputs by up to {change:.1e}"
    )
    return twin, samples, (note,)


def in_float32(model):
    """Rebuilds a model with the same weights and float32 everywhere.

    Raises:
        ValueError: if the model cannot be rebuilt from its config.
    """
    # A custom layer need not be registered: its class is at hand.
    classes = {
        type(layer).__name__: type(layer)
        for layer in model._flatten_layers()
        if not type(layer).__module__.startswith("keras.")
    }
    try:
        config = _lower(model.get_config())
        with _float32_policy(), keras.saving.custom_object_scope(classes):
            rebuilt = type(model).from_config(config)
        weights = [weight.astype("float32") for weight in model.get_weights()]
        rebuilt.set_weights(weights)
    except (TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"`model` computes in {' and '.join(other_dtypes(model))} and "
            "could not be rebuilt in float32 from its config: build it in "
            f"float32 and copy the weights. Received: {reason}"
        ) from error
    return rebuilt


@contextlib.contextmanager
def _float32_policy():
    # Layers that a custom layer makes inside follow the global policy.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _lower(config):
    """Replaces dtype policies, and dtypes of inputs and casts, in a config."""
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
