"""Efficient Channel Attention."""

from __future__ import annotations

import math
from typing import Any
from typing import Literal

import keras
import numpy as np
from keras import ops

from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.utils import checks
from eca_keras.utils.types import DataFormat
from eca_keras.utils.types import LayerKernelSize
from eca_keras.utils.types import Serializable

# PyTorch's Conv1d starts from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), and so did
# the networks of the paper. The variance of that is 1 / (3 fan_in).
KERNEL_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}

# Channels that one step of the convolution handles together. On CPUs, 8 was
# two to six times as fast as 1 from 2048 channels on, and no slower elsewhere.
BLOCK = 8


def adaptive_kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """Size of the ECA kernel for a number of channels (Eq. 12 of the paper).

    `t = int(|log2(channels) + b| / gamma)`, or `t + 1` where `t` is even.

    Args:
        channels: Positive integer, the number of channels.
        gamma: Positive number. A larger value makes the kernel grow more
            slowly with the number of channels.
        b: Number, the offset of the logarithm.

    Returns:
        A positive odd integer.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> [adaptive_kernel_size(c) for c in (64, 256, 2048)]
    [3, 5, 7]

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151), Eq. 12.
    """
    checks.check_count("channels", channels)
    _check_adaptive(gamma, b)
    t = int(abs(math.log2(channels) + b) / gamma)
    return t if t % 2 else t + 1


def _check_adaptive(gamma, b):
    checks.check_positive("gamma", gamma)
    checks.check("b", b, checks.is_real(b), "must be a finite number")


def fixed_kernel_size(kernel_size):
    """Return the kernel size of a layer; `None` where it is adaptive.

    Raises:
        ValueError: if it is neither a positive odd integer nor adaptive.
    """
    if checks.is_adaptive(kernel_size):
        return None
    rule = "must be a positive odd integer, 'adaptive' or None"
    if isinstance(kernel_size, str) and kernel_size == "paper":
        rule += "; 'paper' is for networks: ECAResNet50(kernel_size='paper')"
    holds = checks.is_kernel_size(kernel_size)
    checks.check("kernel_size", kernel_size, holds, rule)
    return kernel_size


@keras.saving.register_keras_serializable("eca_keras")
class ECA(ChannelGate):
    """Efficient Channel Attention.

    Scales every channel by a gate between 0 and 1, computed from the channel
    and its `kernel_size - 1` neighbours along the channel axis:
    `outputs = inputs * sigmoid(conv1d(mean(inputs)))`, where the mean is
    taken over every position and the convolution has one kernel for all
    channels and no bias. The layer has `kernel_size` weights.

    Args:
        kernel_size: Positive odd integer, or `None` or `"adaptive"`, which
            both adapt it to the number of channels with
            `adaptive_kernel_size`. The size in use is `resolved_kernel_size`
            once the layer is built.
        gamma, b: See `adaptive_kernel_size`. Only used if `kernel_size` is
            adaptive.
        padding: What the kernel sees beyond the first and last channel:
            `"zeros"` (as in the paper), or `"circular"`, where the first and
            last channel are neighbours.
        data_format: `"channels_last"`, `"channels_first"` or `None`, which
            stands for `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernel. The default is
            uniform in `+-1 / sqrt(kernel_size)`, as in PyTorch.
        kernel_regularizer: Regularizer of the kernel.
        kernel_constraint: Constraint of the kernel.
        gate_scale: Positive number that multiplies the gate. 1 is the layer
            of the paper. With 2 and `kernel_initializer="zeros"` the layer
            starts as the identity: the gate is then exactly
            `2 * sigmoid(0) = 1`, and the kernel has a gradient. It stays the
            paper's layer but for the scale of its input: 2 and a kernel `w`
            act like 1, a kernel `w / 2` and an input twice as large,
            which the normalization or convolution before it can give.
        **kwargs: The arguments of `keras.layers.Layer`: `name`, `dtype`,
            `trainable`.

    Input shape: rank 3, 4 or 5 (1-D, 2-D or 3-D signals).
        - `channels_last`: `(batch, *positions, channels)`
        - `channels_first`: `(batch, channels, *positions)`

        Only the number of channels has to be known beforehand.

    Output shape: the input shape.

    Masking: supported. Positions that a mask of shape `(batch, *leading)`
    rules out do not count in the mean; the mask is passed on.

    Raises:
        ValueError: if an argument or the input shape is out of its range.

    Example:

    >>> import numpy as np
    >>> x = np.random.normal(size=(2, 14, 14, 256)).astype("float32")
    >>> layer = ECA()
    >>> tuple(layer(x).shape)
    (2, 14, 14, 256)
    >>> layer.resolved_kernel_size
    5

    Reference: [ECA-Net: Efficient Channel Attention for Deep Convolutional
    Neural Networks](https://arxiv.org/abs/1910.03151) (CVPR 2020), Eq. 9
    and 12.
    """

    def __init__(
        self,
        kernel_size: LayerKernelSize = None,
        gamma: float = 2,
        b: float = 1,
        padding: Literal["zeros", "circular"] = "zeros",
        data_format: DataFormat = None,
        kernel_initializer: Serializable = KERNEL_INITIALIZER,
        kernel_regularizer: Serializable = None,
        kernel_constraint: Serializable = None,
        gate_scale: float = 1,
        **kwargs: Any,
    ) -> None:
        fixed = fixed_kernel_size(kernel_size)
        _check_adaptive(gamma, b)
        checks.check_choice("padding", padding, ("zeros", "circular"))
        checks.check_positive("gate_scale", gate_scale)
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = kernel_size
        self.gamma = gamma
        self.b = b
        self.padding = padding
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.gate_scale = gate_scale
        self._resolved_kernel_size = fixed

    @property
    def resolved_kernel_size(self) -> int | None:
        """The kernel size in use; `None` while adaptive and not yet built."""
        return self._resolved_kernel_size

    def build_gate(self, channels):
        size = self._resolved_kernel_size
        if size is None:
            size = adaptive_kernel_size(channels, self.gamma, self.b)
        if self.padding == "circular" and size > channels:
            rule = "must not be longer than the channel axis if circular"
            raise checks.refusal("kernel_size", size, rule, channels=channels)
        self._resolved_kernel_size = size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, 1, 1),  # as keras.layers.Conv1D has it
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        self._block = math.gcd(channels, BLOCK)
        self._reach = math.ceil((size // 2) / self._block)
        self._blocks = channels // self._block
        self._band = _band(size, self._block, self._reach)

    def call(self, inputs, mask=None):
        if self.gate_scale == 1:
            return super().call(inputs, mask)
        # Of the few numbers of the gate, and not of the feature map.
        gate = self.gate_scale * ops.sigmoid(self._map_logits(inputs, mask))
        gate = ops.cast(ops.reshape(gate, self._gate_shape), inputs.dtype)
        return ops.multiply(inputs, gate)

    def compute_logits(self, descriptor):
        # A convolution of one channel to one channel is slow everywhere: it
        # leaves the vector units idle. The same sums are a convolution over
        # blocks of channels with a banded kernel, (2 * reach + 1) blocks wide.
        rows = ops.reshape(descriptor, (-1, 1, self._blocks, self._block))
        if self.padding == "circular" and self._reach:
            rows = ops.concatenate(
                [
                    rows[:, :, -self._reach :],
                    rows,
                    rows[:, :, : self._reach],
                ],
                axis=2,
            )
        kernel = ops.cast(ops.reshape(self.kernel, (1, -1)), descriptor.dtype)
        band = ops.cast(self._band, descriptor.dtype)
        kernel = ops.reshape(
            ops.matmul(kernel, band),
            (1, 2 * self._reach + 1, self._block, self._block),
        )
        logits = ops.conv(
            rows,
            kernel,
            strides=1,
            padding="valid" if self.padding == "circular" else "same",
            data_format="channels_last",
        )
        return ops.reshape(logits, (-1, self._blocks * self._block))

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "gamma": self.gamma,
            "b": self.b,
            "padding": self.padding,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "kernel_constraint": keras.constraints.serialize(
                self.kernel_constraint
            ),
            "gate_scale": self.gate_scale,
        }


def _band(kernel_size, block, reach):
    """Place a kernel along the diagonals of a block-to-block kernel.

    Returns:
        Array of zeros and ones of shape
        `(kernel_size, (2 * reach + 1) * block * block)`: a kernel times it is
        the banded kernel, where output channel `o` of a block reads input
        channel `o + tap - kernel_size // 2` of the same or another block.
    """
    band = np.zeros(
        (kernel_size, (2 * reach + 1) * block, block), dtype="float32"
    )
    for tap in range(kernel_size):
        for o in range(block):
            band[tap, reach * block + o + tap - kernel_size // 2, o] = 1
    return band.reshape(kernel_size, -1)
