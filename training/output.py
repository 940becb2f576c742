"""The folder of a run."""

import pathlib

from eca_keras.errors import InputError


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
            f"result is lost. {path} holds files: remove them, or name "
            "another folder"
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
