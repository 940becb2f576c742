"""Timings as text and as CSV files."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from typing import Any

from eca_keras.utils.files import staged_files
from eca_keras.utils.types import PathLike


def format_table(rows: Sequence[Any]) -> str:
    """Return `Latency` rows as text, one line each below the titles."""
    table = [
        ("model", "task", "batch", "ms", "quartiles", "samples/s")
        + ("CPU ms", "ratio", "quartiles", "CPU ratio")
    ]
    for row in rows:
        table.append(
            (
                row.model,
                row.task,
                str(row.batch_size),
                f"{1e3 * row.seconds:.2f}",
                f"{1e3 * row.seconds_lower:.2f}-{1e3 * row.seconds_upper:.2f}",
                f"{row.samples_per_second:.1f}",
                f"{1e3 * row.cpu_seconds:.2f}",
                f"{row.ratio:.3f}",
                f"{row.ratio_lower:.3f}-{row.ratio_upper:.3f}",
                f"{row.cpu_ratio:.3f}",
            )
        )
    return aligned(table)


def aligned(table: Sequence[Sequence[str]], names: int = 2) -> str:
    """Return rows of text as lines: some names first, then numbers."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            # Names to the left, numbers to the right.
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def write_csv(rows: Sequence[Any], path: PathLike) -> None:
    """Write the rows to a CSV file with the names of their fields as titles.

    Args:
        rows: List of `Latency`, or of another dataclass.
        path: File to write. It only appears, or changes, once it is complete.
    """
    with (
        staged_files(path) as [partial],
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        names = [field.name for field in dataclasses.fields(rows[0])]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)
