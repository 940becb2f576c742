"""The folder of a run."""

import dataclasses
import json
import pathlib

from eca_keras.errors import InputError
from eca_keras.training.config import FREE
from eca_keras.utils.files import remove_leftovers
from eca_keras.utils.files import write_text

CONFIG = "config.json"


def new_folder(path, name):
    """Creates the folder for results, or uses an empty one.

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
            "folder, or go on with its run by --resume"
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
    """Returns the folder of a run, with its `config.json` written.

    Args:
        config: `TrainConfig`.
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
        began = json.loads((path / CONFIG).read_text("utf-8"))
        began = dict(began)
    except (FileNotFoundError, ValueError, TypeError):
        raise InputError(
            f"`resume` needs the folder of a run, but {path} has no "
            f"{CONFIG} that can be read"
        ) from None
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    differences = [
        f"{name} was {began.get(name)!r} and is {value!r}"
        for name, value in now.items()
        if name not in FREE and began.get(name) != value
    ]
    if differences:
        raise InputError(
            f"`resume` needs the settings that the run in {path} began with: "
            f"{'; '.join(differences)}. Leave them as they were, or name "
            "another output"
        )


def write_json(path, values):
    write_text(path, json.dumps(values, indent=2) + "\n")
