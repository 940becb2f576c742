"""Squeeze-and-Excitation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.layers.dense import add_kernel
from eca_keras.layers.dense import project
from eca_keras.utils.checks import check_count
from eca_keras.utils.types import DataFormat


@keras.saving.register_keras_serializable("eca_keras")
class SqueezeExcite(ChannelGate):
    """Squeeze-and-Excitation (SE).

    Scales every channel by a gate between 0 and 1, computed from all channels
    through a bottleneck: `outputs = inputs * sigmoid(W2 relu(W1 y))`, where
    `y` are the means of the channels. With `C` channels and
    `h = max(1, C // reduction)` hidden units the layer has `2 * C * h`
    weights. There are no biases: Eq. 3 of the paper and the count
    `2 C^2 / r` in both papers have none.

    Args:
        reduction: Positive integer, the number of channels per hidden unit.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.random.normal(size=(2, 14, 14, 256)).astype("float32")
    >>> layer = SqueezeExcite(reduction=16)
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 8192)

    Reference: [Squeeze-and-Excitation Networks](
    https://arxiv.org/abs/1709.01507) (CVPR 2018), Eq. 2 to 4.
    """

    def __init__(
        self, reduction: int = 16, data_format: DataFormat = None, **kwargs: Any
    ) -> None:
        check_count("reduction", reduction)
        super().__init__(data_format=data_format, **kwargs)
        self.reduction = reduction

    def build_gate(self, channels):
        hidden = max(1, channels // self.reduction)
        self.reduce_kernel = add_kernel(
            self, "reduce_kernel", (channels, hidden)
        )
        self.expand_kernel = add_kernel(
            self, "expand_kernel", (hidden, channels)
        )

    def compute_logits(self, descriptor):
        hidden = ops.relu(project(descriptor, self.reduce_kernel))
        return project(hidden, self.expand_kernel)

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
