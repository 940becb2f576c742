"""Networks and detectors side by side: their size, speed and accuracy."""

from benchmarks.bubbles import read_accuracies
from benchmarks.bubbles import write_bubbles
from benchmarks.detectors import DetectorSpeed
from benchmarks.detectors import compare_detectors
from benchmarks.detectors import format_detectors
from benchmarks.networks import LIBRARIES
from benchmarks.networks import NetworkSpeed
from benchmarks.networks import compare_networks
from benchmarks.networks import format_networks

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
