"""What every checkpoint reader returns."""

import dataclasses
import typing
import zipfile
import zlib

import numpy as np

from eca_keras import errors

# What `zipfile` raises, depending on the byte that is wrong.
ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError),
    *(NotImplementedError, OSError, OverflowError, RuntimeError, ValueError),
)


class CheckpointError(errors.InputError):
    """A checkpoint cannot be loaded; the message says why."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor that is still in its file.

    Attributes:
        shape: Tuple of integers.
        read: Callable without arguments that returns the values as a NumPy
            array. It works while the file is open.
    """

    shape: tuple[int, ...]
    read: typing.Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True)
class Opaque:
    """What a pickle names or makes that is no tensor: skipped, never called.

    Attributes:
        name: What the pickle asks for, such as `"argparse.Namespace"`.
    """

    name: str
