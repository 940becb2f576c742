"""What took how long, and by how much longer than something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from eca_keras.errors import InputError
from eca_keras.profiling import tables


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed(tables.Timing):
    """How fast something from a library is.

    Attributes:
        library: Where it is from: `"eca-keras"` or another library.
        attention: Name of the attention module, or `"none"`.
        ratio: Median over the rounds of the wall-clock time by that of the
            one with the first attention, from the same library, in the same
            round; `ratio_lower`, `ratio_upper` and `cpu_ratio` alike.
        library_ratio: Median over the rounds of the wall-clock time by that
            of the same with the same attention in this library: above 1
            where this library is faster.
        library_ratio_lower, library_ratio_upper: First and third quartile.
    """

    library: str
    attention: str
    library_ratio: float
    library_ratio_lower: float
    library_ratio_upper: float


LIBRARY_RATIO: tables.Columns = (
    ("by ours", lambda row: f"{row.library_ratio:.2f}"),
    (
        "quartiles",
        lambda row: (
            f"{row.library_ratio_lower:.2f}-{row.library_ratio_upper:.2f}"
        ),
    ),
)


def speed(
    wall: np.ndarray,
    cpu: np.ndarray,
    i: int,
    names: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Summarize the rounds of one of several that took turns.

    Args:
        wall, cpu: Wall-clock and CPU seconds, arrays of shape
            `(rounds, contestants)`.
        i: Index of the one.
        names: Library and attention of each; the first is from this library.

    Returns:
        The fields of `Speed`.
    """
    library, attention = names[i]
    first = [name for name, _ in names].index(library)
    same = names.index((names[0][0], attention))
    lower, middle, upper = tables.quartiles(wall[:, i] / wall[:, same])
    return {
        "library": library,
        "attention": attention,
        **tables.timing(wall, cpu, i, first),
        "library_ratio": middle,
        "library_ratio_lower": lower,
        "library_ratio_upper": upper,
    }


def check_different(name: str, values: Sequence[str]) -> None:
    """Refuse names of which two are equal."""
    if len(set(values)) < len(values):
        raise InputError(
            f"`{name}` must be different from each other. "
            f"Received: {name}={' '.join(values)}"
        )
