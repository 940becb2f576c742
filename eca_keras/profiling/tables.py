"""Rows of measurements: as text, and as CSV files."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from eca_keras.utils.files import staged_files
from eca_keras.utils.types import PathLike

Columns = Sequence[tuple[str, str | Callable[[Any], str]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a call took, and by how much longer than another one.

    Attributes:
        rounds: Number of timed calls.
        seconds: Median wall-clock time of a call.
        seconds_lower, seconds_upper: First and third quartile of it.
        cpu_seconds: Median CPU time of a call, over all threads. Other
            programs disturb it less than the wall-clock time.
        ratio: Median over the rounds of the wall-clock time by that of the
            one compared with, in the same round. What slows the machine down
            for a while slows both, so that this is steadier than the ratio of
            the two medians.
        ratio_lower, ratio_upper: First and third quartile of it.
        cpu_ratio: As `ratio`, of the CPU time.
    """

    rounds: int
    seconds: float
    seconds_lower: float
    seconds_upper: float
    cpu_seconds: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    cpu_ratio: float


def timing(
    wall: np.ndarray, cpu: np.ndarray, one: int, first: int
) -> dict[str, Any]:
    """Summarize the rounds of one of several that took turns.

    Args:
        wall, cpu: Wall-clock and CPU seconds, arrays of shape
            `(rounds, contestants)`.
        one: Index of the one.
        first: Index of the one that it is compared with.

    Returns:
        The fields of `Timing`.
    """
    lower, seconds, upper = quartiles(wall[:, one])
    ratios = quartiles(wall[:, one] / wall[:, first])
    return {
        "rounds": len(wall),
        "seconds": seconds,
        "seconds_lower": lower,
        "seconds_upper": upper,
        "cpu_seconds": float(np.median(cpu[:, one])),
        "ratio": ratios[1],
        "ratio_lower": ratios[0],
        "ratio_upper": ratios[2],
        "cpu_ratio": float(np.median(cpu[:, one] / cpu[:, first])),
    }


def quartiles(values: np.ndarray) -> list[float]:
    """Return first quartile, median and third quartile as numbers."""
    return np.quantile(values, (0.25, 0.5, 0.75)).tolist()


# Columns of a `Timing`, for tables.
TIMES: Columns = (
    ("ms", lambda row: f"{1e3 * row.seconds:.1f}"),
    (
        "quartiles",
        lambda row: (
            f"{1e3 * row.seconds_lower:.1f}-{1e3 * row.seconds_upper:.1f}"
        ),
    ),
    ("ratio", lambda row: f"{row.ratio:.3f}"),
    ("CPU", lambda row: f"{row.cpu_ratio:.3f}"),
)


def format_table(rows: Sequence[Any], columns: Columns, names: int = 2) -> str:
    """Return rows as text, a line each below a line of titles.

    Args:
        rows: Objects.
        columns: Pairs of a title and an attribute, or a function that makes
            the text of a row.
        names: Number of columns that hold names, which are aligned to the
            left; numbers are to the right.
    """
    table = [[title for title, _ in columns]]
    for row in rows:
        table.append(
            [
                get(row) if callable(get) else str(getattr(row, get))
                for _, get in columns
            ]
        )
    return aligned(table, names)


def aligned(table: Sequence[Sequence[str]], names: int = 2) -> str:
    """Return rows of text as lines: some names first, then numbers."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def write_csv(rows: Sequence[Any], path: PathLike) -> None:
    """Write rows to a CSV file with the names of their fields as titles.

    Args:
        rows: Objects of one dataclass, or dictionaries with the same keys.
        path: File to write. It only appears, or changes, once it is complete.
    """
    values = [
        row if isinstance(row, dict) else dataclasses.asdict(row)
        for row in rows
    ]
    with (
        staged_files(path) as [partial],
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(values[0]))
        writer.writeheader()
        writer.writerows(values)
