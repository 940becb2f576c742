"""PyTorch checkpoints of ECA networks as Keras models."""

from eca_keras.weights.hub import HOSTED
from eca_keras.weights.hub import preprocessing
from eca_keras.weights.loading import inspect_checkpoint
from eca_keras.weights.loading import load_checkpoint
from eca_keras.weights.loading import load_into
from eca_keras.weights.recognition import Network
from eca_keras.weights.tensors import CheckpointError

__all__ = [
    "HOSTED",
    "CheckpointError",
    "Network",
    "inspect_checkpoint",
    "load_checkpoint",
    "load_into",
    "preprocessing",
]
