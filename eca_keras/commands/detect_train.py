"""`eca-keras detect train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from eca_keras.commands.training import TrainingCommand
from eca_keras.commands.training import common_rows
from eca_keras.training.detection.config import DetectConfig
from eca_keras.training.detection.recipes import detect_recipe


@dataclasses.dataclass(frozen=True)
class DetectTrain(TrainingCommand, DetectConfig):
    """Train an object detector, evaluate it and export it.

    The defaults are those of the recipe.
    """

    SETTINGS = DetectConfig
    RECIPE = staticmethod(detect_recipe)
    EXAMPLES = (
        "eca-keras detect train --output runs/shapes",
        "eca-keras detect train --recipe 1x --data coco:PATH --dry-run",
    )

    def summary(self, metrics: Mapping[str, Any]) -> list[tuple]:
        masks = []
        if "mask_AP" in metrics:
            masks = [("AP of masks", f"{metrics['mask_AP']:.3f}")]
        return [
            ("detector", metrics["detector"]),
            ("backbone", metrics["backbone"]),
            ("AP of boxes", f"{metrics['AP']:.3f}"),
            ("AP50 (IoU 0.50)", f"{metrics['AP50']:.3f}"),
            *masks,
            *common_rows(metrics, self.output),
        ]
