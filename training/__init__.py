"""Training: data, strategies, the loop. Needs TensorFlow."""

from eca_keras.training.config import TrainConfig
from eca_keras.training.data import load_source
from eca_keras.training.loop import train

__all__ = ["TrainConfig", "load_source", "train"]
