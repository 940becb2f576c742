"""The plots of a training run."""

import csv
import pathlib
import typing

from eca_keras.utils.files import staged_files


class Panel(typing.NamedTuple):
    """One of the plots.

    Attributes:
        title: What is above it.
        lines: Names of the lines by columns of `history.csv`; `None` for a
            line that needs no name.
        factor: What the values are multiplied by.
    """

    title: str
    lines: dict
    factor: float = 1


def write_curves(history, path, panels):
    """Plot metrics over the epochs.

    Args:
        history: Path of a `history.csv`. An empty field leaves out a point.
        path: Path of the PNG to write.
        panels: `Panel`s, from left to right.
    """
    import matplotlib.figure

    with pathlib.Path(history).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A Figure of its own, not pyplot: no display, no global state.
    figure = matplotlib.figure.Figure(figsize=(12, 3.6), layout="constrained")
    for panel, axes in zip(
        panels, figure.subplots(1, len(panels)), strict=True
    ):
        for name, label in panel.lines.items():
            given = [row for row in rows if row[name]]
            axes.plot(
                [float(row["epoch"]) for row in given],
                [panel.factor * float(row[name]) for row in given],
                label=label,
            )
        axes.set_title(panel.title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if any(panel.lines.values()):
            axes.legend()
    with staged_files(path) as [partial]:
        figure.savefig(partial, dpi=120, format="png")
