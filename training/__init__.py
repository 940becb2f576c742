"""Training: data, recipes, strategies, the loop. Needs TensorFlow."""

from eca_keras.errors import Diverged
from eca_keras.errors import HostLost
from eca_keras.errors import Interrupted
from eca_keras.training.classification.recipes import RECIPES
from eca_keras.training.classification.recipes import recipe
from eca_keras.training.config import TrainConfig
from eca_keras.training.data import load_source
from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD
from eca_keras.training.run.loop import train
from eca_keras.training.run.plan import plan

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
