"""The loss and the metrics of classification."""

import keras
import numpy as np
import tensorflow as tf


class Classification:
    """Cross-entropy, top-1 and top-5 of a network, as sums over images.

    Sums of several batches, replicas or workers add up to those of all their
    images, whatever the sizes of the batches.

    Args:
        model: `keras.Model` from images to probabilities, which is
            evaluated.
        logits: `keras.Model` of the same layers up to the logits, which is
            trained: its loss is exact for improbable labels too. `None` where
            nothing is trained.
        label_smoothing: Label-smoothing factor.
    """

    names = ("loss", "top1", "top5")

    def __init__(self, model, logits=None, label_smoothing=0.0):
        self.model = model
        self.logits = logits
        self.label_smoothing = label_smoothing

    def train_step(self, images, labels):
        """Return the sums of `names` over a training batch.

        Args:
            images: Pixels, of shape `(batch, height, width, channels)`.
            labels: Integers of shape `(batch,)`, or probabilities of the
                classes of shape `(batch, classes)`.
        """
        logits = self.logits(images, training=True)
        log_probabilities = tf.nn.log_softmax(_precise(logits))
        return self._sums(log_probabilities, labels, self.label_smoothing)

    def evaluate(self, images, labels, weights):
        """Return the sums of `names` over a batch of evaluation.

        Args:
            images, labels: As in `train_step`.
            weights: Shape `(batch,)`: 1 for images, 0 for padding.
        """
        probabilities = _precise(self.model(images, training=False))
        # The smallest number keeps the loss of a probability of 0 finite.
        tiny = np.finfo(probabilities.dtype.as_numpy_dtype).tiny
        log_probabilities = tf.math.log(tf.maximum(probabilities, tiny))
        return self._sums(log_probabilities, labels, 0.0, weights)

    def _sums(self, log_probabilities, labels, smoothing, weights=None):
        classes = log_probabilities.shape[-1]
        wanted = labels
        if labels.shape.rank == 1:
            wanted = tf.one_hot(labels, classes, dtype=log_probabilities.dtype)
        else:
            wanted = tf.cast(labels, log_probabilities.dtype)
            labels = tf.argmax(labels, -1, output_type=tf.int32)
        wanted = wanted * (1 - smoothing) + smoothing / classes
        losses = -tf.reduce_sum(wanted * log_probabilities, -1)
        rank = _rank(log_probabilities, labels)
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
