"""The global context block of GCNet."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from eca_keras.layers.dense import add_kernel
from eca_keras.layers.dense import project
from eca_keras.layers.feature_map import FeatureMapLayer
from eca_keras.layers.feature_map import maximum
from eca_keras.utils.checks import check_count
from eca_keras.utils.types import DataFormat

LAYER_NORM_EPSILON = 1e-5  # PyTorch's default, as in the released code

# Layer normalization turns one hidden unit to a constant and two to their
# order, and the weights before it would hardly get a gradient.
MIN_HIDDEN = 4

# The score of a position that a mask rules out: its weight is exactly 0.
EXCLUDED = -1e30


@keras.saving.register_keras_serializable("eca_keras")
class GlobalContext(FeatureMapLayer):
    """Global context block (GC).

    Adds to every position the same vector, computed from the whole feature map:
    `outputs = inputs + W2 relu(layer_norm(W1 context))`, where `context` is
    the mean of the positions with weights `softmax(inputs . w)`. With `C`
    channels and `h = max(4, C // reduction)` hidden units the layer has
    `C + 2 * C * h + 2 * h` parameters, the last term being the scale and
    shift of the normalization.

    As in Eq. 5 of the paper there are no other biases; the one on `w`, which
    the released code has, could not change a softmax. Fewer than 4 hidden
    units would leave the normalization nothing to tell apart.

    Args:
        reduction: Positive integer, the number of channels per hidden unit.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape: as in `ECA`.

    Masking: supported. Positions that a mask of shape `(batch, *leading)`
    rules out do not count in the context; the mask is passed on.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.random.normal(size=(2, 14, 14, 256)).astype("float32")
    >>> layer = GlobalContext(reduction=16)
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 8480)

    Reference: [GCNet: Non-local Networks Meet Squeeze-Excitation Networks
    and Beyond](https://arxiv.org/abs/1904.11492) (ICCV workshop 2019),
    Eq. 5.
    """

    def __init__(
        self, reduction: int = 16, data_format: DataFormat = None, **kwargs: Any
    ) -> None:
        check_count("reduction", reduction)
        super().__init__(data_format=data_format, **kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        super().build(input_shape)
        channels = self._channels
        hidden = max(MIN_HIDDEN, channels // self.reduction)
        self.score_kernel = add_kernel(self, "score_kernel", (channels, 1))
        self.reduce_kernel = add_kernel(
            self, "reduce_kernel", (channels, hidden)
        )
        self.gamma = self._add_vector("gamma", hidden, "ones")
        self.beta = self._add_vector("beta", hidden, "zeros")
        self.expand_kernel = add_kernel(
            self, "expand_kernel", (hidden, channels)
        )

    def _add_vector(self, name, size, initializer):
        return self.add_weight(
            name=name, shape=(size,), initializer=initializer, autocast=False
        )

    def call(self, inputs, mask=None):
        context = self._context(inputs, mask)
        hidden = self._normalize(project(context, self.reduce_kernel))
        added = project(ops.relu(hidden), self.expand_kernel)
        added = ops.cast(ops.reshape(added, self._gate_shape), inputs.dtype)
        return inputs + added  # ops.add fails on an empty batch

    def _context(self, inputs, mask):
        """Return the weighted mean of the positions, `(batch, channels)`."""
        rows = self._flatten(self._masked(inputs, mask), self._channels)
        scores = project(rows, ops.expand_dims(self.score_kernel, axis=0))
        if mask is not None:
            one = ops.take(inputs, [0], axis=self._channel_axis)
            excluded = self._masked(ops.zeros_like(one), mask, fill=EXCLUDED)
            scores = scores + self._flatten(excluded, 1)
        # Not ops.softmax, which warns where there is a single position.
        scores = scores - maximum(scores, axis=1, keepdims=True)
        weights = ops.transpose(ops.exp(scores), (0, 2, 1))
        total = ops.squeeze(ops.matmul(weights, rows), axis=1)
        return ops.divide(total, ops.sum(weights, axis=-1))

    def _flatten(self, values, channels):
        """Reshape a feature map to `(batch, positions, channels)`."""
        shape = ops.shape(values)
        positions = math.prod(shape[axis] for axis in self._positions)
        if self.data_format == "channels_last":
            return ops.reshape(values, (-1, positions, channels))
        values = ops.reshape(values, (-1, channels, positions))
        return ops.transpose(values, (0, 2, 1))

    def _normalize(self, x):
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(variance + LAYER_NORM_EPSILON)
        return x * ops.cast(self.gamma, x.dtype) + ops.cast(self.beta, x.dtype)

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
