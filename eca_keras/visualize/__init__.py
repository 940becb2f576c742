"""What a network with channel attention does, as numbers and pictures."""

from eca_keras.visualize.gates import ChannelWeights
from eca_keras.visualize.gates import by_stage
from eca_keras.visualize.gates import channel_kernels
from eca_keras.visualize.gates import channel_weights
from eca_keras.visualize.gates import class_means
from eca_keras.visualize.gates import class_spread
from eca_keras.visualize.grad_cam import grad_cam

__all__ = [
    "ChannelWeights",
    "by_stage",
    "channel_kernels",
    "channel_weights",
    "class_means",
    "class_spread",
    "grad_cam",
]
