"""Opens a user's model file once and takes a private copy of what is in it.

What is checked and what Keras reads are the same bytes, whatever becomes of
the user's file meanwhile.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import stat
import tempfile
import zipfile
import zlib

from eca_keras.utils.checks import shown
from eca_keras.weights import keras_bounds as bounds
from eca_keras.weights.keras_bounds import Refused
from eca_keras.weights.tensors import CheckpointError

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
ASSETS = "assets/"

ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Copy:
    """A private copy of a model file.

    Attributes:
        folder: Where it is.
        weights: The HDF5 file in it.
        config: The content of `config.json`; `None` for an HDF5 file.
    """

    folder: pathlib.Path
    weights: pathlib.Path
    config: bytes | None


@contextlib.contextmanager
def copied(path):
    """Yield a `Copy` of the model file at `path`, if it is one.

    Raises:
        Refused: if the archive holds what a model file does not.
        CheckpointError: if it is no model file, or damaged.
        OSError: if it cannot be read.
    """
    with (
        open_regular(path) as file,
        tempfile.TemporaryDirectory(prefix="eca-keras-") as folder,
    ):
        folder = pathlib.Path(folder)
        head = file.read(8)
        if head.startswith(ZIP):
            yield _unpacked(file, folder)
        elif head == HDF5:
            yield _hdf5(file, folder)
        else:
            raise CheckpointError(
                "it is neither a .keras archive nor an HDF5 file of Keras"
            )


@contextlib.contextmanager
def open_regular(path):
    """Open a file for reading and yield it, if it is one with bytes in it."""
    # Without O_NONBLOCK the opening of a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Cannot load {os.fspath(path)!r}: {error.strerror}",
        ) from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a device"
            kind = "a pipe" if stat.S_ISFIFO(state.st_mode) else kind
            raise CheckpointError(f"it is {kind} and not a file")
        if not state.st_size:
            raise CheckpointError("it is empty")
        yield stack.enter_context(open(descriptor, "rb", closefd=False))


def kind_of(path):
    """Return `"archive"` or `"hdf5"` for a file of Keras; `None` for others.

    Raises:
        CheckpointError: if it is no file, or an archive that is damaged.
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(8)
        if not head.startswith(ZIP):
            return "hdf5" if head == HDF5 else None
        with _archive(file) as archive:
            return "archive" if CONFIG in archive.namelist() else None


class _Frugal:
    """A file of which `zipfile` cannot read much at once."""

    def __init__(self, file):
        self._file = file
        self.tell = file.tell
        self.seekable, self.close = file.seekable, file.close

    def seek(self, *position):
        try:
            return self._file.seek(*position)
        except OSError as error:  # before the beginning
            raise zipfile.BadZipFile(str(error)) from None

    def read(self, count=-1):
        most = bounds.READ_BYTES
        data = self._file.read(most + 1 if count < 0 else min(count, most + 1))
        if len(data) > most:
            raise Refused("its zip archive has too many members")
        return data


@contextlib.contextmanager
def _archive(file):
    file.seek(0)
    try:
        with zipfile.ZipFile(_Frugal(file)) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        # A member that would be a folder as well as a file.
        FileExistsError,
        NotADirectoryError,
        NotImplementedError,
        UnicodeError,
        ValueError,
        OverflowError,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"it is a truncated or damaged zip archive ({shown(error)})"
        ) from None


def _unpacked(file, folder):
    """Take the members of a `.keras` archive out, once they are checked."""
    with _archive(file) as archive:
        members = archive.infolist()
        _check_members(members, os.fstat(file.fileno()).st_size)
        names = {info.filename for info in members}
        for name in (CONFIG, WEIGHTS):
            if name not in names:
                raise CheckpointError(f"its archive has no {name}")
        for info in members:
            if info.is_dir():
                continue
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(target, "xb") as copy:
                shutil.copyfileobj(source, copy, bounds.READ_BYTES)
        # Keras looks for assets in a folder that has it.
        (folder / METADATA).touch()
        config = (folder / CONFIG).read_bytes()
        return Copy(folder, folder / WEIGHTS, config)


def _check_members(members, size):
    if len(members) > bounds.MEMBERS:
        raise Refused("its zip archive has too many members")
    seen = set()
    for info in members:
        _check_member(info)
        if info.filename.lower() in seen:
            raise Refused(f"its archive has {shown(info.filename)} twice")
        seen.add(info.filename.lower())
    room = bounds.EXPANSION_FLOOR + bounds.EXPANSION * size
    total = sum(info.file_size for info in members)
    if total > room:
        raise Refused(
            f"its archive would unpack to {total} bytes, from {size} bytes"
        )
    for info in members:
        if info.filename == CONFIG and info.file_size > bounds.CONFIG_BYTES:
            raise Refused(
                f"its config.json has {info.file_size} bytes, more than a "
                "model has"
            )


def _check_member(info):
    # Python cuts a name at a NUL byte, other programs may not.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if (
        name != info.filename
        or any(character in name for character in "\\:\0")
        or {"", ".", ".."} & set(parts)
        or max(len(part.encode()) for part in parts) > 200
        or len(parts) > bounds.HDF5_DEPTH
    ):
        raise Refused(f"its archive has a member {shown(repr(name))}")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused(f"its archive has a link or device, {shown(name)}")
    if info.flag_bits & 1:
        raise Refused(f"its archive is encrypted, in {shown(name)}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(
            f"its archive is compressed in a way that Keras does not write, in "
            f"{shown(name)}"
        )
    if name not in (CONFIG, METADATA, WEIGHTS) and not name.startswith(ASSETS):
        raise Refused(
            f"its archive has {shown(name)}, and a model file has {CONFIG}, "
            f"{METADATA}, {WEIGHTS} and {ASSETS} alone"
        )


def _hdf5(file, folder):
    file.seek(0)
    weights = folder / WEIGHTS
    with open(weights, "xb") as copy:
        shutil.copyfileobj(file, copy, bounds.READ_BYTES)
    return Copy(folder, weights, None)
