"""What in a layer's config changes its outputs once its weights are given."""

from __future__ import annotations

from typing import Any

from eca_keras.utils.checks import shown

# Shapes of weights tell sizes; the rest is about training, the machine, or
# how the numbers lie in memory.
_OTHER = """
activity_regularizer axis b batch_input_shape batch_shape data_format dtype
filters gamma height input_dim kernel_size momentum name rate reduction seed
synchronized target_shape trainable units width
"""
_OTHER_NAMES = frozenset(_OTHER.split())
_OTHER_ENDINGS = ("_constraint", "_initializer", "_regularizer")


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a layer's config that its outputs depend on.

    Args:
        config: What `get_config` returned, or what a file holds of it.
    """
    return {
        key: _inside(value)
        for key, value in config.items()
        if key not in _OTHER_NAMES and not key.endswith(_OTHER_ENDINGS)
    }


def _inside(value):
    if isinstance(value, (list, tuple)):
        return [_inside(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return settings_of(value)
    config = value.get("config")
    named = settings_of(config) if isinstance(config, dict) else config
    return {"class_name": value["class_name"], "config": named}


def spelled(settings: dict[str, Any], names: list[str]) -> str:
    """Return settings as they are written in a call."""
    return ", ".join(
        f"{name}={shown(repr(settings[name]))}"
        for name in names
        if name in settings
    )


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of the settings that both have, with other values.

    Versions of Keras differ in which settings they write.
    """
    both = [name for name in ours if name in theirs]
    return [name for name in both if ours[name] != theirs[name]]
