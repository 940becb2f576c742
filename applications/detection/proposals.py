"""Proposals: boxes in which there may be an object of any class."""

import tensorflow as tf

from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.boxes import BoxCoder
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.boxes import longer_than
from eca_keras.applications.detection.nms import batched_nms

# An anchor is an object from this overlap on, and background below the
# other (Faster R-CNN, Section 3.1.2).
OVERLAPS = {"high": 0.7, "low": 0.3, "low_quality": True}

# At most so many of the anchors that a step draws are objects (Section 3.1.3).
POSITIVES = 0.5

# Where the loss of offsets turns from a square to a line (torchvision).
BETA = 1 / 9

# Of two proposals that overlap more, the better one stays (Faster R-CNN,
# Section 3.3).
IOU_THRESHOLD = 0.7

# Shorter sides, in pixels, are those of boxes that the border of the image
# has cut away (torchvision).
SHORTEST_SIDE = 1e-3


def propose(anchors, objectness, offsets, sizes, count):
    """Choose the best boxes of a region proposal network.

    The best `count` of every level are decoded, clipped and go through NMS,
    level by level; the best `count` of those that are left are the
    proposals. No gradient passes.

    Args:
        anchors: List with an array `(n, 4)` per level.
        objectness: Logits of all anchors, `(batch, anchors)`.
        offsets: Tensor `(batch, anchors, 4)`.
        sizes: Height and width of the images, `(2,)` or `(batch, 2)`.
        count: Number of proposals per image.

    Returns:
        `(boxes, kept)`, `(batch, count, 4)` and `(batch, count)`: the
        proposals, best first, and whether an entry holds one; the others hold
        0.

    References:
        - [Faster R-CNN](https://arxiv.org/abs/1506.01497) (NeurIPS 2015)
        - [Feature Pyramid Networks for Object Detection](
          https://arxiv.org/abs/1612.03144) (CVPR 2017), Section 4.1
    """
    lengths = [len(level) for level in anchors]
    levels = zip(
        anchors,
        tf.split(tf.stop_gradient(objectness), lengths, axis=1),
        tf.split(tf.stop_gradient(offsets), lengths, axis=1),
        strict=True,
    )
    boxes, scores, groups = [], [], []
    for number, level in enumerate(levels):
        level_boxes, logits = _best_of_level(*level, count)
        boxes.append(level_boxes)
        scores.append(tf.sigmoid(logits))
        groups.append(tf.fill(tf.shape(logits), number))
    boxes = clip(tf.concat(boxes, axis=1), sizes)
    scores = tf.concat(scores, axis=1)
    indices, kept = batched_nms(
        boxes,
        tf.where(longer_than(boxes, SHORTEST_SIDE), scores, 0.0),
        tf.concat(groups, axis=1),
        iou_threshold=IOU_THRESHOLD,
        count=count,
    )
    boxes = tf.gather(boxes, indices, batch_dims=1)
    return tf.where(kept[..., None], boxes, 0.0), kept


def _best_of_level(anchors, logits, offsets, count):
    best, indices = tf.math.top_k(logits, min(count, len(anchors)))
    offsets = tf.gather(offsets, indices, batch_dims=1)
    return BoxCoder().decode(offsets, tf.gather(anchors, indices)), best


def proposal_losses(anchors, objects, objectness, offsets, *, samples, seed):
    """Compute the losses of a region proposal network on drawn anchors.

    Args:
        anchors, objectness, offsets: As in `propose`.
        objects: `"boxes"` and `"labels"` of the images' objects.
        samples: Number of anchors per image.
        seed: Of the draw; see `sample`.

    Returns:
        `"objectness_loss"` and `"rpn_box_loss"`, each `(batch,)`.
    """
    anchors = tf.concat(anchors, axis=0)
    matches = matching.match(
        anchors, objects["boxes"], objects["labels"] >= 0, **OVERLAPS
    )
    indices, positive, weights = matching.sample(
        matches, samples, POSITIVES, seed
    )
    positive = tf.cast(positive, tf.float32)
    matches, logits, offsets = (
        tf.gather(values, indices, batch_dims=1)
        for values in (matches, objectness, offsets)
    )
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(positive, logits)
    targets = BoxCoder().encode(
        matching.take(objects["boxes"], matches), tf.gather(anchors, indices)
    )
    distance = losses.smooth_l1(offsets, targets, BETA)
    return {
        "objectness_loss": losses.mean_over(entropy, weights, weights),
        "rpn_box_loss": losses.mean_over(
            tf.reduce_sum(distance, axis=-1), positive, weights
        ),
    }
