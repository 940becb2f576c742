"""Says where the weights in a file of Keras and a model do not fit."""

from __future__ import annotations

import collections
import json
from typing import Any

import keras

from eca_keras.applications.attention import ATTENTION
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown
from eca_keras.utils.layer_settings import differing
from eca_keras.utils.layer_settings import settings_of
from eca_keras.utils.layer_settings import spelled
from eca_keras.weights.tensors import CheckpointError

Shapes = dict[Any, Any]

# Layers of which an output of a trained network does not depend.
_TRAINING = (
    "AlphaDropout",
    "AugMix",
    "CutMix",
    "Dropout",
    "Gaussian",
    "InputLayer",
    "MixUp",
    "RandAugment",
    "Random",
    "SpatialDropout",
)

# The classifier of every builder. A model without one takes the rest of a
# file, as it does of a PyTorch checkpoint.
HEAD = "predictions"

# What layers are called in a builder that is given a callable.
_BY_CALLABLE = "attention"


def misfit(file: Shapes, model: Shapes) -> str:
    """Say in which names and shapes a file is not the model's; `""` if none.

    Args:
        file: Shapes by names, as the file has them.
        model: Shapes by the same names, as the model has them.
    """
    problems = []
    if missing := [name for name in model if name not in file]:
        problems.append(f"missing {listed(missing)}")
    if unexpected := [name for name in file if name not in model]:
        problems.append(f"unexpected {listed(unexpected)}")
    unfitting = [
        f"{name} of shape {file[name]} for {shape}"
        for name, shape in model.items()
        if name in file and file[name] != shape
    ]
    if unfitting:
        problems.append(f"unfitting {listed(unfitting)}")
    return "; ".join(problems)


def check_shapes(file: Shapes, model: Shapes) -> None:
    """Refuse weights unless names and shapes are those of the model."""
    if problems := misfit(file, model):
        raise CheckpointError(f"its weights do not fit the model: {problems}")


def check_attention(file, model):
    """Refuse a file of a network with other attention.

    Args:
        file: Names of the layers in the file.
        model: Names of the layers of the model.
    """
    inside, asked = _attention(file), _attention(model)
    if inside != asked and _BY_CALLABLE not in (inside, asked):
        raise CheckpointError(
            f"it has attention={inside!r}, but the model has "
            f"attention={asked!r}: pass attention={inside!r}"
        )


def _attention(names):
    """Return the attention that names of layers end in, as builders have it."""
    found = {
        kind
        for name in names
        for kind in (*ATTENTION, _BY_CALLABLE)
        if name.endswith(f"_{kind}")
    }
    # `se_gc` ends in `gc`, too.
    found -= {kind for kind in found for other in found if kind in other[1:]}
    return found.pop() if len(found) == 1 else None


def check_configs(config: dict[str, Any], model: keras.Model) -> None:
    """Refuse a file whose layers have other settings than a model's.

    Args:
        config: That of the model in the file.
        model: The model. Layers are found by their names.
    """
    # Through JSON, as the file went: tuples become lists.
    own = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    inside, asked = (_by_place(_layers(each)) for each in (config, own))
    check_attention(inside, asked)
    for name, (kind, settings) in asked.items():
        if name not in inside or kind.startswith(_TRAINING):
            continue
        their_kind, theirs = inside[name]
        if their_kind.rpartition(">")[2] != kind.rpartition(">")[2]:
            raise CheckpointError(
                f"its layer {shown(name)} is of the class {shown(their_kind)}, "
                f"but the model's is of the class {kind}"
            )
        names = differing(settings, theirs)
        if name == HEAD:
            names = [each for each in names if each != "activation"]
        if names:
            raise CheckpointError(
                f"its layer {shown(name)} has {spelled(theirs, names)}, but "
                f"the model's has {spelled(settings, names)}"
            )


def _by_place(layers):
    """Return layers by names, or by class and number if Keras named them.

    Keras goes on counting from model to model.
    """
    found: dict[str, tuple[str, dict]] = {}
    counts: collections.Counter = collections.Counter()
    for name, (kind, settings) in layers:
        bare = name.rstrip("0123456789").removesuffix("_")
        stem = kind.rpartition(">")[2].lower()
        if name == stem or bare.replace("_", "") == stem:
            counts[stem] += 1
            name = f"{stem} {counts[stem]}"
        found[name] = kind, settings
    return found


def _layers(config):
    """Iterate over the layers in a config: their names, classes, settings."""
    inner = config.get("config")
    if not isinstance(inner, dict):
        return
    if isinstance(inner.get("layers"), list):
        for layer in inner["layers"]:
            if isinstance(layer, dict):
                yield from _layers(layer)
    elif isinstance(inner.get("name"), str):
        kind = config.get("registered_name") or config.get("class_name")
        yield inner["name"], (str(kind), settings_of(inner))
