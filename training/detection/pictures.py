"""Detections drawn on their images."""

import math

import numpy as np

from eca_keras.utils.figures import DPI
from eca_keras.utils.figures import new_figure
from eca_keras.utils.figures import save_figure

# Smaller images are enlarged, by a whole number, so that words can be read.
LEAST_SIDE = 600  # pixels, of the longer side

POINTS = 8  # height of letters
SHARE = 0.45  # of its colour in the pixels of a mask

# Matplotlib's colours for categories, of which the neighbours differ most.
PALETTE = "tab10"


def write_picture(path, image, found, names):
    """Draw boxes, masks, classes and scores on an image.

    Args:
        path: The PNG to write. It appears, or changes, once it is complete.
        image: uint8 array `(height, width, 3)`.
        found: List of `results.Found` in it, the best first.
        names: Names of the classes.
    """
    height, width = image.shape[:2]
    scale = max(1, math.ceil(LEAST_SIDE / max(height, width)))
    figure = new_figure((scale * width / DPI, scale * height / DPI))
    figure.set_layout_engine("none")  # the image fills the picture
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(
        _with_masks(image, found),
        extent=(0, width, height, 0),  # corners of pixels, as boxes have them
        interpolation="nearest",
    )
    # The best one last, so that it lies on top.
    for one in reversed(found):
        _draw_box(axes, one, names[one.label], (height, width))
    save_figure(figure, path)


def _color(label):
    import matplotlib

    colors = matplotlib.colormaps[PALETTE].colors
    return colors[label % len(colors)]


def _with_masks(image, found):
    pixels = image / 255.0
    for one in reversed(found):
        if one.mask is not None:
            color = np.array(_color(one.label))
            inside = pixels[one.mask]
            pixels[one.mask] = (1 - SHARE) * inside + SHARE * color
    return pixels


def _draw_box(axes, one, name, size):
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = one.box
    color = _color(one.label)
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, lw=1.5)
    )
    # Above the box, or in it where that would be outside of the image; at the
    # side of the box that is further from the image's.
    height, width = size
    right = x1 + x2 > width
    above = y1 > height / 20
    axes.text(
        x2 if right else x1,
        y1,
        f"{name} {one.score:.0%}",
        color="white",
        fontsize=POINTS,
        ha="right" if right else "left",
        va="bottom" if above else "top",
        parse_math=False,
        bbox={"facecolor": color, "edgecolor": "none", "pad": 1.0},
    )
