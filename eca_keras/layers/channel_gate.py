"""What every layer that reweights channels by a sigmoid gate shares."""

from keras import ops

from eca_keras.layers.feature_map import FeatureMapLayer


class ChannelGate(FeatureMapLayer):
    """Base class: `outputs = inputs * sigmoid(logits(mean(inputs)))`.

    The mean is taken over every position of a channel. A subclass defines
    `build_gate(channels)`, which makes its weights, and
    `compute_logits(descriptor)`, which maps the channel means of shape
    `(batch, channels)` to gate logits of the same shape. Arguments, shapes,
    precision and masking are those of `FeatureMapLayer`.
    """

    def build_gate(self, channels):
        raise NotImplementedError

    def compute_logits(self, descriptor):
        raise NotImplementedError

    def build(self, input_shape):
        super().build(input_shape)
        self.build_gate(self._channels)

    def call(self, inputs, mask=None):
        gate = ops.sigmoid(self._map_logits(inputs, mask))
        gate = ops.cast(ops.reshape(gate, self._gate_shape), inputs.dtype)
        return ops.multiply(inputs, gate)

    def _map_logits(self, inputs, mask):
        return self.compute_logits(self._channel_means(inputs, mask))

    def _channel_means(self, inputs, mask):
        values = self._masked(inputs, mask)
        if mask is None:
            return ops.mean(values, axis=self._positions)
        leading = len(mask.shape) - 1
        masked, whole = self._positions[:leading], self._positions[leading:]
        if whole:
            values = ops.mean(values, axis=whole, keepdims=True)
        total = ops.sum(values, axis=self._positions)
        kept = ops.cast(self._expand_mask(mask), self._gate_dtype)
        kept = ops.reshape(ops.sum(kept, axis=masked), (-1, 1))
        # A sample without any position has the descriptor 0, not 0 / 0.
        return ops.divide(total, ops.maximum(kept, 1))
