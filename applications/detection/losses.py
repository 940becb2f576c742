"""Losses of the detectors, in float32."""

import tensorflow as tf


def focal_loss(logits, targets, alpha=0.25, gamma=2.0):
    """Sigmoid cross-entropy that forgets what is easy.

    Args:
        logits: Tensor of any shape.
        targets: 0 or 1, of the same shape.
        alpha: Weight of the 1s; the 0s have `1 - alpha`.
        gamma: Not negative. An element whose target has probability `p`
            counts `(1 - p) ** gamma` times its cross-entropy.

    Returns:
        float32 tensor of the same shape.

    Reference: [Focal Loss for Dense Object Detection](
    https://arxiv.org/abs/1708.02002) (ICCV 2017), Eq. 5.
    """
    logits = tf.cast(logits, tf.float32)
    targets = tf.cast(targets, tf.float32)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    probability = tf.sigmoid(logits)
    missed = targets * (1 - probability) + (1 - targets) * probability
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    return weight * missed**gamma * entropy


def smooth_l1(predictions, targets, beta=0.0):
    """Absolute difference, quadratic below `beta`; L1 loss for `beta=0`.

    `0.5 * d ** 2 / beta` where the difference `d` is below `beta`, and
    `d - 0.5 * beta` from there on.
    """
    difference = tf.abs(
        tf.cast(predictions, tf.float32) - tf.cast(targets, tf.float32)
    )
    if not beta:
        return difference
    return tf.where(
        difference < beta,
        0.5 * difference**2 / beta,
        difference - 0.5 * beta,
    )


def mean_over(values, weights, counted):
    """Mean over boxes of all images of a step, as a part of every image.

    Args:
        values: Tensor `(batch, boxes)`.
        weights: What they are multiplied by, of the same shape.
        counted: Which boxes the sum is divided by the number of: 1 or 0, of
            the same shape.

    Returns:
        float32 tensor `(batch,)`, whose mean over the images is that over
        all counted boxes, whichever image they are in.
    """
    sums = tf.reduce_sum(values * weights, axis=1)
    images = tf.cast(tf.shape(sums)[0], tf.float32)
    number = tf.maximum(tf.reduce_sum(counted), 1.0)
    return sums * images / number
