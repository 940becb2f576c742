"""Networks and detectors side by side: their size, speed and accuracy."""

from eca_keras.comparison.bubbles import read_accuracies
from eca_keras.comparison.bubbles import write_bubbles
from eca_keras.comparison.detectors import DetectorSpeed
from eca_keras.comparison.detectors import compare_detectors
from eca_keras.comparison.detectors import format_detectors
from eca_keras.comparison.networks import LIBRARIES
from eca_keras.comparison.networks import NetworkSpeed
from eca_keras.comparison.networks import compare_networks
from eca_keras.comparison.networks import format_networks

__all__ = [
    "LIBRARIES",
    "DetectorSpeed",
    "NetworkSpeed",
    "compare_detectors",
    "compare_networks",
    "format_detectors",
    "format_networks",
    "read_accuracies",
    "write_bubbles",
]
