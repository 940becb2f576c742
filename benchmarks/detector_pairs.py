"""The same Mask R-CNN in this library and in torchvision.

Each runs in a process of its own, with the same weights, and is only given out
once both have found the same objects.
"""

import dataclasses
import json
import os
import sys
import tempfile

import numpy as np

from benchmarks.serving import REFUSED
from benchmarks.worker import CHECKOUT
from benchmarks.worker import TorchWorker
from benchmarks.worker import Worker
from eca_keras.applications.building import kernel_size_of
from eca_keras.applications.resnet import RESNETS
from eca_keras.applications.resnet import bottleneck_branch
from eca_keras.errors import ComparisonFailed
from eca_keras.errors import InputError
from eca_keras.export.checking.detector import Limits
from eca_keras.export.checking.detector import Pairs

CLASSES = 80  # those of COCO

# By which detections of the same weights may differ. Where a score, or an
# overlap, is at a threshold in one library and not in the other, a detection
# may be missing.
LIMITS = Limits(boxes=3e-4, scores=5e-4, masks=5e-3)
AGREEMENT = 0.98


class KerasDetector(Worker):
    """Mask R-CNN of this library in a process of its own.

    Args:
        **specification: Of `keras_detector.Server`.
    """

    def __init__(self, **specification):
        module = f"{__package__}.keras_detector"
        command = [sys.executable, "-m", module, json.dumps(specification)]
        super().__init__(command, paths=[CHECKOUT])

    def failure(self, reason):
        kind, _, sentence = reason.partition(": ")
        if kind == REFUSED:
            return InputError(sentence)
        return ComparisonFailed(f"TensorFlow ended early: {reason}")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all detectors of a comparison have in common.

    Attributes:
        network: Name of the builder of the backbone.
        kernel_size: As in `MaskRCNN`, of attention that has a kernel.
        image_size: Height and width in pixels.
        threads: Threads that a call may use.
        seed: Seed of the weights and of the image.
        torch_python: The Python that has PyTorch; `None` for this one.
    """

    network: str
    kernel_size: object
    image_size: tuple
    threads: int
    seed: int
    torch_python: str | None

    def keras_worker(self, attention):
        return KerasDetector(
            threads=self.threads,
            backbone=self.network,
            attention=None if attention == "none" else attention,
            kernel_size=kernel_size_of(attention, self.kernel_size),
            num_classes=CLASSES,
            input_shape=(*self.image_size, 3),
        )

    def torch_worker(self):
        return TorchWorker(
            "torch_detectors",
            {"threads": self.threads},
            self.torch_python,
            packages="PyTorch and torchvision",
        )


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A detector that is ready to be timed.

    Attributes:
        library: `"eca-keras"` or `"torchvision"`.
        attention: Name of its attention module, or `"none"`.
        worker: Its process, a `Worker`.
        facts: What is known by now, fields of `DetectorSpeed`.
    """

    library: str
    attention: str
    worker: Worker
    facts: dict


def start_pair(setting, attention, stack, progress):
    """Start both detectors with one kind of attention.

    Args:
        setting: A `Setting`.
        attention: `"none"` or `"eca"`.
        stack: Exit stack that ends the processes.
        progress: Function that is called with a line of text.

    Returns:
        Two `Contestant`s, ours first.

    Raises:
        InputError: if an argument is out of its range, or there is no PyTorch.
        ComparisonFailed: if a process fails, or they do not find the same.
    """
    theirs = stack.enter_context(setting.torch_worker())
    versions = theirs.ask("versions")  # fails at once where there is none
    ours = stack.enter_context(setting.keras_worker(attention))
    about = ours.ask("about")
    architecture = _architecture(setting.network, about["kernel_sizes"])
    size = theirs.ask("build", **architecture)["parameters"]
    if size != about["parameters"]:
        raise ComparisonFailed(
            f"PyTorch's detector on {setting.network} has {size:,} "
            f"parameters, ours {about['parameters']:,}"
        )
    progress(
        f"MaskRCNN on {setting.network}, {attention}: {size:,} parameters, "
        f"torchvision {versions['torchvision']}, torch {versions['torch']}"
    )
    with tempfile.TemporaryDirectory() as folder:
        files = _draw(setting, architecture, folder)
        first, found = _answer(ours, files, folder)
        their_first, their_found = _answer(theirs, files, folder)
    facts = _same(found, their_found, about["score_threshold"])
    progress(
        "{detections} detections agree: boxes within {box_difference:.1e} px, "
        "scores within {score_difference:.1e}, masks within "
        "{mask_difference:.1e}".format(**facts)
    )
    facts["parameters"] = size
    return [
        Contestant(
            "eca-keras", attention, ours, {**facts, "first_seconds": first}
        ),
        Contestant(
            "torchvision",
            attention,
            theirs,
            {**facts, "first_seconds": their_first},
        ),
    ]


def _architecture(network, kernel_sizes):
    """What makes the same network in PyTorch; a kernel size for each block."""
    row = RESNETS[network]
    return {
        "classes": CLASSES,
        "depths": row.depths,
        "bottleneck": row.branch is bottleneck_branch,
        "kernel_sizes": kernel_sizes,
    }


def _draw(setting, architecture, folder):
    """Have weights and an image drawn; return their files by their names."""
    files = {
        "weights": os.path.join(folder, "weights.pth"),
        "images": os.path.join(folder, "images.npy"),
    }
    height, width = setting.image_size
    # In a third process: this takes other memory than detecting does.
    with setting.torch_worker() as artist:
        artist.ask("build", **architecture)
        artist.ask(
            "draw", height=height, width=width, seed=setting.seed, **files
        )
    return files


def _answer(worker, files, folder):
    """Return the seconds of the first call, and what it answered."""
    path = os.path.join(folder, "answer.npz")
    worker.ask("load", **files)
    seconds = worker.ask("answer", path=path)["seconds"]
    with np.load(path) as arrays:
        return seconds, dict(arrays)


def _same(ours, theirs, threshold):
    """Refuse different objects; returns how many are the same, and how."""
    pairs = Pairs(theirs, ours, LIMITS, threshold)
    if not pairs.same or pairs.agreement < AGREEMENT:
        raise ComparisonFailed(
            "The libraries find different objects with the same weights: "
            f"{pairs.same} of {pairs.found} here and {pairs.total} there are "
            f"the same. Boxes differ by {pairs.max_box_error:.1e} px, scores "
            f"by {pairs.max_score_error:.1e}, masks by "
            f"{pairs.max_mask_error:.1e}"
        )
    return {
        "detections": pairs.same,
        "box_difference": float(pairs.max_box_error),
        "score_difference": float(pairs.max_score_error),
        "mask_difference": float(pairs.max_mask_error),
    }
