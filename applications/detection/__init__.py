"""Object detectors on networks with channel attention: needs TensorFlow."""

from eca_keras.applications.detection.retinanet import RetinaNet

__all__ = ["RetinaNet"]
