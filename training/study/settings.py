"""How the networks of a study are trained, if the user does not say."""

from __future__ import annotations

from typing import Any

from eca_keras.applications.mobilenet_v2 import MOBILENET_V2
from eca_keras.applications.resnet import RESNETS
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.classification.recipes import recipe
from eca_keras.training.study.studies import Study

# What two cores can pay for 5 seeds of it in an afternoon: docs/studies.md has
# the reasons, and what was measured.
_SETTINGS = {
    "modules": {"epochs": 2, "batch_size": 128, "learning_rate": 0.2},
    "kernel-size": {"epochs": 1, "batch_size": 256, "learning_rate": 0.1},
    "backbones": {"epochs": 2, "batch_size": 128, "learning_rate": 0.1},
}
RECIPE = "fashion-mnist"
LEAST_SIZE = 16  # pixels; networks for large images need more


def settings_for(study: Study, data: str, **changes: Any) -> TrainConfig:
    """Return the `TrainConfig` of a study on some data.

    Args:
        study: `Study`.
        data: As in `TrainConfig`.
        **changes: Fields that are not to be the study's own.
    """
    models = {row.changes["model"] for row in study.rows}
    least = [RESNETS.get(name, MOBILENET_V2).min_size for name in models]
    values = {
        **_SETTINGS[study.name],
        "data": data,
        "image_size": max(LEAST_SIZE, *least),
        # Where the recipe is for other data: what suits these.
        **({} if data.startswith(RECIPE) else {"augmentation": None}),
        "output": "runs/study",
        "export": (),
    }
    return recipe(RECIPE, **{**values, **changes})
