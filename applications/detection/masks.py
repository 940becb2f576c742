"""Masks: the targets of regions, and masks back in their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from eca_keras.applications.detection.roi_align import read_regions

# Where in a pixel its value holds, in pixels from its corner. With 0, which
# is what torchvision does, masks move by half a pixel.
PIXEL_CENTER = 0.5


def mask_targets(masks, frames, regions, matches, size):
    """Read the part of every object's mask that lies in a region.

    As in RoIAlign, a target is the mean of four points in its bin.

    Args:
        masks: Tensor `(batch, objects, height, width)`, 0 or 1 (or between),
            of any dtype.
        frames: What the masks cover, boxes `(batch, objects, 4)`
            in pixels of the image.
        regions: Boxes `(batch, n, 4)`.
        matches: Object of every region, int32 `(batch, n)`, not negative.
        size: Number of bins along a side.

    Returns:
        float32 tensor `(batch, n, size, size)`; 0 outside the frames.
    """
    height, width = masks.shape[2:]
    frames = tf.gather(tf.cast(frames, tf.float32), matches, batch_dims=1)
    corner, sides = frames[..., :2], frames[..., 2:] - frames[..., :2]
    pixels = tf.constant([width, height], tf.float32)
    # Not by a frame without area: an entry that holds no object.
    scale = tf.where(sides > 0, pixels / tf.maximum(sides, 1e-6), 0.0)
    inside = [
        (part - corner) * scale - PIXEL_CENTER
        for part in (regions[..., :2], regions[..., 2:])
    ]
    one = tf.ones_like(matches)[..., None]
    read = read_regions(
        tf.reshape(masks, (-1, masks.shape[1] * height * width, 1)),
        tf.concat(inside, axis=-1),
        matches[..., None] * (height * width),
        one * height,
        one * width,
        size,
        margins=(PIXEL_CENTER, 1 - PIXEL_CENTER),
    )
    return read[..., 0]


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Put masks into an image.

    The value of a pixel is that of the mask at the centre of the pixel, by
    bilinear interpolation between the centres of the mask's bins, and 0
    outside the box.

    Args:
        masks: Array `(n, side, side)`, for example probabilities.
        boxes: Array `(n, 4)`: where they lie, corners in pixels.
        size: Height and width of the image.

    Returns:
        float32 array `(n, height, width)`. An object is, as a rule, where
        this is at least 0.5.

    Example:

    >>> paste_masks(np.ones((1, 28, 28)), [[1, 0, 3, 2]], (2, 4))
    array([[[0., 1., 1., 0.],
            [0., 1., 1., 0.]]], dtype=float32)
    """
    height, width = size
    masks = np.asarray(masks, np.float32)
    pasted: np.ndarray = np.zeros((len(masks), height, width), np.float32)
    for image, mask, box in zip(pasted, masks, np.asarray(boxes), strict=True):
        x1, y1, x2, y2 = (float(value) for value in box)
        rows, down = _fractions(y1, y2, len(mask), height)
        columns, across = _fractions(x1, x2, len(mask), width)
        image[rows, columns] = down @ mask @ across.T
    return pasted


def _fractions(low, high, bins, limit):
    """Return the pixels that a box covers along an axis, and what they read.

    Returns:
        `(pixels, fractions)`: a slice, and the fraction of every bin in each of
        these pixels, `(pixels, bins)`.
    """
    first = int(np.clip(np.floor(low), 0, limit))
    last = int(np.clip(np.ceil(high), first, limit))
    centers = np.arange(first, last, dtype=np.float32) + 0.5
    inside = (centers > low) & (centers < high)
    position = (centers - low) * (bins / max(high - low, 1e-6)) - 0.5
    distance = np.abs(np.clip(position, 0, bins - 1)[:, None] - np.arange(bins))
    fractions = np.maximum(1 - distance, 0) * inside[:, None]
    return slice(first, last), fractions.astype(np.float32)
