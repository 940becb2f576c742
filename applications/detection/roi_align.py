"""RoIAlign: features of a fixed size for boxes of any size."""

import numpy as np
import tensorflow as tf

# A box of this size, in pixels, is read from this level of the pyramid: the
# size of ImageNet's images and the stage they end in (FPN, Eq. 1).
CANONICAL_SIZE = 224
CANONICAL_LEVEL = 4


def assign_levels(boxes, lowest, highest):
    """Level of the pyramid that each box is read from (FPN, Eq. 1).

    `floor(4 + log2(sqrt(area) / 224))`, between `lowest` and `highest`.

    Args:
        boxes: Tensor `(..., 4)` in pixels.
        lowest, highest: Numbers of the first and the last level.

    Returns:
        int32 tensor `(...)`.

    Reference: [Feature Pyramid Networks for Object Detection](
    https://arxiv.org/abs/1612.03144) (CVPR 2017).
    """
    boxes = tf.cast(boxes, tf.float32)
    sides = boxes[..., 2:] - boxes[..., :2]
    size = tf.sqrt(tf.maximum(sides[..., 0] * sides[..., 1], 0))
    # Empty boxes go to the lowest level; their logarithm is never taken. The
    # margin, torchvision's, keeps exact powers of 2 on the upper level.
    octaves = tf.math.log(tf.maximum(size, 1e-3) / CANONICAL_SIZE) / np.log(2)
    level = tf.floor(CANONICAL_LEVEL + octaves + 1e-6)
    return tf.cast(tf.clip_by_value(level, lowest, highest), tf.int32)


def roi_align(features, boxes, size, *, lowest=2, sampling_ratio=2):
    """Read every box from its level of the pyramid.

    A box is cut into `size * size` bins. A bin is the mean of
    `sampling_ratio ** 2` points, regularly spaced and bilinearly
    interpolated. What lies more than one position outside the feature map is 0.

    One loop over the points and their neighbours gathers from the flattened
    pyramid: no level is computed for boxes that do not belong to it.

    Args:
        features: Feature maps `(batch, h, w, channels)` with a static size;
            level `n` has `2 ** n` pixels per position.
        boxes: Tensor `(batch, boxes, 4)` in pixels.
        size: Number of bins along a side.
        lowest: Level of the first feature map.
        sampling_ratio: Points along a side of a bin.

    Returns:
        Tensor `(batch, boxes, size, size, channels)` of the features' dtype.

    Reference: [Mask R-CNN](https://arxiv.org/abs/1703.06870) (ICCV 2017),
    Section 3; torchvision's `MultiScaleRoIAlign`.
    """
    boxes = tf.cast(boxes, tf.float32)
    shapes = np.array([feature.shape[1:3] for feature in features])
    # Of each level: where it begins in the flattened pyramid, its size.
    starts = np.cumsum([0, *shapes.prod(axis=1)[:-1]])
    strides = 2.0 ** (lowest + np.arange(len(features)))
    level = assign_levels(boxes, lowest, lowest + len(features) - 1) - lowest

    def of_level(values, dtype):
        return tf.gather(tf.constant(values, dtype), level)[..., None]

    height, width = (of_level(shapes[:, i], tf.int32) for i in (0, 1))
    start = of_level(starts, tf.int32)
    flat = tf.concat([_flatten(feature) for feature in features], axis=1)
    return read_regions(
        flat,
        boxes / of_level(strides, tf.float32),
        start,
        height,
        width,
        size,
        sampling_ratio,
    )


def read_regions(
    flat,
    boxes,
    start,
    height,
    width,
    size,
    sampling_ratio=2,
    *,
    margins=(1.0, 1.0),
):
    """Read every box from its feature map, one of several, end to end.

    Args:
        flat: The feature maps of each image, `(batch, positions, channels)`.
        boxes: Tensor `(batch, boxes, 4)` in positions of their feature maps.
        start: Where the feature map of a box begins in `flat`,
            `(batch, boxes, 1)`.
        height, width: Size of that feature map, `(batch, boxes, 1)`.
        size, sampling_ratio: As in `roi_align`.
        margins: A point so far before the first position of a feature map or
            beyond the last has the value of its border; further away, 0.

    Returns:
        Tensor `(batch, boxes, size, size, channels)`, of the features' dtype,
        or float32 if that is no floating one.
    """
    dtype = flat.dtype if flat.dtype.is_floating else tf.float32
    grid = (size, sampling_ratio, margins)
    rows = _points(boxes[..., 1], boxes[..., 3], height, *grid)
    columns = _points(boxes[..., 0], boxes[..., 2], width, *grid)
    total = 0.0
    for row, row_weight in rows:
        for column, column_weight in columns:
            index = (row * width + start)[..., :, None] + column[..., None, :]
            weight = row_weight[..., :, None] * column_weight[..., None, :]
            values = tf.cast(tf.gather(flat, index, batch_dims=1), dtype)
            total += values * tf.cast(weight, dtype)[..., None]
    return total


def _flatten(feature):
    _, height, width, channels = feature.shape
    return tf.reshape(feature, (-1, height * width, channels))


def _points(low, high, limit, size, sampling_ratio, margins):
    """Neighbours of the points along one axis, and their fractions of the mean.

    Args:
        low, high: Sides of the boxes in positions, `(batch, boxes)`.
        limit: Positions of the features along this axis, `(batch, boxes, 1)`.

    Returns:
        List of `2 * sampling_ratio` pairs `(positions, weights)`, each
        `(batch, boxes, size)`.
    """
    # A box is at least one position wide, as in the paper's code.
    step = tf.maximum(high - low, 1.0)[..., None] / size
    last = tf.cast(limit - 1, tf.float32)
    pairs = []
    for point in range(sampling_ratio):
        bins = np.arange(size, dtype=np.float32)
        offset = bins + np.float32((point + 0.5) / sampling_ratio)
        point = low[..., None] + step * offset
        inside = (point >= -margins[0]) & (point <= last + margins[1])
        weight = tf.where(inside, 1.0 / sampling_ratio, 0.0)
        point = tf.clip_by_value(point, 0.0, last)
        before = tf.floor(point)
        after = tf.minimum(before + 1, last)
        fraction = point - before
        pairs.append((tf.cast(before, tf.int32), weight * (1 - fraction)))
        pairs.append((tf.cast(after, tf.int32), weight * fraction))
    return pairs
