"""Model builders in the manner of `keras.applications`, any backend."""

from eca_keras.applications.features import stage_outputs
from eca_keras.applications.mobilenet_v2 import ECAMobileNetV2
from eca_keras.applications.preprocessing import decode_predictions
from eca_keras.applications.preprocessing import preprocess_input
from eca_keras.applications.resnet import ECAResNet18
from eca_keras.applications.resnet import ECAResNet20
from eca_keras.applications.resnet import ECAResNet32
from eca_keras.applications.resnet import ECAResNet34
from eca_keras.applications.resnet import ECAResNet50
from eca_keras.applications.resnet import ECAResNet56
from eca_keras.applications.resnet import ECAResNet101
from eca_keras.applications.resnet import ECAResNet152

__all__ = [
    "ECAMobileNetV2",
    "ECAResNet101",
    "ECAResNet152",
    "ECAResNet18",
    "ECAResNet20",
    "ECAResNet32",
    "ECAResNet34",
    "ECAResNet50",
    "ECAResNet56",
    "decode_predictions",
    "preprocess_input",
    "stage_outputs",
]
