"""Object detectors on networks with channel attention: needs TensorFlow."""

from typing import TYPE_CHECKING

from eca_keras.applications.registry import DETECTORS
from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.applications.detection.detector import Detector as Detector
    from eca_keras.applications.detection.faster_rcnn import (
        FasterRCNN as FasterRCNN,
    )
    from eca_keras.applications.detection.mask_rcnn import MaskRCNN as MaskRCNN
    from eca_keras.applications.detection.masks import (
        paste_masks as paste_masks,
    )
    from eca_keras.applications.detection.retinanet import (
        RetinaNet as RetinaNet,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        detector=("Detector",),
        masks=("paste_masks",),
        **{
            row.module.rpartition(".")[2]: (name,)
            for name, row in DETECTORS.items()
        },
    )
