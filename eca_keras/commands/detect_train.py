"""`eca-keras detect train`."""

import dataclasses

from eca_keras.commands.training_options import TrainingOptions
from eca_keras.commands.training_options import summary
from eca_keras.commands.training_options import table
from eca_keras.training.config import EXPORTS
from eca_keras.training.detection.config import DetectConfig
from eca_keras.training.detection.recipes import detect_recipe


@dataclasses.dataclass(frozen=True)
class DetectTrain(TrainingOptions, DetectConfig):
    """Train a detector, evaluate it and export it."""

    SETTINGS = DetectConfig
    RECIPE = staticmethod(detect_recipe)

    def run(self):
        from eca_keras.training.detection import plan
        from eca_keras.training.detection import train

        self.carry_out(train, plan)

    def conclude(self, metrics):
        from eca_keras.commands.detect import export_detector
        from eca_keras.training.detection import TrainedDetector

        print(table(summary(metrics, ["detector", "backbone"])))
        masks = ""
        if "mask_AP" in metrics:
            masks = f", of masks {metrics['mask_AP']:.3f}"
        print(
            f"{self.output}: {metrics['images']} {metrics['evaluated_on']} "
            f"images, average precision of boxes {metrics['AP']:.3f} "
            f"({metrics['AP50']:.3f} at overlap 0.50){masks}, "
            f"{metrics['seconds']} s"
        )
        if self.export:
            trained = TrainedDetector.load(self.output)
            for name in self.export:
                path = trained.path.with_name(EXPORTS[name])
                print(export_detector(trained, name, path))
