"""A result appears under its name complete, or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterator

from eca_keras.utils.types import PathLike

# From Linux's fcntl.h and fs.h.
AT_FDCWD = -100
RENAME_EXCHANGE = 2

# How the names of temporary folders begin.
STAGING = ".writing-"


@contextlib.contextmanager
def staged_files(
    *paths: PathLike, overwrite: bool = True, durable: bool = False
) -> Iterator[list[str]]:
    """Yield where to write files that become `paths` if all goes well.

    Args:
        *paths: Where the files shall be, in one folder, which is made if it
            is missing.
        overwrite: Whether files that are already there may be replaced.
        durable: Wait until the disk has them, so that they survive a loss of
            power as well.

    Yields:
        A list of paths in a temporary folder beside them. When the block
        ends, what was written there takes the place of `paths`, each file in
        one step and in their order; when it raises, the temporary folder
        goes and what was there stays as it was.

    Raises:
        OSError: if something cannot be written, in one sentence.
    """
    finals = [_destination(path, overwrite) for path in paths]
    for path in finals:
        if os.path.isdir(path):
            raise IsADirectoryError(
                f"`path` must not be a folder. Received: path={path}"
            )
    with _staging(finals[0]) as folder:
        files = [os.path.join(folder, os.path.basename(p)) for p in finals]
        yield files
        for file, path in zip(files, finals, strict=True):
            if durable:
                _flush(file)
            os.replace(file, path)
        if durable:
            _flush(os.path.dirname(finals[0]))


def write_text(path: PathLike, text: str) -> None:
    """Write a text file that appears, or changes, once it is complete."""
    with (
        staged_files(path) as [partial],
        open(partial, "w", encoding="utf-8") as f,
    ):
        f.write(text)


def remove_leftovers(folder: PathLike) -> None:
    """Remove what a killed process had begun to write in `folder`.

    Nobody else may be writing there.
    """
    for path in pathlib.Path(folder).glob(f"{STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _flush(path):
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staged_folder(
    path: PathLike, *, is_ours: Callable[[str], bool], overwrite: bool = True
) -> Iterator[str]:
    """As `staged_files`, for one folder, of which it yields the path.

    Args:
        path: Where the folder shall be.
        is_ours: Callable that tells from its path whether a folder is an
            older result. A folder with anything else in it is never replaced.
        overwrite: Whether an older result may be replaced.
    """
    path = str(_destination(path, overwrite))
    if os.path.lexists(path) and not os.path.isdir(path):
        raise NotADirectoryError(
            f"`path` must not be a file. Received: path={path}"
        )
    if os.path.isdir(path) and os.listdir(path) and not is_ours(path):
        raise FileExistsError(
            "`path` must be new, an empty folder or an earlier result: what "
            f"is in this folder would be lost. Received: path={path}"
        )
    with _staging(path) as folder:
        new = os.path.join(folder, os.path.basename(path))
        yield new
        _replace_folder(new, path)


def _destination(path, overwrite):
    # Behind a link, so that the link stays and its target is replaced.
    path = os.path.realpath(os.fspath(path))
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(
            f"`path` must be new with `overwrite=False`. Received: path={path}"
        )
    return path


@contextlib.contextmanager
def _staging(path):
    """Make a folder beside `path` and remove it whatever happens."""
    parent, name = os.path.split(path)
    try:
        if os.path.lexists(parent) and not os.path.isdir(parent):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        os.makedirs(parent, exist_ok=True)
        # In the same folder: a rename does not cross file systems.
        with tempfile.TemporaryDirectory(
            prefix=f"{STAGING}{name}.", dir=parent, ignore_cleanup_errors=True
        ) as folder:
            yield folder
    except OSError as error:
        if error.errno is None:
            raise
        # OSError picks the subclass, such as PermissionError, by the number.
        raise OSError(
            error.errno, f"Could not write {path}: {error.strerror}"
        ) from error


def _replace_folder(new, path):
    if not os.path.isdir(path):
        os.rename(new, path)
        return
    if _exchange(new, path):
        return  # the older folder goes with the temporary one
    # Without an exchange there is a moment without either. The older folder
    # waits beside, not inside, the temporary one: nothing removes it before
    # the new one is in place.
    older = f"{os.path.dirname(new)}.older"
    os.rename(path, older)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(older, path)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _exchange(a, b):
    """Swap two folders in one step, or return False if the OS cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):
        return False
    a, b = os.fsencode(a), os.fsencode(b)
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0
