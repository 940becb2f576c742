"""Training: data, recipes, strategies, the loop. Needs TensorFlow."""

from eca_keras.errors import Diverged
from eca_keras.errors import HostLost
from eca_keras.errors import Interrupted
from eca_keras.training.config import TrainConfig
from eca_keras.training.data import load_source
from eca_keras.training.loop import train
from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD
from eca_keras.training.plan import plan
from eca_keras.training.recipes import RECIPES
from eca_keras.training.recipes import recipe

__all__ = [
    "RECIPES",
    "Diverged",
    "DistributedLossScaleOptimizer",
    "HostLost",
    "Interrupted",
    "TorchSGD",
    "TrainConfig",
    "load_source",
    "plan",
    "recipe",
    "train",
]
