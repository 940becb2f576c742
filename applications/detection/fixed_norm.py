"""Frozen BatchNorm."""

import keras


@keras.saving.register_keras_serializable("eca_keras")
class FixedBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization that normalizes with its moving averages, always.

    In training, too, the averages are read and not written, while `gamma`
    and `beta` train: detectors train on batches of one or two images, whose
    mean and variance are noise. `training=False` in the graph of a functional
    model would not do: `fit` overrides it. `trainable=False` would also stop
    gamma and beta.

    Arguments, weights and shapes are those of
    `keras.layers.BatchNormalization`.

    Example:

    >>> import numpy as np
    >>> layer = FixedBatchNormalization(epsilon=0.0)
    >>> np.asarray(layer(np.full((1, 2), 3.0), training=True))
    array([[3., 3.]], dtype=float32)
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)
