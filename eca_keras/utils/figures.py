"""Figures by matplotlib, without pyplot: no display, no global state."""

from __future__ import annotations

import os
from typing import Any

from eca_keras.errors import require
from eca_keras.utils.checks import refusal
from eca_keras.utils.files import staged_files
from eca_keras.utils.types import PathLike

DPI = 150  # pixels per inch, where a figure has pixels


def new_figure(size: tuple[float, float]) -> Any:
    """Return an empty figure.

    Args:
        size: Width and height in inches.
    """
    require("train", "A figure", "matplotlib")
    from matplotlib.figure import Figure

    return Figure(size, layout="constrained")


def check_figure(path: PathLike) -> None:
    """Refuse the name of a file that no figure can have.

    Raises:
        InputError: if it does not end as figures do.
    """
    require("train", "A figure", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    suffix = os.path.splitext(path)[1].lstrip(".").lower()
    if suffix not in FigureCanvasAgg.get_supported_filetypes():
        path = os.fspath(path)
        raise refusal("figure", path, "must end in .png, .svg or .pdf")


def save_figure(figure: Any, path: PathLike) -> None:
    """Write a figure.

    Args:
        figure: A matplotlib figure.
        path: The file. It only appears, or changes, once it is complete.
    """
    check_figure(path)
    with staged_files(path) as [file]:
        figure.savefig(file, dpi=DPI)
