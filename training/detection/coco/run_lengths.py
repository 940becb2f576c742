"""Masks as the lengths of runs of 0 and 1 in turn, column by column.

COCO writes them as a list, or compressed in a string: of every length from
the fourth on the difference to the last but one, five bits a character.
"""

import numpy as np

# The characters stand for 0 to 63; 32 marks that another one follows, and 16
# in the last one a negative number.
_ZERO, _MORE, _SIGN, _BITS = 48, 32, 16, 5

# Longer numbers than of 35 bits are no lengths.
_MOST = 7


def lengths(code):
    """Read a compressed string.

    Args:
        code: `bytes`.

    Returns:
        int64 array, or `None` if it is no such string.

    Example:

    >>> lengths(b"52203").tolist()
    [5, 2, 2, 2, 5]
    """
    digits = np.frombuffer(code, "uint8").astype("int64") - _ZERO
    if not len(digits) or digits.min() < 0 or digits.max() > 63:
        return None
    last = np.flatnonzero(digits < _MORE)
    sizes = np.diff(last, prepend=-1)
    if digits[-1] >= _MORE or sizes.max() > _MOST:
        return None
    first = last - sizes + 1
    places = np.arange(len(digits)) - np.repeat(first, sizes)
    parts = (digits & (_MORE - 1)) << (_BITS * places)
    values = np.add.reduceat(parts, first)
    negative = (digits[last] & _SIGN) > 0
    values[negative] -= 1 << (_BITS * sizes[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def cover(runs, size):
    """Whether lengths are those of an image, with something in it.

    Args:
        runs: Integer array, or `None`.
        size: Height and width.
    """
    pixels = size[0] * size[1]
    if runs is None or not len(runs):
        return False
    if runs.min() < 0 or runs.max() > pixels:
        return False  # a sum may overflow
    return runs.sum() == pixels and runs[1::2].sum() > 0


def compress(runs, size):
    """Make the string, `bytes`, of the lengths of an image."""
    from pycocotools import mask as coco_masks

    rle = {"size": list(size), "counts": np.asarray(runs).tolist()}
    return coco_masks.frPyObjects(rle, *size)["counts"]
