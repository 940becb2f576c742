"""Training of detectors. Needs TensorFlow."""

from eca_keras.training.detection.config import DetectConfig
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.recipes import DETECT_RECIPES
from eca_keras.training.detection.recipes import detect_recipe
from eca_keras.training.detection.trained import TrainedDetector
from eca_keras.training.detection.training import plan
from eca_keras.training.detection.training import train

__all__ = [
    "DETECT_RECIPES",
    "DetectConfig",
    "TrainedDetector",
    "detect_recipe",
    "load_detection_source",
    "plan",
    "train",
]
