"""`eca-keras train`."""

import dataclasses

from eca_keras.commands.training_options import TrainingOptions
from eca_keras.commands.training_options import summary
from eca_keras.commands.training_options import table
from eca_keras.training.classification.recipes import recipe
from eca_keras.training.config import EXPORTS
from eca_keras.training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Train(TrainingOptions, TrainConfig):
    """Train a network, evaluate it and export it."""

    SETTINGS = TrainConfig
    RECIPE = staticmethod(recipe)

    def run(self):
        from eca_keras.training import train
        from eca_keras.training.run import plan

        self.carry_out(train, plan)

    def conclude(self, metrics):
        from eca_keras.commands.export import export_model
        from eca_keras.training.trained import Trained

        print(table(summary(metrics, ["model"])))
        print(
            f"{self.output}: {metrics['images']} {metrics['evaluated_on']} "
            f"images, top-1 {metrics['top1']:.2%}, top-5 "
            f"{metrics['top5']:.2%}, loss {metrics['loss']:.4f} nats, "
            f"{metrics['seconds']} s"
        )
        if self.export:
            trained = Trained.load(self.output)
            for name in self.export:
                path = trained.folder / EXPORTS[name]
                print(export_model(trained, name, path))
