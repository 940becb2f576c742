"""What every attention layer shares: where positions and channels are."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
from keras import ops

from eca_keras.errors import InputError
from eca_keras.utils import checks
from eca_keras.utils.layer_settings import differing
from eca_keras.utils.layer_settings import settings_of
from eca_keras.utils.layer_settings import spelled
from eca_keras.utils.types import DataFormat


def maximum(values, axis, keepdims=False):
    """Return `ops.max`, of an empty batch as well, which Keras refuses."""
    reduce = ops.sum if 0 in tuple(values.shape) else ops.max
    return reduce(values, axis=axis, keepdims=keepdims)


class FeatureMapLayer(keras.layers.Layer):
    """Base class of layers that map a feature map to one of its shape.

    A subclass makes its weights in `build`, after `super().build`, which
    checks the input shape and sets:
        - `_channels`: number of channels,
        - `_channel_axis`: axis of the channels,
        - `_positions`: the other axes but the batch,
        - `_gate_shape`: one number per sample and channel, as a feature map,
        - `_gate_dtype`: float32; float64 under a float64 policy on
          TensorFlow, the only backend on which Keras has it. What is computed
          from the feature map is computed in it whatever the dtype policy
          says: a half-precision sum over a large one overflows, and
          `(batch, channels)` numbers cost nothing next to it.

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

    Masking: positions that a mask rules out do not count, and the mask is
    passed on. The mask has shape `(batch, *leading)`, where `leading` are
    the first one or more position axes.
    """

    def __init__(self, data_format: DataFormat = None, **kwargs: Any) -> None:
        data_format = checks.data_format(data_format)
        super().__init__(**kwargs)
        self.data_format = data_format
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        if rank not in (3, 4, 5):
            raise self._refusal(
                "an input of rank 3, 4 or 5 (batch, positions and channels)",
                f"input_shape={tuple(input_shape)}",
            )
        axis = 1 if self.data_format == "channels_first" else rank - 1
        channels = input_shape[axis]
        if channels is None:
            raise self._refusal(
                f"a known number of channels: axis {axis} of a "
                f"{self.data_format} input must not be None",
                f"input_shape={tuple(input_shape)}",
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=rank, axes={axis: channels}
        )
        self._channels = channels
        self._channel_axis = axis
        self._positions = tuple(i for i in range(1, rank) if i != axis)
        self._gate_shape = tuple(
            {0: -1, axis: channels}.get(i, 1) for i in range(rank)
        )
        self._gate_dtype = keras.backend.result_type(
            self.compute_dtype, "float32"
        )

    def _refusal(self, needed, received):
        """Return the error for an input that the layer cannot take."""
        return InputError(
            f"`{type(self).__name__}` needs {needed}. Received: {received}"
        )

    def _expand_mask(self, mask):
        """Give a mask the rank of the feature map, so that it broadcasts."""
        masked = self._positions[: len(mask.shape) - 1]
        for axis in range(1, len(self._gate_shape)):
            if axis not in masked:
                mask = ops.expand_dims(mask, axis)
        return mask

    def _masked(self, inputs, mask, fill=0):
        """Cast inputs for the gate, with `fill` where `mask` is False."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise self._refusal(
                "a floating-point input: it multiplies by fractions",
                f"dtype={dtype}",
            )
        values = ops.cast(inputs, self._gate_dtype)
        if mask is None:
            return values
        # `where` and not a product: a padded position may hold inf or NaN.
        return ops.where(
            self._expand_mask(mask), values, ops.full_like(values, fill)
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def save_own_variables(self, store):
        """Save the weights, and what else a file of weights does not tell."""
        super().save_own_variables(store)
        text = json.dumps(
            self._settings(), default=lambda number: number.item()
        )
        store["settings"] = np.frombuffer(text.encode(), "uint8")

    def load_own_variables(self, store):
        """Load the weights of a layer with the same settings."""
        found = {name: store[name] for name in store.keys()}  # noqa: SIM118
        saved = found.pop("settings", None)
        if saved is not None:
            theirs = json.loads(bytes(np.asarray(saved, "uint8")))
            ours = self._settings()
            if names := differing(ours, theirs):
                raise InputError(
                    "the weights are of a layer with "
                    f"{spelled(theirs, names)}, but {self.name!r} has "
                    f"{spelled(ours, names)}"
                )
        super().load_own_variables(found)

    def _settings(self):
        kind = {"class_name": type(self).__name__}
        return {**kind, **settings_of(self.get_config())}

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
