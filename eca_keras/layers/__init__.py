"""Attention layers: pure Keras 3, any backend."""

from eca_keras.layers.eca import ECA
from eca_keras.layers.eca import adaptive_kernel_size

__all__ = ["ECA", "adaptive_kernel_size"]
