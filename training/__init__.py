"""Training: data, recipes, strategies, the loop. Needs TensorFlow."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.errors import Diverged as Diverged
    from eca_keras.errors import Interrupted as Interrupted
    from eca_keras.errors import WorkerLost as WorkerLost
    from eca_keras.training.classification.config import (
        TrainConfig as TrainConfig,
    )
    from eca_keras.training.classification.recipes import RECIPES as RECIPES
    from eca_keras.training.classification.recipes import recipe as recipe
    from eca_keras.training.data import load_source as load_source
    from eca_keras.training.optimizers import (
        DistributedLossScaleOptimizer as DistributedLossScaleOptimizer,
    )
    from eca_keras.training.optimizers import TorchSGD as TorchSGD
    from eca_keras.training.run.loop import train as train
    from eca_keras.training.run.plan import plan as plan
    from eca_keras.training.trained import Trained as Trained
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        classification__config=("TrainConfig",),
        classification__recipes=("RECIPES", "recipe"),
        data=("load_source",),
        optimizers=("DistributedLossScaleOptimizer", "TorchSGD"),
        run__loop=("Diverged", "Interrupted", "train"),
        run__cluster=("WorkerLost",),
        run__plan=("plan",),
        trained=("Trained",),
    )
