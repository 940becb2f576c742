"""What a training run of a detector is made of."""

import dataclasses

from eca_keras.training.classification.model import BUILDERS
from eca_keras.training.config import CHOICES
from eca_keras.training.config import RANGES
from eca_keras.training.config import at_least
from eca_keras.training.config import check
from eca_keras.training.config import refusal
from eca_keras.training.config import scaled_rate
from eca_keras.training.config import within
from eca_keras.training.detection.coco.rules import ON_BAD_ANNOTATION

# Learning rates of mmdet 1's schedules, for 16 images a step.
RATES = {"RetinaNet": 0.01, "FasterRCNN": 0.02, "MaskRCNN": 0.02}
RATED_BATCH = 16

# Of an ECAMobileNetV2 where no width is given: it suits small pictures.
ALPHA = 0.35


@dataclasses.dataclass(frozen=True)
class DetectConfig:
    """Settings of `eca-keras detect train`; every field is an option.

    Args:
        recipe: Name of the recipe that the other settings come from where
            they are not given, one of `DETECT_RECIPES`.
        detector: 'RetinaNet', 'FasterRCNN' or 'MaskRCNN'.
        backbone: Name of a builder in eca_keras.applications with the stages
            C2 to C5.
        backbone_weights: Where the backbone starts from: the folder of an
            `eca-keras train` run, a .keras or .weights.h5 file, a PyTorch
            checkpoint, or the name of public weights. None: at random.
        kernel_size: 'adaptive', 'paper' (of the released detector), an odd
            integer, or a list of one per stage.
        attention: 'eca', another attention module, or 'none'.
        alpha: Width of an ECAMobileNetV2, times the standard one; 0.35 if
            it is not given.
        data: 'shapes', 'shapes:N', 'coco:FOLDER',
            'coco:IMAGES,ANNOTATIONS.json' or 'tfds:coco/2017'.
        height: Height of the network's input, in pixels. Images keep their
            ratio, fit into it and are padded.
        width: Width of the network's input, in pixels.
        epochs: Passes over the training images.
        batch_size: Images per step, over all devices and hosts together.
        optimizer: 'sgd' (as in PyTorch) or 'adam'.
        learning_rate: Peak of the schedule. None: that of mmdet's schedules,
            0.01 for RetinaNet and 0.02 for the others, for 16 images a step.
        base_batch_size: Batch size that the learning rate is meant for: it is
            scaled in proportion to `batch_size`. None: used as it is.
        schedule: 'cosine' (down to zero) or 'steps' (times `decay_rate` after
            each of `decay_epochs`).
        decay_epochs: Epochs after which 'steps' lowers the rate.
        decay_rate: Factor of each step of 'steps'.
        warmup_steps: Steps in which the learning rate rises linearly.
        warmup_start: What it rises from, as a share of the rate.
        momentum: Of 'sgd', or Adam's beta_1.
        weight_decay: Of 'sgd': times the weights is added to their gradients.
        clip_norm: Largest norm of all gradients together, 0 for any.
        frozen_stages: The stem and so many stages do not train.
        fixed_statistics: Keep the statistics of the backbone's
            BatchNormalization as they are.
        filters: Channels of the feature pyramid and of convolutions on it.
        units: Width of the dense layers of Faster and Mask R-CNN.
        head_initializer: Of the hidden convolutions of RetinaNet's heads:
            'normal' (0.01, as in the paper) or 'he_normal' (learns faster
            with few filters).
        anchor_size: Side of the smallest anchors, in pixels; those of each
            further level are twice as large.
        anchor_samples: Anchors of an image that a step of Faster or Mask
            R-CNN learns from.
        proposal_samples: The same for proposals.
        train_proposals: Proposals of an image, in training.
        proposals: Proposals of an image, in evaluation.
        flip: Mirror half of the training images.
        places: Objects of a training image; of more, the largest are kept.
        keep_empty: Train on images without objects, too.
        validation_fraction: Share of the training images that is kept back
            for validation, where the data has no such part.
        validation_every: Epochs from one evaluation to the next; there is one
            after the last epoch.
        on_bad_image: 'fail' names an unreadable image and stops, 'skip' takes
            another one instead and names it at the end.
        on_bad_annotation: 'skip' leaves out annotations that break a rule and
            counts them, 'fail' names the first one and stops.
        precision: 'float32', 'mixed_float16' or 'mixed_bfloat16'.
        xla: Compile the training step with XLA, on one device.
        strategy: 'auto' (several hosts if the environment names them, or all
            GPUs, or else the CPU), 'one-device', 'mirrored' (all GPUs, or
            else all logical CPUs), 'multi-worker' or 'tpu'.
        worker_timeout: Seconds after which a host that waits for the others
            gives up.
        checkpoint_seconds: Seconds between checkpoints within an epoch; there
            is one after every epoch.
        seed: Of the weights, the order of the images and which are mirrored.
        export: What to export the best model to: 'saved_model', 'tflite',
            'onnx'.
        output: Folder of the results. It must not hold an earlier run, unless
            that is resumed.
    """

    recipe: str = "shapes"
    detector: str = "RetinaNet"
    backbone: str = "ECAMobileNetV2"
    backbone_weights: str | None = None
    kernel_size: int | list[int] | str = "adaptive"
    attention: str = "eca"
    alpha: float | None = None
    data: str = "shapes:512"
    height: int = 128
    width: int = 128
    epochs: int = 10
    batch_size: int = 8
    optimizer: str = "adam"
    learning_rate: float | None = 2e-3
    base_batch_size: int | None = None
    schedule: str = "cosine"
    decay_epochs: list[int] | tuple[int, ...] = ()
    decay_rate: float = 0.1
    warmup_steps: int = 40
    warmup_start: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    frozen_stages: int = 0
    fixed_statistics: bool = True
    filters: int = 64
    units: int = 128
    head_initializer: str = "he_normal"
    anchor_size: int = 32
    anchor_samples: int = 64
    proposal_samples: int = 64
    train_proposals: int = 500
    proposals: int = 200
    flip: bool = True
    places: int = 10
    keep_empty: bool = False
    validation_fraction: float = 0.1
    validation_every: int = 2
    on_bad_image: str = "fail"
    on_bad_annotation: str = "skip"
    precision: str = "float32"
    xla: bool = False
    strategy: str = "auto"
    worker_timeout: float = 600.0
    checkpoint_seconds: float = 600.0
    seed: int = 0
    export: list[str] | tuple[str, ...] = ()
    output: str = "runs/shapes"

    def __post_init__(self):
        for name in ("export", "decay_epochs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check(self, DETECT_RANGES, DETECT_CHOICES)
        published = {"optimizer": "sgd", "base_batch_size": RATED_BATCH}
        for name, value in published.items():
            if self.learning_rate is None and getattr(self, name) != value:
                rule = f"must be {value!r} with learning_rate=None"
                raise refusal(name, getattr(self, name), rule)
        if self.alpha not in (None, 1) and self.backbone != "ECAMobileNetV2":
            rule = "must be 1 for all backbones but ECAMobileNetV2"
            raise refusal("alpha", self.alpha, rule)
        if self.optimizer == "adam" and self.weight_decay:
            rule = "must be 0 with optimizer='adam'"
            raise refusal("weight_decay", self.weight_decay, rule)
        self._check_decay()

    def _check_decay(self):
        epochs = self.decay_epochs
        if self.schedule == "cosine" and epochs:
            rule = "must be empty with schedule='cosine'"
            raise refusal("decay_epochs", list(epochs), rule)
        bounded = [0, *epochs, self.epochs]
        if epochs and any(
            before >= after
            for before, after in zip(bounded, bounded[1:], strict=False)
        ):
            rule = f"must rise, from 1 at least to below epochs={self.epochs}"
            raise refusal("decay_epochs", list(epochs), rule)

    @property
    def base_learning_rate(self):
        """The learning rate for `base_batch_size` images a step."""
        if self.learning_rate is None:
            return RATES[self.detector]
        return self.learning_rate

    @property
    def peak_learning_rate(self):
        """The learning rate for `batch_size` images a step."""
        return scaled_rate(self)

    @property
    def input_shape(self):
        return (self.height, self.width, 3)

    @property
    def backbone_alpha(self):
        """Width of the backbone, times the standard one."""
        if self.alpha is not None:
            return self.alpha
        return ALPHA if self.backbone == "ECAMobileNetV2" else 1

    @property
    def masks(self):
        """Whether objects have masks."""
        return self.detector == "MaskRCNN"


# Settings of `TrainConfig` that mean the same here.
_SHARED_RANGES = (
    *("epochs", "batch_size", "base_batch_size", "decay_rate", "momentum"),
    *("weight_decay", "validation_fraction", "worker_timeout"),
    *("checkpoint_seconds", "seed", "output"),
)
_COUNTS = (
    *("filters", "units", "anchor_size", "anchor_samples"),
    *("proposal_samples", "train_proposals", "proposals", "places"),
    "validation_every",
)


def _or_none(check, rule):
    return lambda x: x is None or check(x), f"{rule}, or None"


DETECT_RANGES = {
    **{name: RANGES[name] for name in _SHARED_RANGES},
    **dict.fromkeys(_COUNTS, at_least(1)),
    "height": at_least(32),
    "width": at_least(32),
    "learning_rate": _or_none(*RANGES["learning_rate"]),
    "alpha": _or_none(*RANGES["alpha"]),
    "warmup_steps": at_least(0),
    "warmup_start": within(0, 1),
    "clip_norm": at_least(0),
    "frozen_stages": (lambda x: 0 <= x <= 4, "must be from 0 to 4"),
}
DETECT_CHOICES = {
    "detector": tuple(RATES),
    "backbone": BUILDERS,
    "optimizer": ("sgd", "adam"),
    "head_initializer": ("normal", "he_normal"),
    "on_bad_annotation": ON_BAD_ANNOTATION,
    **{
        name: CHOICES[name]
        for name in ("schedule", "on_bad_image", "precision", "strategy")
    },
}
