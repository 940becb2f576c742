"""Figures by matplotlib, without pyplot: no display, no global state."""

import os

from eca_keras.errors import require
from eca_keras.utils.checks import refusal
from eca_keras.utils.files import staged_files

DPI = 150  # pixels per inch, where a figure has pixels


def new_figure(size):
    """Return an empty figure.

    Args:
        size: Width and height in inches.
    """
    require("train", "A figure", "matplotlib")
    from matplotlib.figure import Figure

    return Figure(size, layout="constrained")


def check_figure(path):
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


def save_figure(figure, path):
    """Write a figure.

    Args:
        figure: A matplotlib figure.
        path: The file. It only appears, or changes, once it is complete.
    """
    check_figure(path)
    with staged_files(path) as [file]:
        figure.savefig(file, dpi=DPI)
