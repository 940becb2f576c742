"""Which anchor or proposal is matched with which object."""

import tensorflow as tf

from eca_keras.applications.detection.boxes import pairwise_iou

BACKGROUND = -1  # overlaps no object enough
IGNORED = -2  # overlaps one too much for background, too little for an object


def match(boxes, objects, valid, *, high, low, low_quality=False):
    """Assign an object to every box, by their intersection over union.

    A box takes the object it overlaps most (the first, if several tie) if
    that is at least `high`, is background below `low` and is ignored in
    between. With `low_quality`, the boxes that no other box exceeds on some
    object (all that tie) take their object however little they overlap; a
    box takes the object *it* overlaps most, even if it is the best box of
    another one. An object that overlaps no box at all has no best box.

    Args:
        boxes: Tensor `(n, 4)` or `(batch, n, 4)`.
        objects: Tensor `(batch, m, 4)`.
        valid: Boolean tensor `(batch, m)`: which objects are not padding.
        high, low: Numbers, `low <= high`.
        low_quality: Boolean.

    Returns:
        int32 tensor `(batch, n)`: index of an object, `BACKGROUND` or
        `IGNORED`.

    Reference: torchvision's `Matcher`.
    """
    # (batch, n, m); -1 loses against every overlap.
    overlaps = tf.where(valid[:, None], pairwise_iou(boxes, objects), -1.0)
    best = tf.reduce_max(overlaps, axis=-1)
    nearest = tf.argmax(overlaps, axis=-1, output_type=tf.int32)
    matches = tf.where(best >= high, nearest, IGNORED)
    matches = tf.where(best < low, BACKGROUND, matches)
    if low_quality:
        record = tf.reduce_max(overlaps, axis=1, keepdims=True)
        holds = tf.equal(overlaps, record) & (overlaps > 0)
        matches = tf.where(tf.reduce_any(holds, axis=-1), nearest, matches)
    return matches


def take(values, matches):
    """Values of the matched objects; those of object 0 for the unmatched.

    Args:
        values: Tensor `(batch, m, ...)`.
        matches: What `match` returns.
    """
    return tf.gather(values, tf.maximum(matches, 0), batch_dims=1)


def sample(matches, count, positive_fraction, seed=None):
    """Draw a fixed number of positive and background boxes per image.

    Positives are drawn first, at most `positive_fraction` of `count`;
    background fills the rest. Where there are too few of both, entries stay
    empty, with the weight 0. If all fit, all are taken, whatever the seed.

    Args:
        matches: What `match` returns, `(batch, n)`.
        count: Number of entries per image; `n` if that is less.
        positive_fraction: Number in [0, 1].
        seed: Integer tensor `(2,)`: the draw is a function of it. `None`
            takes the first boxes in their order, without a draw.

    Returns:
        `(indices, positive, weights)`, each `(batch, count)`: the boxes
        drawn, positives first; whether an entry holds a positive; 1.0 where an
        entry is taken and 0.0 where it is empty. The positives lie in the
        first `int(count * positive_fraction)` entries.
    """
    total = matches.shape[1]
    limit = min(int(count * positive_fraction), total)
    count = min(count, total)
    if seed is None:
        order = -(tf.range(total, dtype=tf.float32) + 1.0) / total
        keys = tf.broadcast_to(order, tf.shape(matches))
    else:
        # By name: XLA would take another generator, and draw otherwise.
        keys = (
            tf.random.stateless_uniform(tf.shape(matches), seed, alg="philox")
            - 1.0
        )
    # Keys lie in [-1, 0): positives end in [1, 2), background in [0, 1).
    positive, positive_indices = _best(keys, matches >= 0, limit)
    background, indices = _best(keys, tf.equal(matches, BACKGROUND), count)
    values, order = tf.math.top_k(
        tf.concat([positive + 2.0, background + 1.0], axis=1), count
    )
    indices = tf.concat([positive_indices, indices], axis=1)
    return (
        tf.gather(indices, order, batch_dims=1),
        values >= 1.0,
        tf.cast(values >= 0.0, tf.float32),
    )


def _best(keys, member, count):
    """Return the members with the greatest keys; -9 where there are no more."""
    return tf.math.top_k(tf.where(member, keys, -9.0), count)
