"""Rules for the outlines of objects in COCO's files."""

import numpy as np

from eca_keras.training.detection.coco import run_lengths
from eca_keras.training.detection.coco.rules import Broken

# A polygon may lie outside of its image by so many sides of it.
MARGIN = 1


def check_outline(segmentation, size):
    """Read a `segmentation` of COCO's files.

    Args:
        segmentation: As in the file, whatever that is.
        size: Height and width of the image, a list.

    Returns:
        A list of float64 arrays, the polygons, or `bytes`, the run lengths.

    Raises:
        Broken: if it breaks a rule.
    """
    if isinstance(segmentation, dict):
        return _code(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        rule = "`segmentation` must be a list of polygons or run lengths"
        raise Broken(rule, segmentation=segmentation)
    return [_polygon(points, size) for points in segmentation]


def _polygon(points, size):
    values = _numbers(points)
    if values.ndim != 1 or len(values) < 6 or len(values) % 2:
        raise Broken(
            "`segmentation` must have polygons of three points or more, "
            "x, y, x, y, and so on",
            polygon=points,
        )
    places = values.reshape(-1, 2) / size[::-1]
    if not (places.min() >= -MARGIN and places.max() <= 1 + MARGIN):
        raise Broken(
            "`segmentation` must lie in the image, or not further outside "
            "than the image is large",
            polygon=points,
        )
    return values


def _numbers(points):
    """An array of floats, without axes if these are no numbers."""
    try:
        values = np.asarray(points)
    except ValueError:  # lists of several lengths
        return np.array(0.0)
    return (
        values.astype("float64") if values.dtype.kind in "if" else np.array(0.0)
    )


def _code(segmentation, size):
    counts = segmentation.get("counts")
    if segmentation.get("size") != size:
        counts = None
    runs, code = None, None
    if isinstance(counts, str):
        code = counts.encode(errors="surrogatepass")
        runs = run_lengths.lengths(code)
    elif isinstance(counts, list) and all(type(n) is int for n in counts):
        runs = np.array(counts)
    if not run_lengths.cover(runs, size):
        raise Broken(
            "`segmentation` must have run lengths of an object, of the height "
            "and width of the image",
            image=size,
            **{key: segmentation.get(key) for key in ("size", "counts")},
        )
    return code or run_lengths.compress(runs, size)
