"""What every checkpoint reader returns."""

import dataclasses
import typing

from eca_keras import errors


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

    shape: tuple
    read: typing.Callable


def shorten(items, limit=10):
    """Joins at most `limit` items and says how many were left out."""
    items = list(items)
    rest = len(items) - limit
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(items[:limit]) + more
