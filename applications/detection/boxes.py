"""Box arithmetic: corners `(x1, y1, x2, y2)` in pixels, float32.

The geometry is that of torchvision and mmdet 2: continuous coordinates, the
width of a box is `x2 - x1`.
"""

import math

import numpy as np
import tensorflow as tf

# A predicted side is at most so many times that of its anchor: exp(delta)
# would overflow (torchvision, mmdet, Detectron).
MAX_LOG_RATIO = math.log(1000 / 16)


def area(boxes):
    """Area of boxes `(..., 4)`; 0 where a corner is on the wrong side."""
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def pairwise_iou(a, b):
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: Tensor `(..., n, 4)`.
        b: Tensor `(..., m, 4)` with the same leading axes, or some that
            broadcast.

    Returns:
        Tensor `(..., n, m)`; 0 where both boxes are empty.

    Example:

    >>> box = tf.constant([[0.0, 0.0, 10.0, 10.0]])
    >>> pairwise_iou(box, tf.constant([[0.0, 5.0, 10.0, 10.0]])).numpy()
    array([[0.5]], dtype=float32)
    """
    a, b = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
    rows, columns = a[..., :, None, :], b[..., None, :, :]
    low = tf.maximum(rows[..., :2], columns[..., :2])
    high = tf.minimum(rows[..., 2:], columns[..., 2:])
    sides = tf.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = area(rows) + area(columns) - common
    return tf.math.divide_no_nan(common, union)


def clip(boxes, sizes):
    """Move the corners of boxes into their images.

    Args:
        boxes: Tensor `(batch, n, 4)`.
        sizes: Height and width of the images in pixels: `(2,)`, or
            `(batch, 2)` for one size each.
    """
    sizes = tf.cast(sizes, tf.float32)
    height, width = sizes[..., 0], sizes[..., 1]
    limits = tf.stack([width, height, width, height], axis=-1)
    if limits.shape.rank == 2:
        limits = limits[:, None]
    return tf.clip_by_value(tf.cast(boxes, tf.float32), 0.0, limits)


def longer_than(boxes, length):
    """Tell whether both sides of boxes `(..., 4)` have at least this length."""
    return tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= length, axis=-1)


class BoxCoder:
    """Turns boxes into offsets from anchors and back.

    With centre `(x, y)` and sides `(w, h)` of the box and `(xa, ya)`,
    `(wa, ha)` of its anchor, the offsets are `(x - xa) / wa`,
    `(y - ya) / ha`, `log(w / wa)` and `log(h / ha)`, times the weights
    (R-CNN, Appendix C). The anchor's sides must be positive.

    Args:
        weights: Four numbers that the offsets are multiplied by, so that
            losses on them are of equal size: `(1, 1, 1, 1)` in RetinaNet,
            `(10, 10, 5, 5)` in the box head of Faster R-CNN.

    Example:

    >>> anchors = tf.constant([[0.0, 0.0, 10.0, 20.0]])
    >>> offsets = BoxCoder().encode(anchors + 5.0, anchors)
    >>> offsets.numpy()
    array([[0.5 , 0.25, 0.  , 0.  ]], dtype=float32)
    >>> BoxCoder().decode(offsets, anchors).numpy()
    array([[ 5.,  5., 15., 25.]], dtype=float32)

    Reference: [Rich feature hierarchies for accurate object detection and
    semantic segmentation](https://arxiv.org/abs/1311.2524) (CVPR 2014).
    """

    def __init__(self, weights=(1.0, 1.0, 1.0, 1.0)):
        self.weights = np.asarray(weights, np.float32)

    def encode(self, boxes, anchors):
        """Map boxes `(..., 4)` to offsets. A box without area has no log:
        its sides count as those of the smallest box `decode` can return."""
        centers, sides = _centers_and_sides(boxes)
        anchor_centers, anchor_sides = _centers_and_sides(anchors)
        ratios = tf.maximum(sides / anchor_sides, math.exp(-MAX_LOG_RATIO))
        offsets = tf.concat(
            [(centers - anchor_centers) / anchor_sides, tf.math.log(ratios)],
            axis=-1,
        )
        return offsets * self.weights

    def decode(self, offsets, anchors):
        """Map offsets `(..., 4)` to boxes."""
        offsets = tf.cast(offsets, tf.float32) / self.weights
        anchor_centers, anchor_sides = _centers_and_sides(anchors)
        centers = offsets[..., :2] * anchor_sides + anchor_centers
        halves = (
            0.5
            * anchor_sides
            * tf.exp(tf.minimum(offsets[..., 2:], MAX_LOG_RATIO))
        )
        return tf.concat([centers - halves, centers + halves], axis=-1)


def _centers_and_sides(boxes):
    boxes = tf.cast(boxes, tf.float32)
    low, high = boxes[..., :2], boxes[..., 2:]
    return low + 0.5 * (high - low), high - low
