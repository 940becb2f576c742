"""What a training run of a detector is made of."""

from __future__ import annotations

import dataclasses
import typing

from eca_keras.applications.registry import BUILDERS
from eca_keras.applications.registry import DETECTORS
from eca_keras.training.config import COUNT
from eca_keras.training.config import POSITIVE
from eca_keras.training.config import OptimizerName
from eca_keras.training.config import RunConfig
from eca_keras.training.config import at_least
from eca_keras.training.config import option
from eca_keras.training.config import or_none
from eca_keras.training.config import shared
from eca_keras.utils.checks import check_choice
from eca_keras.utils.checks import refusal

RATED_BATCH = 16  # images a step that mmdet's learning rates are for

# Of an ECAMobileNetV2 where no width is given: it suits small images.
ALPHA = 0.35


@dataclasses.dataclass(frozen=True)
class DetectConfig(RunConfig):
    """Settings of `eca-keras detect train`; every field is an option.

    Those of all runs are described at `RunConfig`.

    Args:
        recipe: 'shapes' or '1x' (of mmdet, on COCO): where settings come from
            that are not given.
        data: 'shapes', 'shapes:N', 'coco:FOLDER',
            'coco:IMAGES,ANNOTATIONS.json' or 'tfds:coco/2017'.
        max_objects: Objects of a training image; of more, the largest are
            kept.
        keep_empty: Train on images without objects, too.
        on_bad_annotation: 'skip' leaves out annotations that break a rule and
            counts them. 'fail' names the first one and stops.
        detector: 'RetinaNet', 'FasterRCNN' or 'MaskRCNN'.
        backbone: Name of a network with the stages C2 to C5.
        backbone_weights: Where the backbone starts from: the folder of an
            `eca-keras train` run, a .keras or .weights.h5 file, a PyTorch
            checkpoint, or the name of public weights. By default at random.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (of the
            released detector), an odd integer, or one per stage.
        alpha: Width multiplier of an ECAMobileNetV2, 0.35 if it is not given.
        height: Height of the detector's input, in pixels. Images keep their
            ratio, fit into it and are padded.
        width: Width of the detector's input, in pixels.
        frozen_stages: Number of stages that do not train, beside the stem.
        frozen_batchnorm: Keep the statistics of the backbone's BatchNorm as
            they are.
        filters: Channels of the feature pyramid and of the heads'
            convolutions.
        units: Width of the dense layers of Faster and Mask R-CNN.
        head_initializer: Initializer of the hidden convolutions of
            RetinaNet's heads: 'normal' (0.01, as in the paper) or 'he_normal'
            (learns faster with few filters).
        anchor_size: Side of the smallest anchors, in pixels. Those of each
            further level are twice as large.
        anchor_samples: Anchors of an image that a step of Faster or Mask
            R-CNN learns from.
        proposal_samples: Proposals of an image that a step learns from.
        train_proposals: Proposals of an image in training.
        proposals: Proposals of an image in evaluation.
        augmentation: 'none', or 'flip' to mirror half of the images.
        learning_rate: Peak of the schedule. 'None': that of mmdet's schedules
            for 16 images, 0.01 for RetinaNet and 0.02 for the others.
    """

    recipe: str = shared("recipe", "shapes")
    data: str = shared("data", "shapes:512")
    max_objects: int = option(10, "data", COUNT)
    keep_empty: bool = option(False, "data")
    on_bad_annotation: typing.Literal["skip", "fail"] = option(
        "skip", "data", resume=True
    )
    detector: str = option("RetinaNet", "model")
    backbone: str = option("ECAMobileNetV2", "model")
    backbone_weights: str | None = option(None, "model")
    alpha: float | None = shared("alpha", None)
    height: int = option(128, "model", at_least(32))
    width: int = option(128, "model", at_least(32))
    frozen_stages: int = option(
        0, "model", (lambda x: 0 <= x <= 4, "must be from 0 to 4")
    )
    frozen_batchnorm: bool = option(True, "model")
    filters: int = option(64, "model", COUNT)
    units: int = option(128, "model", COUNT)
    head_initializer: typing.Literal["normal", "he_normal"] = option(
        "he_normal", "model"
    )
    anchor_size: int = option(32, "model", COUNT)
    anchor_samples: int = option(64, "model", COUNT)
    proposal_samples: int = option(64, "model", COUNT)
    train_proposals: int = option(500, "model", COUNT)
    proposals: int = option(200, "model", COUNT)
    augmentation: typing.Literal["none", "flip"] = option(
        "flip", "augmentation"
    )
    epochs: int = shared("epochs", 10)
    batch_size: int = shared("batch_size", 8)
    optimizer: OptimizerName = shared("optimizer", "adam")
    learning_rate: float | None = option(2e-3, "optimizer", or_none(POSITIVE))
    warmup: float = shared("warmup", 40 / 640)
    clip_norm: float = shared("clip_norm", 10.0)
    validation_every: int = shared("validation_every", 2)
    output: str = shared("output", "runs/shapes")

    NETWORK = "backbone"
    TASK = "eca_keras.training.detection.task"

    def __post_init__(self) -> None:
        check_choice("detector", self.detector, DETECTORS)
        check_choice("backbone", self.backbone, BUILDERS)
        super().__post_init__()
        rated = {"optimizer": "sgd", "base_batch_size": RATED_BATCH}
        for name, value in rated.items():
            if self.learning_rate is None and getattr(self, name) != value:
                rule = f"must be {value!r} with learning_rate=None"
                raise refusal(name, getattr(self, name), rule)
        if self.sync_batchnorm and self.frozen_batchnorm:
            rule = "must be False with frozen_batchnorm=True"
            raise refusal("sync_batchnorm", self.sync_batchnorm, rule)

    @property
    def base_learning_rate(self) -> float:
        """The learning rate for `base_batch_size` images a step."""
        if self.learning_rate is None:
            return DETECTORS[self.detector].learning_rate
        return self.learning_rate

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, 3)

    @property
    def backbone_alpha(self) -> float:
        """Width of the backbone, times the standard one."""
        if self.alpha is not None:
            return self.alpha
        return ALPHA if self.backbone == "ECAMobileNetV2" else 1

    @property
    def masks(self) -> bool:
        """Whether objects have masks."""
        return DETECTORS[self.detector].masks
