"""What every layer that reweights channels by a sigmoid gate shares."""

import keras
from keras import ops

from eca_keras.layers import checks


class ChannelGate(keras.layers.Layer):
    """Base class: `outputs = inputs * sigmoid(logits(mean(inputs)))`.

    The mean is taken over every position of a channel. A subclass defines
    `build_gate(channels)`, which makes its weights, and
    `compute_logits(descriptor)`, which maps the channel means of shape
    `(batch, channels)` to gate logits of the same shape.

    The gate is computed in float32 (float64 under a float64 policy) whatever
    the dtype policy says: a half-precision sum over a large map overflows,
    and `(batch, channels)` numbers cost nothing next to the map itself.

    Args:
        data_format: `"channels_last"`, `"channels_first"` or `None`, which
            stands for `keras.config.image_data_format()`.
        **kwargs: The arguments of `keras.layers.Layer`: `name`, `dtype`,
            `trainable`.

    Input shape: rank 3, 4 or 5.
        - `channels_last`: `(batch, *positions, channels)`
        - `channels_first`: `(batch, channels, *positions)`

        Only the number of channels has to be known beforehand.

    Output shape: the input shape.

    Masking: positions that a mask rules out do not count in the mean, and
    the mask is passed on. The mask has shape `(batch, *leading)`, where
    `leading` are the first one or more position axes.
    """

    def __init__(self, data_format=None, **kwargs):
        data_format = checks.data_format(data_format)
        super().__init__(**kwargs)
        self.data_format = data_format
        self.supports_masking = True

    def build_gate(self, channels):
        raise NotImplementedError

    def compute_logits(self, descriptor):
        raise NotImplementedError

    def build(self, input_shape):
        rank = len(input_shape)
        if rank not in (3, 4, 5):
            raise ValueError(
                f"`{type(self).__name__}` needs an input of rank 3, 4 or 5 "
                "(batch, positions and channels). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        axis = 1 if self.data_format == "channels_first" else rank - 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"`{type(self).__name__}` needs a known number of channels: "
                f"axis {axis} of a {self.data_format} input must not be None. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=rank, axes={axis: channels}
        )
        self._positions = tuple(i for i in range(1, rank) if i != axis)
        self._gate_shape = tuple(
            {0: -1, axis: channels}.get(i, 1) for i in range(rank)
        )
        self._gate_dtype = keras.backend.result_type(
            self.compute_dtype, "float32"
        )
        self.build_gate(channels)

    def call(self, inputs, mask=None):
        descriptor = self._channel_means(inputs, mask)
        gate = ops.sigmoid(self.compute_logits(descriptor))
        gate = ops.cast(ops.reshape(gate, self._gate_shape), inputs.dtype)
        return ops.multiply(inputs, gate)

    def _channel_means(self, inputs, mask):
        values = ops.cast(inputs, self._gate_dtype)
        if mask is None:
            return ops.mean(values, axis=self._positions)
        leading = len(mask.shape) - 1
        masked, whole = self._positions[:leading], self._positions[leading:]
        for axis in range(1, len(inputs.shape)):
            if axis not in masked:
                mask = ops.expand_dims(mask, axis)
        # `where` and not a product: a padded position may hold inf or NaN.
        values = ops.where(mask, values, ops.zeros_like(values))
        if whole:
            values = ops.mean(values, axis=whole, keepdims=True)
        kept = ops.sum(ops.cast(mask, self._gate_dtype), axis=masked)
        total = ops.sum(values, axis=self._positions)
        kept = ops.reshape(kept, (-1, 1))
        # A sample without any position has the descriptor 0, not 0 / 0.
        return ops.divide(total, ops.maximum(kept, 1))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
