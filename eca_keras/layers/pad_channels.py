"""Channels of zeros, which a shortcut without parameters needs."""

import keras
from keras import ops

from eca_keras.layers.feature_map import FeatureMapLayer


@keras.saving.register_keras_serializable("eca_keras")
class PadChannels(FeatureMapLayer):
    """Adds channels of zeros before and behind those of a feature map.

    A layer and not `keras.ops.pad`, which a legacy `.h5` file cannot hold.

    Args:
        filters: Number of channels of the output, at least that of the
            input. Half of the new ones, rounded down, come first.
        data_format: As in `FeatureMapLayer`, and so is the input shape.

    Output shape: the input shape, with `filters` channels.
    """

    def __init__(self, filters, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = filters

    def call(self, inputs):
        missing = self.filters - self._channels
        paddings = [[0, 0]] * len(inputs.shape)
        paddings[self._channel_axis] = [missing // 2, missing - missing // 2]
        return ops.pad(inputs, paddings)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[1 if self.data_format == "channels_first" else -1] = self.filters
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
