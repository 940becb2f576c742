"""The folder of a run."""

import dataclasses
import json
import pathlib

from eca_keras.errors import InputError
from eca_keras.training.config import deciding
from eca_keras.training.config import upgraded
from eca_keras.utils.files import remove_leftovers
from eca_keras.utils.files import write_text

CONFIG = "config.json"


def new_folder(path, name):
    """Create the folder for results, or use an empty one.

    Args:
        path: The folder.
        name: The option that named it, for messages.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(
            f"`{name}` must be a folder, but there is a file at {path}"
        )
    if path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"`{name}` must be a new or empty folder, so that no earlier "
            f"result is lost. {path} holds files: remove them, name another "
            "folder, or resume its run by --resume"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"`{name}` must be a folder that can be written: "
            f"{error.strerror}: {path}"
        ) from None
    return path


def run_folder(config, resume):
    """Return the folder of a run, with its `config.json` written.

    Args:
        config: `RunConfig`.
        resume: Whether the folder may hold the same run.
    """
    path = pathlib.Path(config.output)
    if resume and path.is_dir():
        remove_leftovers(path)
        if any(path.iterdir()):
            _check_same_run(path, config)
            return path
    path = new_folder(path, "output")
    write_json(path / CONFIG, dataclasses.asdict(config))
    return path


def _check_same_run(path, config):
    try:
        began = dict(json.loads((path / CONFIG).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        raise InputError(
            f"`resume` needs the folder of a run, but {path} has no "
            f"{CONFIG} that can be read"
        ) from None
    # An option that the run did not know had the value that is its default.
    began = {**deciding(type(config)()), **upgraded(began)}
    differences = [
        f"{name} was {began[name]!r} and is {value!r}"
        for name, value in deciding(config).items()
        if began[name] != value
    ]
    if differences:
        raise InputError(
            f"`resume` needs the settings that the run in {path} began with: "
            f"{'; '.join(differences)}. Leave them as they were, or name "
            "another output"
        )


def write_json(path, values):
    write_text(path, json.dumps(values, indent=2) + "\n")
