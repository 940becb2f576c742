"""Networks side by side: what they are, how fast, how accurate."""

from eca_keras.comparison.bubbles import read_accuracies
from eca_keras.comparison.bubbles import write_bubbles
from eca_keras.comparison.networks import LIBRARIES
from eca_keras.comparison.networks import NetworkSpeed
from eca_keras.comparison.networks import compare_networks
from eca_keras.comparison.networks import format_networks

__all__ = [
    "LIBRARIES",
    "NetworkSpeed",
    "compare_networks",
    "format_networks",
    "read_accuracies",
    "write_bubbles",
]
