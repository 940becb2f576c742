"""What a training run of a classifier is made of."""

from __future__ import annotations

import dataclasses
import typing

from eca_keras.training.config import POSITIVE
from eca_keras.training.config import Decayed
from eca_keras.training.config import RunConfig
from eca_keras.training.config import option
from eca_keras.training.config import shared
from eca_keras.training.config import within

AugmentationName = typing.Literal[
    "none", "flip", "shift", "shift-flip", "crop-flip"
]

FRACTION = (lambda x: 0 <= x <= 1, "must be from 0 to 1")


@dataclasses.dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of `eca-keras train`; every field is an option.

    Those of all runs are described at `RunConfig`.

    Args:
        recipe: 'small', 'fashion-mnist', 'paper-resnet', 'paper-mobilenetv2' or
            'modern': where settings come from that are not given.
        data: 'digits', 'fashion-mnist', 'fashion-mnist:FOLDER',
            'folder:PATH' or 'tfds:NAME'.
        check_images: Decode every file of a folder once before training, so
            that an unreadable one is named now and not in the middle.
        model: Name of a network, as `eca-keras info` lists them.
        image_size: Height and width in pixels; by default what suits the
            data.
        dropout: Rate of the dropout before the classifier.
        augmentation: 'none', 'flip', 'shift', 'shift-flip' or 'crop-flip'; by
            default what suits the data.
        randaugment: Strength of RandAugment, from 0 (none) to 1.
        mixup: Alpha of MixUp, 0 for none.
        cutmix: Alpha of CutMix, 0 for none. With both, each batch gets one.
        antialias: Resize crops with antialiasing, as torchvision does. It
            halves the speed of the input.
        label_smoothing: Label-smoothing factor.
    """

    recipe: str = shared("recipe", "small")
    data: str = shared("data", "digits")
    check_images: bool = option(True, "data", resume=True)
    model: str = option("ECAResNet20", "model")
    image_size: int | None = option(
        None, "model", (lambda x: x is None or x >= 8, "must be at least 8")
    )
    dropout: float = option(0.0, "model", within(0, 1))
    augmentation: AugmentationName | None = option(None, "augmentation")
    randaugment: float = option(0.0, "augmentation", FRACTION)
    mixup: float = option(0.0, "augmentation", FRACTION)
    cutmix: float = option(0.0, "augmentation", FRACTION)
    antialias: bool = option(False, "augmentation")
    label_smoothing: float = option(0.0, "augmentation", within(0, 1))
    alpha: float = option(1.0, "model", POSITIVE)
    learning_rate: float = shared("learning_rate", 0.1)
    nesterov: bool = shared("nesterov", True)
    weight_decay: float = shared("weight_decay", 5e-4)
    decayed: Decayed = shared("decayed", "kernels")
    export: list[str] | tuple[str, ...] = shared(
        "export", ("saved_model", "tflite")
    )
    output: str = shared("output", "runs/digits")

    NETWORK = "model"
    TASK = "eca_keras.training.classification.task"
