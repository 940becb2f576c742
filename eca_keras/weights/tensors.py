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


def listed(names, limit=10):
    """Join at most `limit` names and says how many were left out.

    The names come from a file, so they may have any length and any character.
    """
    names = list(names)
    rest = len(names) - limit
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(map(shown, names[:limit])) + more


def shown(name, limit=80):
    """Return a name of a file for a message: printable and not too long."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= limit else f"{name[:limit]}..."
