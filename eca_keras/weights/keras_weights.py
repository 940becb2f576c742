"""Weights from files of Keras, judged as strictly as PyTorch checkpoints."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

import h5py
import keras
import ml_dtypes
import numpy as np

from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown
from eca_keras.utils.keras_graph import custom_classes
from eca_keras.utils.layer_settings import differing
from eca_keras.utils.layer_settings import spelled
from eca_keras.utils.types import PathLike
from eca_keras.weights import keras_archive
from eca_keras.weights import keras_config
from eca_keras.weights import keras_hdf5
from eca_keras.weights import keras_legacy
from eca_keras.weights.differences import HEAD
from eca_keras.weights.differences import check_attention
from eca_keras.weights.differences import check_configs
from eca_keras.weights.differences import check_shapes
from eca_keras.weights.keras_models import told
from eca_keras.weights.tensors import CheckpointError

HINT = (
    "; if you trust whoever made the file, load it by "
    "eca_keras.load_model(path, trust=True)"
)

# What an attention layer writes beside its weights.
SETTINGS = "settings"
# State that is no weight: random seeds, and normalization before a network.
_STATE = re.compile(
    r"(^|/)(seed_generator|normalization)(_\d+)?/|^/?optimizer/"
)
# A layer of its own, and no part of a block.
_DENSE = re.compile(r"(^|/)layers/dense(_\d+)?$")


def load_weights(model: keras.Model, path: PathLike) -> None:
    """Load the weights in a file of Keras into a model.

    The layers are compared by name, in both directions, with their classes
    and whatever changes their outputs as far as the file tells: a `.keras`
    file and a whole model in the older `.h5` format have all of it, and a
    `.weights.h5` file has names, shapes and the settings of attention layers.
    A classifier in the file is left out for a model that has none.

    Args:
        model: A built model.
        path: The file; its content decides what it is.

    Raises:
        CheckpointError: (a ValueError) if the file is damaged, is of another
            model, or holds what `eca_keras.load_model` refuses. The model is
            as it was then.
        OSError: if it cannot be read.
    """
    with (
        told(path, HINT),
        keras_archive.copied(path) as copy,
        keras_hdf5.open_file(copy.weights) as (file, tree),
    ):
        data = copy.config or tree.config
        if data is not None:
            config, _ = keras_config.admit(
                keras_config.parse(data), custom_classes(model)
            )
            check_configs(config, model)
        if tree.legacy:
            names = [layer.name for layer in model.layers]
            unused = () if HEAD in names else (HEAD,)
            keras_legacy.assign(model, file, tree, unused)
        else:
            _fill(model, copy.folder, file, tree)


def _fill(model, folder, file, tree):
    """Load what a file has through a file that Keras wrote of the model.

    That file has all that Keras will look for, under the same paths.
    """
    path = pathlib.Path(folder, "own.weights.h5")
    model.save_weights(path)
    with keras_hdf5.open_file(path) as (own, wanted):
        prefix = _prefix(tree, wanted)
        tree = _moved(tree, prefix)
        _check(file, prefix, tree, own, wanted)
    with h5py.File(path, "r+") as own:
        for name, shape in wanted.shapes.items():
            if tree.shapes.get(name) == shape:
                _copy(file[prefix + name], own[name])
            elif _counts(name):
                raise CheckpointError(f"it has no weights for {shown(name)}")
    model.load_weights(path)


def _prefix(tree, wanted):
    """Return where in a file the model is, if another one is around it."""
    paths = [path for path in wanted.shapes if _counts(path)]
    if not paths or all(path in tree.shapes for path in paths):
        return ""
    ends = [p for p in tree.shapes if p.endswith(f"/{paths[0]}")]
    for prefix in (end.removesuffix(paths[0]) for end in ends):
        if all(prefix + path in tree.shapes for path in paths):
            return prefix
    return ""


def _moved(tree, prefix):
    """Return a tree with paths from a prefix on, and others behind "/"."""
    if not prefix:
        return tree
    shapes, names = (
        {
            path[len(prefix) :] if path.startswith(prefix) else f"/{path}": each
            for path, each in part.items()
        }
        for part in (tree.shapes, tree.names)
    )
    return dataclasses.replace(tree, shapes=shapes, names=names)


def _counts(path):
    """Tell whether a variable has to be in both file and model."""
    return not _STATE.search(path) and not path.endswith(f"/{SETTINGS}")


def _heads(tree, wanted):
    """Return the groups of a classifier that the model has not."""
    groups = {_group(path) for path in tree.shapes}
    ours = {_group(path) for path in wanted.shapes}
    if HEAD in wanted.names.values():
        return set()
    heads = {group for group in groups if tree.names.get(group) == HEAD}
    if not any(map(_DENSE.search, ours)):
        heads |= {group for group in groups if _DENSE.search(group)}
    return heads


def _check(file, prefix, tree, own, wanted):
    if tree.names and wanted.names:
        check_attention(tree.names.values(), wanted.names.values())
    heads = _heads(tree, wanted)
    shapes = [
        {
            _label(path, wanted.names, tree.names): shape
            for path, shape in part.shapes.items()
            if _counts(path) and _group(path) not in heads
        }
        for part in (tree, wanted)
    ]
    check_shapes(*shapes)
    _check_names(tree, wanted)
    for path in wanted.shapes:
        if path.endswith(f"/{SETTINGS}") and path in tree.shapes:
            name = _label(path, wanted.names, tree.names).rpartition("/")[0]
            _check_settings(file[prefix + path], own[path], name)


def _check_names(tree, wanted):
    """Refuse layers in other places; names that Keras made do not count."""
    moved = [
        f"{shown(tree.names[group])} for {name}"
        for path in wanted.shapes
        if (group := _group(path)) in tree.names
        and (name := wanted.names.get(group)) is not None
        and _stem(tree.names[group]) != _stem(name)
    ]
    if moved:
        moved = list(dict.fromkeys(moved))
        raise CheckpointError(
            f"its layers are not those of the model: {listed(moved)}"
        )


def _stem(name):
    return re.sub(r"_\d+$", "", name)


def _group(path):
    return path.rpartition("/vars/")[0]


def _label(path, *names):
    """Return the name of a variable with that of its layer, if one has it."""
    group, _, variable = path.rpartition("/vars/")
    for each in names:
        if group in each and not path.startswith("/"):
            return f"{each[group]}/{variable}"
    return path


def _check_settings(file, own, name):
    theirs, ours = (_settings(data) for data in (file, own))
    if names := differing(ours, theirs):
        raise CheckpointError(
            f"its layer {shown(name)} has {spelled(theirs, names)}, but the "
            f"model's has {spelled(ours, names)}"
        )


def _settings(data):
    try:
        found = json.loads(bytes(data[()].astype("uint8")))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError("the settings of an attention layer are damaged")
    return found


def _copy(source, target):
    values = source[()]
    if values.dtype.kind == "V":
        values = values.view(ml_dtypes.bfloat16).astype("float32")
    if target.dtype.kind == "V":
        values = values.astype(ml_dtypes.bfloat16).view(target.dtype)
    target[()] = np.asarray(values)
