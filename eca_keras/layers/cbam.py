"""Convolutional Block Attention Module, and ECA in its place."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from eca_keras.layers.eca import ECA
from eca_keras.layers.feature_map import maximum
from eca_keras.layers.spatial_gate import SpatiallyGated
from eca_keras.layers.squeeze_excite import SqueezeExcite
from eca_keras.utils.types import DataFormat
from eca_keras.utils.types import LayerKernelSize


@keras.saving.register_keras_serializable("eca_keras")
class AverageMaxGate(SqueezeExcite):
    """CBAM's channel gate: SE on the means and on the maxima, summed.

    `outputs = inputs * sigmoid(mlp(mean(inputs)) + mlp(max(inputs)))` (Eq. 2
    of the paper). Arguments and weights are those of `SqueezeExcite`.
    """

    def _map_logits(self, inputs, mask):
        maxima = self._channel_maxima(inputs, mask)
        # Not ops.add, which fails on an empty batch.
        return super()._map_logits(inputs, mask) + self.compute_logits(maxima)

    def _channel_maxima(self, inputs, mask):
        values = self._masked(inputs, mask, fill=-float("inf"))
        maxima = maximum(values, axis=self._positions)
        if mask is None:
            return maxima
        # A sample without any position has the descriptor 0 here too.
        empty = ops.equal(maxima, -float("inf"))
        return ops.where(empty, ops.zeros_like(maxima), maxima)


@keras.saving.register_keras_serializable("eca_keras")
class CBAM(SpatiallyGated):
    """Convolutional Block Attention Module.

    First scales every channel: `sigmoid(mlp(mean(x)) + mlp(max(x)))`, mean
    and maximum over the positions and `mlp(y) = W2 relu(W1 y)`; then every
    position of the result: `sigmoid(conv([mean(x), max(x)]))`, mean and
    maximum over the channels. With `C` channels, `h = max(1, C // reduction)`
    hidden units, a spatial kernel of size `k` and `n` position axes (2 for
    images) the layer has `2 * C * h + 2 * k^n` weights.

    As in Eq. 2 and 3 of the paper there are no biases and no batch
    normalization. The released code has both (a bias on `W1` and `W2`, batch
    normalization behind the convolution).

    Args:
        reduction: Positive integer, the number of channels per hidden unit.
        spatial_kernel_size: Positive odd integer, the size of the
            convolution.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape: as in `ECA`.

    Masking: supported. Positions that a mask of shape `(batch, *leading)`
    rules out do not count in the first mean and maximum and look like those
    beyond the border, zero, to the convolution; the mask is passed on.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.random.normal(size=(2, 14, 14, 256)).astype("float32")
    >>> layer = CBAM(reduction=16)
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 8290)

    Reference: [CBAM: Convolutional Block Attention Module](
    https://arxiv.org/abs/1807.06521) (ECCV 2018), Eq. 1 to 3.
    """

    def __init__(
        self,
        reduction: int = 16,
        spatial_kernel_size: int = 7,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            functools.partial(AverageMaxGate, reduction),
            spatial_kernel_size,
            data_format,
            **kwargs,
        )
        self.reduction = reduction

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}


@keras.saving.register_keras_serializable("eca_keras")
class ECASpatial(SpatiallyGated):
    """Efficient Channel Attention, then CBAM's spatial gate.

    The ECA-Net paper names the combination with spatial attention as future
    work: `ECA` takes the place of the channel gate in `CBAM`. With an ECA
    kernel of size `k`, a spatial kernel of size `s` and `n` position axes (2
    for images) the layer has `k + 2 * s^n` weights and no bias.

    Args:
        kernel_size: That of the ECA kernel, as in `ECA`.
        spatial_kernel_size: Positive odd integer, the size of the
            convolution over the positions.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `CBAM`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.random.normal(size=(2, 14, 14, 256)).astype("float32")
    >>> layer = ECASpatial()
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 103)

    References:
        - [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020), Eq. 9
          and Section 5
        - [CBAM](https://arxiv.org/abs/1807.06521) (ECCV 2018), Eq. 3
    """

    def __init__(
        self,
        kernel_size: LayerKernelSize = None,
        spatial_kernel_size: int = 7,
        data_format: DataFormat = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            functools.partial(ECA, kernel_size),
            spatial_kernel_size,
            data_format,
            **kwargs,
        )
        self.kernel_size = kernel_size

    @property
    def resolved_kernel_size(self) -> int | None:
        """The kernel size in use; `None` while adaptive and not yet built."""
        return self.channel_gate.resolved_kernel_size

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
