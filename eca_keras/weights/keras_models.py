"""The one door through which model files of Keras are opened."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import re
import tempfile
import textwrap
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import keras

from eca_keras.utils.types import PathLike
from eca_keras.weights import keras_allowed as allowed
from eca_keras.weights import keras_archive
from eca_keras.weights import keras_bounds as bounds
from eca_keras.weights import keras_config
from eca_keras.weights import keras_hdf5
from eca_keras.weights import keras_legacy
from eca_keras.weights.keras_bounds import Refused
from eca_keras.weights.keras_limits import limited_weights
from eca_keras.weights.tensors import CheckpointError

TRUST = "; if you trust whoever made the file, pass trust=True"


def load_model(
    path: PathLike,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> keras.Model:
    """Load a model file of Keras that may come from anybody.

    Before Keras sees it, the file is checked against a closed list: plain
    layers, operations, initializers and the like of Keras, the classes of
    this library, and `custom_objects`, at any depth; in the archive and in
    HDF5, arrays of numbers and nothing else. No code of the file runs, and
    no other file is opened. `docs/trust.md` has the list of what is refused.

    Args:
        path: A `.keras` file, or a whole model in the older `.h5` format,
            whatever it is called.
        custom_objects: Dictionary from names to classes and functions of
            yours that the file may name. It may call them with arguments of
            its own choice. Classes that are merely registered with Keras are
            not admitted: importing a library registers many, and some of
            them open files.
        trust: Whether to load the file with Keras as it is, unchecked. Code
            in it runs.

    Returns:
        The model, not compiled.

    Raises:
        CheckpointError: (a ValueError) if the file is damaged, is no model,
            or holds what is not on the list, in one sentence.
        OSError: if it cannot be read.

    Example:

    ```python
    model = eca_keras.load_model("model.keras")
    ```
    """
    custom = dict(custom_objects or {})
    with told(path, TRUST):
        if trust:
            return _trusted(path, custom)
        with keras_archive.copied(path) as copy:
            return _checked(copy, custom)


@contextlib.contextmanager
def told(path: PathLike, hint: str = "") -> Iterator[None]:
    """Have errors name the file, and what can be done if it is refused."""
    try:
        yield
    except CheckpointError as error:
        sentence = f"Cannot load {os.fspath(path)!r}: {error}"
        if isinstance(error, Refused):
            raise Refused(sentence + hint) from None
        raise CheckpointError(sentence) from None


def _checked(copy, custom):
    with keras_hdf5.open_file(copy.weights) as (file, tree):
        data = copy.config or tree.config
        if data is None:
            raise CheckpointError(
                "it holds weights and no model: make the model with a builder, "
                "and pass the file as `weights`"
            )
        config, modules = keras_config.admit(keras_config.parse(data), custom)
        _import(modules)
        limit = tree.numbers + bounds.EXTRA_NUMBERS
        error = Refused(
            "its configuration makes more weights than the file has numbers, "
            "or more tensors than a model has"
        )
        with limited_weights(limit, error), _made():
            if copy.config is None:
                model = keras.saving.deserialize_keras_object(
                    config, custom_objects=custom, safe_mode=True
                )
                keras_legacy.assign(model, file, tree)
                return model
            (copy.folder / keras_archive.CONFIG).write_text(json.dumps(config))
            return keras.models.load_model(
                copy.folder,
                custom_objects=custom,
                compile=False,
                safe_mode=True,
            )


def _trusted(path, custom):
    with keras_archive.open_regular(path) as file:
        archive = file.read(4) == keras_archive.ZIP
    _import(set(allowed.OWN.values()), missing=True)
    with tempfile.TemporaryDirectory(prefix="eca-keras-") as folder, _made():
        # Keras goes by the suffix.
        link = pathlib.Path(folder, "model.keras" if archive else "model.h5")
        link.symlink_to(os.path.abspath(path))
        return keras.models.load_model(
            link, custom_objects=custom, compile=False, safe_mode=False
        )


def _import(modules, missing=False):
    """Import the modules that register the classes of a model."""
    for module in sorted(modules):
        try:
            importlib.import_module(module)
        except ImportError:
            if not missing:
                raise


@contextlib.contextmanager
def _made():
    """Say in one sentence what keeps Keras from making a model."""
    try:
        yield
    except CheckpointError:
        raise
    # What a damaged configuration raises depends on what is wrong in it, and
    # an admitted class may raise whatever it likes.
    except Exception as error:
        # Keras may add the whole configuration of a model,
        # and puts the cause behind it.
        reason = str(error).rpartition("Exception encountered: ")[2]
        reason = (
            " ".join(re.sub(r"\x1b\[\d*m", "", reason).split())
            or type(error).__name__
        )
        reason = textwrap.shorten(reason, 200, placeholder=" ...")
        raise CheckpointError(
            f"Keras cannot make its model ({reason})"
        ) from None
