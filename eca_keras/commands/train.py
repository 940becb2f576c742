"""`eca-keras train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from eca_keras.commands.training import TrainingCommand
from eca_keras.commands.training import common_rows
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.classification.recipes import recipe


@dataclasses.dataclass(frozen=True)
class Train(TrainingCommand, TrainConfig):
    """Train a classifier, evaluate it and export it.

    The defaults are those of the recipe.
    """

    SETTINGS = TrainConfig
    RECIPE = staticmethod(recipe)
    EXAMPLES = (
        "eca-keras train --output runs/digits",
        "eca-keras train --recipe fashion-mnist --epochs 4 --output runs/fm",
        "eca-keras train --recipe modern --data folder:PATH --dry-run",
    )

    def summary(self, metrics: Mapping[str, Any]) -> list[tuple]:
        return [
            ("model", metrics["model"]),
            ("top-1", f"{metrics['top1']:.2%}"),
            ("top-5", f"{metrics['top5']:.2%}"),
            ("loss", f"{metrics['loss']:.4f} nats"),
            *common_rows(metrics, self.output),
        ]
