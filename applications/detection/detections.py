"""From candidates to detections."""

import tensorflow as tf

from eca_keras.applications.detection.nms import batched_nms


def best_detections(
    boxes, scores, labels, *, score_threshold, iou_threshold, count
):
    """Keep the best candidates of every image, at most so many.

    Args:
        boxes: Tensor `(batch, n, 4)`; no corner is below 0.
        scores: Tensor `(batch, n)`.
        labels: Integer tensor `(batch, n)`, the classes of the candidates.
        score_threshold: Detections have a higher score.
        iou_threshold: Of two of a class that overlap more, the better stays.
        count: Number of detections per image.

    Returns:
        Dictionary of `"boxes"` `(batch, count, 4)`, `"scores"` and
        `"labels"` `(batch, count)`, best first, and `"count"` `(batch,)`;
        entries beyond the count hold 0, label -1.
    """
    indices, kept = batched_nms(
        boxes,
        tf.where(scores > score_threshold, scores, 0.0),
        labels,
        iou_threshold=iou_threshold,
        count=count,
    )
    boxes, scores, labels = (
        tf.gather(values, indices, batch_dims=1)
        for values in (boxes, scores, labels)
    )
    return {
        "boxes": tf.where(kept[..., None], boxes, 0.0),
        "scores": tf.where(kept, scores, 0.0),
        "labels": tf.where(kept, labels, -1),
        "count": tf.reduce_sum(tf.cast(kept, tf.int32), axis=1),
    }
