"""CBAM's spatial gate, and a channel gate followed by it."""

import keras
from keras import ops

from eca_keras.layers.dense import add_kernel
from eca_keras.layers.feature_map import FeatureMapLayer
from eca_keras.layers.feature_map import maximum
from eca_keras.utils import checks


@keras.saving.register_keras_serializable("eca_keras")
class SpatialGate(FeatureMapLayer):
    """Scales every position by a gate computed from its neighbourhood.

    `outputs = inputs * sigmoid(conv([mean(inputs), max(inputs)]))`, where the
    mean and maximum are taken over the channels (Eq. 3 of the CBAM paper).
    With `n` position axes the layer has `2 * kernel_size^n` weights.

    The released code puts batch normalization behind the convolution. Eq. 3
    has none, and neither has this layer: it computes the same in training
    and inference.

    Args:
        kernel_size: Positive odd integer, the size of the convolution.
        data_format: As in `FeatureMapLayer`, and so are shapes and errors.

    Masking: positions that a mask rules out look like those beyond the
    border: zero.
    """

    def __init__(self, kernel_size=7, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape):
        super().build(input_shape)
        window = (self.kernel_size,) * len(self._positions)
        self.kernel = add_kernel(self, "kernel", (*window, 2, 1))

    def call(self, inputs, mask=None):
        values = self._masked(inputs, mask)
        # (batch, *positions, 2) whatever the data format: TensorFlow's CPU
        # kernels only have the channels_last convolution.
        pooled = ops.stack(
            [
                ops.mean(values, axis=self._channel_axis),
                maximum(values, axis=self._channel_axis),
            ],
            axis=-1,
        )
        logits = ops.conv(
            pooled,
            ops.cast(self.kernel, pooled.dtype),
            strides=1,
            padding="same",
            data_format="channels_last",
        )
        # Of an empty batch TensorFlow returns a convolution's inputs: there
        # is an axis of 2 that `squeeze` would refuse.
        gate = ops.expand_dims(ops.sigmoid(logits[..., 0]), self._channel_axis)
        return ops.multiply(inputs, ops.cast(gate, inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}


class SpatiallyGated(FeatureMapLayer):
    """Base class: a channel gate, then a spatial gate on what it returns.

    Args:
        channel_gate: Callable that takes the keyword arguments of
            `FeatureMapLayer` and returns the channel gate.
        spatial_kernel_size: Positive odd integer, the size of the spatial
            gate's convolution.
        data_format: As in `FeatureMapLayer`, and so are shapes and errors.
        **kwargs: As in `FeatureMapLayer`.
    """

    def __init__(
        self, channel_gate, spatial_kernel_size, data_format, **kwargs
    ):
        checks.check_kernel_size("spatial_kernel_size", spatial_kernel_size)
        super().__init__(data_format=data_format, **kwargs)
        self.spatial_kernel_size = spatial_kernel_size
        shared = {"data_format": self.data_format, "dtype": self.dtype_policy}
        self.channel_gate = channel_gate(name="channel_gate", **shared)
        self.spatial_gate = SpatialGate(
            spatial_kernel_size, name="spatial_gate", **shared
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.channel_gate.build(input_shape)
        self.spatial_gate.build(input_shape)

    def call(self, inputs, mask=None):
        gated = self.channel_gate(inputs, mask=mask)
        return self.spatial_gate(gated, mask=mask)

    def get_config(self):
        return {
            **super().get_config(),
            "spatial_kernel_size": self.spatial_kernel_size,
        }
