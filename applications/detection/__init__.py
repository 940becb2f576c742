"""Object detectors on networks with channel attention: needs TensorFlow."""

from eca_keras.applications.detection.faster_rcnn import FasterRCNN
from eca_keras.applications.detection.mask_rcnn import MaskRCNN
from eca_keras.applications.detection.masks import paste_masks
from eca_keras.applications.detection.retinanet import RetinaNet

__all__ = ["FasterRCNN", "MaskRCNN", "RetinaNet", "paste_masks"]
