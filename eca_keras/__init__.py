"""Efficient Channel Attention (ECA-Net, CVPR 2020) for Keras 3.

Reference: [ECA-Net: Efficient Channel Attention for Deep Convolutional
Neural Networks](https://arxiv.org/abs/1910.03151) (CVPR 2020).
"""

from typing import TYPE_CHECKING

from eca_keras.registration import register
from eca_keras.utils.lazy import attach
from eca_keras.version import __version__ as __version__

if TYPE_CHECKING:
    from eca_keras import applications as applications
    from eca_keras import layers as layers
    from eca_keras import visualize as visualize
    from eca_keras import weights as weights
    from eca_keras.export import export_onnx as export_onnx
    from eca_keras.export import export_saved_model as export_saved_model
    from eca_keras.export import export_tflite as export_tflite
    from eca_keras.layers import ECA as ECA
    from eca_keras.layers import adaptive_kernel_size as adaptive_kernel_size
    from eca_keras.profiling import benchmark as benchmark
    from eca_keras.profiling import profile as profile
    from eca_keras.surgery import insert_attention as insert_attention
    from eca_keras.weights import load_checkpoint as load_checkpoint
    from eca_keras.weights import load_model as load_model
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        export=("export_onnx", "export_saved_model", "export_tflite"),
        layers=("ECA", "adaptive_kernel_size"),
        package_=("applications", "layers", "visualize", "weights"),
        profiling=("benchmark", "profile"),
        surgery=("insert_attention",),
        version=("__version__",),
        weights=("load_checkpoint", "load_model"),
    )

register()
