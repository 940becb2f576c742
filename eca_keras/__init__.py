"""Efficient Channel Attention (ECA-Net, CVPR 2020) for Keras 3.

Reference: [ECA-Net: Efficient Channel Attention for Deep Convolutional
Neural Networks](https://arxiv.org/abs/1910.03151) (CVPR 2020).
"""

import importlib

from eca_keras.layers import ECA
from eca_keras.layers import adaptive_kernel_size
from eca_keras.version import __version__

# Loaded when first used, so that `import eca_keras` costs what `import keras`
# costs. A name maps to the module that defines it; a module maps to itself.
_LAZY = {
    "applications": "eca_keras.applications",
    "weights": "eca_keras.weights",
    "load_checkpoint": "eca_keras.weights",
    "export_onnx": "eca_keras.export",
    "export_saved_model": "eca_keras.export",
    "export_tflite": "eca_keras.export",
    "insert_attention": "eca_keras.surgery",
    "profile": "eca_keras.profiling",
    "benchmark": "eca_keras.profiling.timing",
    "visualize": "eca_keras.visualize",
}

__all__ = [
    "ECA",
    "__version__",
    "adaptive_kernel_size",
    "applications",
    "benchmark",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
    "insert_attention",
    "layers",
    "load_checkpoint",
    "profile",
    "visualize",
    "weights",
]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'eca_keras' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    if _LAZY[name] == f"eca_keras.{name}":
        return module
    return getattr(module, name)


def __dir__():
    return sorted(__all__)
