"""Attention layers: pure Keras 3, any backend."""

from eca_keras.layers.cbam import CBAM
from eca_keras.layers.cbam import ECASpatial
from eca_keras.layers.eca import ECA
from eca_keras.layers.eca import adaptive_kernel_size
from eca_keras.layers.eca_ns import ECANS
from eca_keras.layers.global_context import GlobalContext
from eca_keras.layers.pad_channels import PadChannels as PadChannels
from eca_keras.layers.se_variants import SEGroupConv
from eca_keras.layers.se_variants import SEVar1
from eca_keras.layers.se_variants import SEVar2
from eca_keras.layers.se_variants import SEVar3
from eca_keras.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "CBAM",
    "ECA",
    "ECANS",
    "ECASpatial",
    "GlobalContext",
    "SEGroupConv",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "SqueezeExcite",
    "adaptive_kernel_size",
]
