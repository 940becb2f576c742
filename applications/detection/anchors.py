"""Anchors: the boxes that a detector starts from."""

import numpy as np

from eca_keras.utils.checks import check


def make_anchors(image_size, strides, sizes, ratios=(0.5, 1.0, 2.0)):
    """Make the anchors of an image, level after level.

    Around every position of a feature map lie `len(ratios) * len(sizes)`
    anchors, ratio by ratio. As in torchvision, a level's anchors have whole
    corners and are centred on multiples of its stride.

    Args:
        image_size: Height and width of the image, in pixels.
        strides: Pixels per position, one per level. A level has
            `ceil(side / stride)` positions along a side.
        sizes: Square roots of the areas of the anchors in pixels, one
            sequence per level.
        ratios: Heights of the anchors by their widths.

    Returns:
        List of one float32 array `(positions * anchors, 4)` per level, row by
        row and position by position.

    Raises:
        ValueError: if there is not one sequence of sizes per stride.

    Example:

    >>> [level] = make_anchors((16, 16), [8], [[8, 16]], ratios=[1.0])
    >>> level[:3]
    array([[-4., -4.,  4.,  4.],
           [-8., -8.,  8.,  8.],
           [ 4., -4., 12.,  4.]], dtype=float32)
    """
    rule = "must hold one sequence per stride"
    check("sizes", sizes, len(strides) == len(sizes), rule, strides=strides)
    return [
        _level(image_size, stride, _around_zero(level_sizes, ratios))
        for stride, level_sizes in zip(strides, sizes, strict=True)
    ]


def octave_sizes(size, octaves=3):
    """Sizes `size * 2 ** (i / octaves)`, cut to whole pixels (RetinaNet).

    Example:

    >>> octave_sizes(32)
    (32, 40, 50)
    """
    return tuple(int(size * 2 ** (i / octaves)) for i in range(octaves))


def _around_zero(sizes, ratios):
    # In float32, like torchvision: rounding depends on the last bit.
    sizes = np.asarray(sizes, np.float32)
    heights = np.sqrt(np.asarray(ratios, np.float32))
    widths = 1 / heights
    w = (widths[:, None] * sizes).ravel()
    h = (heights[:, None] * sizes).ravel()
    return np.round(np.stack([-w, -h, w, h], axis=1) / 2)


def _level(image_size, stride, around_zero):
    y, x = (np.arange(-(-side // stride)) * stride for side in image_size)
    x, y = np.meshgrid(x, y)
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (shifts + around_zero).reshape(-1, 4).astype(np.float32)
