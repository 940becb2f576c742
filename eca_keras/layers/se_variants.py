"""The variants of Squeeze-and-Excitation in Table 2 of the ECA-Net paper.

The paper takes SE apart to ask what makes it work: none of these layers
reduces the dimension, and they differ in how far channels interact.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.layers.dense import add_kernel
from eca_keras.layers.dense import project
from eca_keras.utils.checks import check_count
from eca_keras.utils.types import DataFormat


@keras.saving.register_keras_serializable("eca_keras")
class SEVar1(ChannelGate):
    """SE-Var1: every channel is scaled by the sigmoid of its own mean.

    `outputs = inputs * sigmoid(y)`, where `y` are the means of the channels.
    The layer has no weights (0 parameters).

    Args:
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.ones((2, 14, 14, 256), "float32")
    >>> layer = SEVar1()
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 0)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020),
    Section 3.2 and Table 2.
    """

    def build_gate(self, channels):
        pass

    def compute_logits(self, descriptor):
        return descriptor


@keras.saving.register_keras_serializable("eca_keras")
class SEVar2(ChannelGate):
    """SE-Var2: one weight per channel, no interaction of channels.

    `outputs = inputs * sigmoid(w * y)`, where `y` are the means of the
    channels (Eq. 4 of the paper with a diagonal matrix). With `C` channels
    the layer has `C` weights and no bias.

    Args:
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.ones((2, 14, 14, 256), "float32")
    >>> layer = SEVar2()
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 256)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020),
    Section 3.2 and Table 2.
    """

    def build_gate(self, channels):
        # The shape of a keras.layers.Conv1D with one group per channel, so
        # that the initializer sees a fan-in of 1.
        self.kernel = add_kernel(self, "kernel", (1, 1, channels))

    def compute_logits(self, descriptor):
        kernel = ops.reshape(self.kernel, (1, -1))
        return ops.multiply(descriptor, ops.cast(kernel, descriptor.dtype))


@keras.saving.register_keras_serializable("eca_keras")
class SEVar3(ChannelGate):
    """SE-Var3: one fully-connected layer, every channel sees all others.

    `outputs = inputs * sigmoid(W y)`, where `y` are the means of the channels
    (Eq. 4 of the paper with a full matrix). With `C` channels the layer has
    `C^2` weights and no bias.

    Args:
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.ones((2, 14, 14, 256), "float32")
    >>> layer = SEVar3()
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 65536)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020),
    Section 3.2 and Table 2.
    """

    def build_gate(self, channels):
        self.kernel = add_kernel(self, "kernel", (channels, channels))

    def compute_logits(self, descriptor):
        return project(descriptor, self.kernel)


@keras.saving.register_keras_serializable("eca_keras")
class SEGroupConv(ChannelGate):
    """SE-GC: a fully-connected layer in each group of channels.

    `outputs = inputs * sigmoid(W y)`, where `y` are the means of the channels
    and `W` is block-diagonal with `G` blocks (Eq. 5 of the paper). With `C`
    channels the layer has `C^2 / G` weights and no bias.

    Args:
        groups: Positive integer, the number of groups. Groups have to be of
            equal size, so `G = gcd(C, groups)` of them are made: all of
            `groups` where they divide the channels, 8 of 16 groups for 24
            channels. `resolved_groups` tells once the layer is built.
        data_format: As in `ECA`.
        **kwargs: As in `ECA`.

    Input shape, output shape, masking: as in `ECA`.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.ones((2, 14, 14, 256), "float32")
    >>> layer = SEGroupConv(groups=16)
    >>> tuple(layer(x).shape), layer.count_params()
    ((2, 14, 14, 256), 4096)

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151) (CVPR 2020),
    Section 3.2 and Table 2.
    """

    def __init__(
        self, groups: int = 16, data_format: DataFormat = None, **kwargs: Any
    ) -> None:
        check_count("groups", groups)
        super().__init__(data_format=data_format, **kwargs)
        self.groups = groups
        self._resolved_groups = None

    @property
    def resolved_groups(self) -> int | None:
        """The number of groups in use; `None` while not yet built."""
        return self._resolved_groups

    def build_gate(self, channels):
        self._resolved_groups = math.gcd(channels, self.groups)
        self._size = channels // self._resolved_groups
        # The shape of a keras.layers.Conv1D with `groups`.
        self.kernel = add_kernel(self, "kernel", (1, self._size, channels))

    def compute_logits(self, descriptor):
        # As matrix products and not as a convolution with groups, which
        # TensorFlow's CPU kernels do not have.
        groups, size = self._resolved_groups, self._size
        grouped = ops.reshape(descriptor, (-1, groups, size))
        kernel = ops.reshape(self.kernel, (size, groups, size))
        logits = project(
            ops.transpose(grouped, (1, 0, 2)),
            ops.transpose(kernel, (1, 0, 2)),
        )
        logits = ops.transpose(logits, (1, 0, 2))
        return ops.reshape(logits, (-1, self._channels))

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
