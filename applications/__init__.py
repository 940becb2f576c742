"""Model builders in the manner of `keras.applications`, any backend."""

import importlib

from eca_keras.applications.features import stage_outputs
from eca_keras.applications.mobilenet_v2 import ECAMobileNetV2
from eca_keras.applications.preprocessing import decode_predictions
from eca_keras.applications.preprocessing import preprocess_input
from eca_keras.applications.resnet import ECAResNet18
from eca_keras.applications.resnet import ECAResNet20
from eca_keras.applications.resnet import ECAResNet26T
from eca_keras.applications.resnet import ECAResNet32
from eca_keras.applications.resnet import ECAResNet34
from eca_keras.applications.resnet import ECAResNet50
from eca_keras.applications.resnet import ECAResNet50D
from eca_keras.applications.resnet import ECAResNet50T
from eca_keras.applications.resnet import ECAResNet56
from eca_keras.applications.resnet import ECAResNet101
from eca_keras.applications.resnet import ECAResNet101D
from eca_keras.applications.resnet import ECAResNet152
from eca_keras.applications.resnet import ECAResNet269D
from eca_keras.applications.resnet import ECAResNetLight
from eca_keras.applications.resnet import ECAResNeXt26T
from eca_keras.applications.resnet import ECAResNeXt50_32x4d
from eca_keras.applications.resnet import ECAResNeXt50T
from eca_keras.applications.resnet import ECAResNeXt101_32x8d

__all__ = [
    "ECAMobileNetV2",
    "ECAResNeXt101_32x8d",
    "ECAResNeXt26T",
    "ECAResNeXt50T",
    "ECAResNeXt50_32x4d",
    "ECAResNet101",
    "ECAResNet101D",
    "ECAResNet152",
    "ECAResNet18",
    "ECAResNet20",
    "ECAResNet269D",
    "ECAResNet26T",
    "ECAResNet32",
    "ECAResNet34",
    "ECAResNet50",
    "ECAResNet50D",
    "ECAResNet50T",
    "ECAResNet56",
    "ECAResNetLight",
    "decode_predictions",
    "preprocess_input",
    "stage_outputs",
]


def __getattr__(name):
    # Not with the rest: it needs TensorFlow.
    if name == "detection":
        return importlib.import_module("eca_keras.applications.detection")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
