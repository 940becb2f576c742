"""What is learned, and measured, in classification."""

import keras
import numpy as np
import tensorflow as tf


class Classification:
    """Cross-entropy, top-1 and top-5 of a network, as sums over images.

    Sums of several batches, replicas or hosts add up to those of all their
    images, whatever the sizes of the batches.

    Args:
        model: `keras.Model` from images to probabilities, which is measured.
        logits: `keras.Model` of the same layers up to the logits, which
            learns: its loss is exact for improbable labels too. `None` where
            nothing is learned.
        label_smoothing: Share of the label that all classes divide.
    """

    names = ("loss", "top1", "top5")

    def __init__(self, model, logits=None, label_smoothing=0.0):
        self.model = model
        self.logits = logits
        self.label_smoothing = label_smoothing

    def learn(self, images, labels):
        """Returns the sums of `names` over a training batch.

        Args:
            images: Pixels, of shape `(batch, height, width, channels)`.
            labels: Integers of shape `(batch,)`, or shares of the classes of
                shape `(batch, classes)`.
        """
        logits = self.logits(images, training=True)
        log_shares = tf.nn.log_softmax(_precise(logits))
        return self._sums(log_shares, labels, self.label_smoothing)

    def measure(self, images, labels, weights):
        """Returns the sums of `names` over a batch of evaluation.

        Args:
            images, labels: As in `learn`.
            weights: Shape `(batch,)`: 1 for images, 0 for filling.
        """
        shares = _precise(self.model(images, training=False))
        # The smallest number keeps the loss of a share of 0 finite.
        tiny = np.finfo(shares.dtype.as_numpy_dtype).tiny
        log_shares = tf.math.log(tf.maximum(shares, tiny))
        return self._sums(log_shares, labels, 0.0, weights)

    def _sums(self, log_shares, labels, smoothing, weights=None):
        classes = log_shares.shape[-1]
        wanted = labels
        if labels.shape.rank == 1:
            wanted = tf.one_hot(labels, classes, dtype=log_shares.dtype)
        else:
            wanted = tf.cast(labels, log_shares.dtype)
            labels = tf.argmax(labels, -1, output_type=tf.int32)
        wanted = wanted * (1 - smoothing) + smoothing / classes
        losses = -tf.reduce_sum(wanted * log_shares, -1)
        rank = _rank(log_shares, labels)
        values = {"loss": losses, "top1": rank < 1, "top5": rank < 5}
        if weights is None:
            weights = tf.ones_like(losses)
        return {
            name: tf.reduce_sum(
                tf.cast(value, losses.dtype) * tf.cast(weights, losses.dtype)
            )
            for name, value in values.items()
        }


def _precise(x):
    return tf.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _rank(scores, labels):
    """Number of classes before the label's; of equal ones the first wins.

    Not-a-number comes before everything: it never counts as right.
    """
    classes = tf.range(scores.shape[-1], dtype=labels.dtype)
    own = tf.gather(scores, labels, axis=-1, batch_dims=1)[:, None]
    before = ~(scores <= own) | ((scores == own) & (classes < labels[:, None]))
    return tf.reduce_sum(tf.cast(before, tf.int32), -1)
