"""Writing results so that no half-written file ever has its final name."""

import contextlib
import os
import pathlib

from eca_keras.errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Gives a path to write to, which then takes the place of `path`.

    If the block fails, what was at `path` stays as it was.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a text file beside its final name, then renames it."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
            f"result is lost. {path} holds files"
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
