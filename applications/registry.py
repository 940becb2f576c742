"""All builders and detectors by name: the one list, free of Keras.

A new network or detector is its module and a row here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from eca_keras.utils.checks import check_choice
from eca_keras.utils.lazy import load

if TYPE_CHECKING:
    import keras

_RESNET = "eca_keras.applications.resnet"
_DETECTION = "eca_keras.applications.detection"


@dataclasses.dataclass(frozen=True)
class Builder:
    """A row of `BUILDERS`.

    Attributes:
        module: Where the builder is; its table says what it builds.
        default_size: Height and width of its images, in pixels.
    """

    module: str = _RESNET
    default_size: int = 224


@dataclasses.dataclass(frozen=True)
class DetectorRow:
    """A row of `DETECTORS`.

    Attributes:
        module: Where the class is.
        learning_rate: That of mmdet's schedules, for 16 images a step.
        options: Names of the arguments that not all detectors have.
        masks: Whether it needs and gives masks.
    """

    module: str
    learning_rate: float
    options: tuple[str, ...] = ()
    masks: bool = False


BUILDERS = {
    "ECAResNet18": Builder(),
    "ECAResNet34": Builder(),
    "ECAResNet50": Builder(),
    "ECAResNet101": Builder(),
    "ECAResNet152": Builder(),
    "ECAResNet26T": Builder(),
    "ECAResNet50T": Builder(),
    "ECAResNet50D": Builder(),
    "ECAResNet101D": Builder(),
    "ECAResNet200D": Builder(),
    "ECAResNet269D": Builder(),
    "ECAResNetLight": Builder(),
    "ECAResNet50DPruned": Builder(),
    "ECAResNet101DPruned": Builder(),
    "ECAResNeXt26T": Builder(),
    "ECAResNeXt50T": Builder(),
    "ECAResNeXt50_32x4d": Builder(),
    "ECAResNeXt101_32x8d": Builder(),
    "ECAResNet20": Builder(default_size=32),
    "ECAResNet32": Builder(default_size=32),
    "ECAResNet56": Builder(default_size=32),
    "ECAMobileNetV2": Builder("eca_keras.applications.mobilenet_v2"),
}

_TWO_STAGES = (
    *("units", "train_proposals", "proposals"),
    *("anchor_samples", "proposal_samples"),
)
DETECTORS = {
    "RetinaNet": DetectorRow(
        f"{_DETECTION}.retinanet", 0.01, ("head_initializer",)
    ),
    "FasterRCNN": DetectorRow(f"{_DETECTION}.faster_rcnn", 0.02, _TWO_STAGES),
    "MaskRCNN": DetectorRow(
        f"{_DETECTION}.mask_rcnn", 0.02, _TWO_STAGES, masks=True
    ),
}


def check_builder(name: str, argument: str = "model") -> None:
    """Refuse what is no name of a builder.

    Args:
        name: What was passed.
        argument: What the argument is called where it was passed.
    """
    check_choice(argument, name, BUILDERS)


def find_builder(name: str) -> Callable[..., keras.Model]:
    """Return the builder of a name."""
    check_builder(name)
    return load(f"{BUILDERS[name].module}:{name}")


def find_detector(name: str) -> type[keras.Model]:
    """Return the detector's class of a name."""
    check_choice("detector", name, DETECTORS)
    return load(f"{DETECTORS[name].module}:{name}")


def default_size(name: str) -> int:
    """Return height and width of the images that a builder is meant for."""
    check_builder(name)
    return BUILDERS[name].default_size


def released_kernels(name: str) -> tuple[int, ...] | None:
    """Return the released kernel sizes of a network, `None` if none were."""
    return vars(find_builder(name))["row"].released
