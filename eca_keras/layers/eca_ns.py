"""ECA without the shared kernel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.layers.dense import add_kernel
from eca_keras.layers.eca import adaptive_kernel_size
from eca_keras.layers.eca import fixed_kernel_size
from eca_keras.utils.types import DataFormat
from eca_keras.utils.types import LayerKernelSize


@keras.saving.register_keras_serializable("eca_keras")
class ECANS(ChannelGate):
    """ECA-NS: Efficient Channel Attention with kernels that are not shared.

    Like `ECA`, every channel is scaled by a gate computed from the channel
    and its `k - 1` neighbours, with zeros beyond the first and last channel;
    unlike there, every channel has `k` weights of its own:
    `outputs = inputs * sigmoid(W y)`, where `y` are the means of the channels
    and `W` has a band of width `k` (Eq. 6 of the paper). With `C` channels
    the layer has `k * C` weights and no bias.

    Args:
        kernel_size: As in `ECA`.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.ones((2, 14, 14, 256), "float32")
    >>> layer = ECANS()
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 1280)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020),
    Eq. 6 and 7 and Table 2.
    """

    def __init__(
        self,
        kernel_size: LayerKernelSize = None,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        fixed = fixed_kernel_size(kernel_size)
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = kernel_size
        self._resolved_kernel_size = fixed

    @property
    def resolved_kernel_size(self) -> int | None:
        """The kernel size in use; `None` while adaptive and not yet built."""
        return self._resolved_kernel_size

    def build_gate(self, channels):
        if self._resolved_kernel_size is None:
            self._resolved_kernel_size = adaptive_kernel_size(channels)
        # The shape of a keras.layers.Conv1D with one group per channel.
        self.kernel = add_kernel(
            self, "kernel", (self._resolved_kernel_size, 1, channels)
        )

    def compute_logits(self, descriptor):
        reach = self._resolved_kernel_size // 2
        padded = ops.pad(descriptor, [[0, 0], [reach, reach]])
        kernel = ops.cast(self.kernel, descriptor.dtype)
        return sum(
            kernel[tap] * padded[:, tap : tap + self._channels]
            for tap in range(self._resolved_kernel_size)
        )

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
