"""Training of detectors. Needs TensorFlow."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.training.detection.config import DetectConfig as DetectConfig
    from eca_keras.training.detection.data import (
        load_detection_source as load_detection_source,
    )
    from eca_keras.training.detection.recipes import (
        DETECT_RECIPES as DETECT_RECIPES,
    )
    from eca_keras.training.detection.recipes import (
        detect_recipe as detect_recipe,
    )
    from eca_keras.training.detection.trained import (
        TrainedDetector as TrainedDetector,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        config=("DetectConfig",),
        data=("load_detection_source",),
        recipes=("DETECT_RECIPES", "detect_recipe"),
        trained=("TrainedDetector",),
    )
