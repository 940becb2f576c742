"""Model builders in the manner of `keras.applications`, any backend."""

from typing import TYPE_CHECKING

from eca_keras.applications.registry import BUILDERS
from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.applications import detection as detection
    from eca_keras.applications.features import stage_outputs as stage_outputs
    from eca_keras.applications.mobilenet_v2 import (
        ECAMobileNetV2 as ECAMobileNetV2,
    )
    from eca_keras.applications.preprocessing import (
        decode_predictions as decode_predictions,
    )
    from eca_keras.applications.preprocessing import (
        preprocess_input as preprocess_input,
    )
    from eca_keras.applications.resnet import ECAResNet18 as ECAResNet18
    from eca_keras.applications.resnet import ECAResNet20 as ECAResNet20
    from eca_keras.applications.resnet import ECAResNet26T as ECAResNet26T
    from eca_keras.applications.resnet import ECAResNet32 as ECAResNet32
    from eca_keras.applications.resnet import ECAResNet34 as ECAResNet34
    from eca_keras.applications.resnet import ECAResNet50 as ECAResNet50
    from eca_keras.applications.resnet import ECAResNet50D as ECAResNet50D
    from eca_keras.applications.resnet import (
        ECAResNet50DPruned as ECAResNet50DPruned,
    )
    from eca_keras.applications.resnet import ECAResNet50T as ECAResNet50T
    from eca_keras.applications.resnet import ECAResNet56 as ECAResNet56
    from eca_keras.applications.resnet import ECAResNet101 as ECAResNet101
    from eca_keras.applications.resnet import ECAResNet101D as ECAResNet101D
    from eca_keras.applications.resnet import (
        ECAResNet101DPruned as ECAResNet101DPruned,
    )
    from eca_keras.applications.resnet import ECAResNet152 as ECAResNet152
    from eca_keras.applications.resnet import ECAResNet200D as ECAResNet200D
    from eca_keras.applications.resnet import ECAResNet269D as ECAResNet269D
    from eca_keras.applications.resnet import ECAResNetLight as ECAResNetLight
    from eca_keras.applications.resnet import ECAResNeXt26T as ECAResNeXt26T
    from eca_keras.applications.resnet import (
        ECAResNeXt50_32x4d as ECAResNeXt50_32x4d,
    )
    from eca_keras.applications.resnet import ECAResNeXt50T as ECAResNeXt50T
    from eca_keras.applications.resnet import (
        ECAResNeXt101_32x8d as ECAResNeXt101_32x8d,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        features=("stage_outputs",),
        mobilenet_v2=("ECAMobileNetV2",),
        preprocessing=("decode_predictions", "preprocess_input"),
        resnet=[name for name in BUILDERS if name != "ECAMobileNetV2"],
        package_=("detection",),
    )
    __all__.remove("detection")  # needs TensorFlow
