"""NMS (non-maximum suppression) for a batch of images."""

import tensorflow as tf


def batched_nms(boxes, scores, groups, *, iou_threshold, count):
    """Keep the best of the boxes that overlap, group by group.

    Boxes of different groups (classes, pyramid levels) do not suppress each
    other. Works inside XLA; TFLite and ONNX have what it needs.

    Args:
        boxes: Tensor `(batch, n, 4)`; no corner is below 0.
        scores: Tensor `(batch, n)`. Those that are not positive mark
            padding, which is never kept.
        groups: Integer tensor `(batch, n)`.
        iou_threshold: A box goes if its intersection over union with a
            better one exceeds this.
        count: Number of boxes to keep per image.

    Returns:
        `(indices, kept)`, each `(batch, count)`: indices of the boxes kept,
        best first, and whether an entry holds one; the others hold index 0.
    """
    boxes = tf.cast(boxes, tf.float32)
    scores = tf.cast(scores, tf.float32)
    # Far apart, groups cannot overlap. One step more than the group's number:
    # the operation below takes a box at the origin for padding.
    step = tf.reduce_max(boxes, axis=(1, 2), keepdims=True) + 1.0
    shifted = boxes + step * (tf.cast(groups, tf.float32)[..., None] + 1.0)
    indices, number = tf.image.non_max_suppression_padded(
        shifted,
        scores,
        max_output_size=count,
        iou_threshold=iou_threshold,
        score_threshold=0.0,
        pad_to_max_output_size=True,
    )
    kept = tf.range(count) < number[..., None]
    return tf.where(kept, indices, 0), kept
