"""The commands of `eca-keras`: one row and one file each.

The help of `eca-keras` is printed from this table, so that only the command
that is asked for is imported. A command is a frozen dataclass: its fields are
the options, `check` refuses what can be refused before TensorFlow is loaded,
`run` does the work. A module must not import Keras or TensorFlow when it is
imported itself.
"""

from __future__ import annotations

import importlib
from typing import Any
from typing import NamedTuple


class Row(NamedTuple):
    """Where a command is, and what the help says about it.

    Attributes:
        module: Name of the module in this folder.
        kind: Name of the class in it.
        group: Heading in the help.
        summary: What it does, in a line.
    """

    module: str
    kind: str
    group: str
    summary: str

    def load(self) -> Any:
        """Return the class of the command."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        return getattr(module, self.kind)


_TRAIN, _USE, _NETWORKS = "Train", "Use a trained network", "Networks"
COMMANDS = {
    "train": Row("train", "Train", _TRAIN, "Train a classifier."),
    "detect train": Row(
        "detect_train", "DetectTrain", _TRAIN, "Train an object detector."
    ),
    "study": Row(
        "study",
        "Study",
        _TRAIN,
        "Train networks with several seeds and compare them.",
    ),
    "evaluate": Row(
        "evaluate", "Evaluate", _USE, "Measure the accuracy on a dataset."
    ),
    "predict": Row(
        "predict", "Predict", _USE, "Classify images or find objects in them."
    ),
    "visualize": Row(
        "visualize", "Visualize", _USE, "Draw what the attention does."
    ),
    "export": Row(
        "export", "Export", _USE, "Write a SavedModel, TFLite or ONNX file."
    ),
    "card": Row("card", "Card", _USE, "Write a model card."),
    "samples": Row(
        "samples", "Samples", _USE, "Write images to try a network on."
    ),
    "info": Row(
        "info", "Info", _NETWORKS, "List networks: parameters, MACs, kernels."
    ),
    "benchmark": Row(
        "benchmark", "Benchmark", _NETWORKS, "Measure the speed of networks."
    ),
    "convert": Row(
        "convert", "Convert", _NETWORKS, "Convert a PyTorch checkpoint."
    ),
}
