"""Pictures by matplotlib, without pyplot: no display, no global state."""

import os

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.utils.files import staged_files

DPI = 150  # pixels per inch of a picture that has pixels


def new_figure(size):
    """Return an empty figure.

    Args:
        size: Width and height in inches.
    """
    require("train", "A picture", "matplotlib")
    from matplotlib.figure import Figure

    return Figure(size, layout="constrained")


def check_picture(path):
    """Refuse the name of a file that no picture can have.

    Raises:
        InputError: if it does not end as pictures do.
    """
    require("train", "A picture", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    suffix = os.path.splitext(path)[1].lstrip(".").lower()
    if suffix not in FigureCanvasAgg.get_supported_filetypes():
        raise InputError(
            "`picture` must end in .png, .svg or .pdf. "
            f"Received: picture={os.fspath(path)}"
        )


def save_figure(figure, path):
    """Write a figure.

    Args:
        figure: A matplotlib figure.
        path: The picture. It only appears, or changes, once it is complete.
    """
    check_picture(path)
    with staged_files(path) as [file]:
        figure.savefig(file, dpi=DPI)
