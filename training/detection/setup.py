"""From a `DetectConfig` to everything that a run needs."""

import dataclasses
import functools

import keras

from eca_keras.applications import detection
from eca_keras.applications.detection.faster_rcnn import POSITIVES
from eca_keras.applications.detection.heads import KERNEL_INITIALIZER
from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.classification.model import precision_policy
from eca_keras.training.config import refusal
from eca_keras.training.detection.average_precision import MASK
from eca_keras.training.detection.average_precision import figure_names
from eca_keras.training.detection.data import evaluation_feed
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.data import training_feed
from eca_keras.training.detection.evaluation import DetectionEvaluator
from eca_keras.training.detection.model import make_backbone
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.detection.task import Detection
from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD
from eca_keras.training.run.curves import Panel
from eca_keras.training.run.history import VALIDATION
from eca_keras.training.run.task import Job
from eca_keras.training.run.task import check_devices
from eca_keras.training.run.task import check_enough_images
from eca_keras.training.run.task import count_outputs
from eca_keras.training.schedules import StepsAfterWarmUp

LEVELS = 5  # of the pyramid, each with anchors twice as large

HEAD_INITIALIZERS = {"normal": KERNEL_INITIALIZER, "he_normal": "he_normal"}


@dataclasses.dataclass(frozen=True)
class DetectionSetup(Job):
    """What a run of detection is made of; nothing of it is on disk yet.

    Attributes:
        settings: `DetectionSettings` that go with the model.
    """

    settings: DetectionSettings

    PARTS = ("train", "validation")
    WORDS = {
        "loss": "loss {:.4f}",
        "AP": "AP {:.3f}",
        "AP50": "AP50 {:.3f}",
        "mask_AP": "mask AP {:.3f}",
    }

    @classmethod
    def of(cls, config, cluster):
        """Makes the parts.

        Raises:
            InputError: if something in `config` cannot be done.
        """
        require("detection", "Training of detectors", "pycocotools")
        check_devices(config, cluster.strategy)
        if config.frozen_stages and not config.backbone_weights:
            rule = "must be 0 without `backbone_weights`: at random they stay"
            raise refusal("frozen_stages", config.frozen_stages, rule)
        keras.utils.set_random_seed(config.seed)
        # Before the data: COCO's annotations take a minute.
        with cluster.strategy.scope(), precision_policy(config.precision):
            backbone = make_backbone(config)
        source = load_detection_source(
            config.data,
            validation_fraction=config.validation_fraction,
            masks=config.masks,
            keep_empty=config.keep_empty,
            on_bad_annotation=config.on_bad_annotation,
            on_bad_image=config.on_bad_image,
        )
        check_enough_images(config, source)
        steps = source.train.size // config.batch_size
        schedule = make_schedule(config, steps)
        with cluster.strategy.scope():
            model = build_detector(config, backbone, len(source.class_names))
            optimizer = make_optimizer(config, schedule)
        settings = DetectionSettings(
            class_names=source.class_names,
            category_ids=source.category_ids,
            height=config.height,
            width=config.width,
        )
        return cls(
            config=config,
            cluster=cluster,
            source=source,
            settings=settings,
            task=Detection(model, settings, optimizer),
            schedule=schedule,
            optimizer=optimizer,
            steps=steps,
        )

    @property
    def figures(self):
        return figure_names(self.config.masks)

    @property
    def panels(self):
        prefixes = {
            "boxes": "",
            **({"masks": MASK} if self.config.masks else {}),
        }
        lines = {
            f"{VALIDATION}{prefix}{name}": f"{kind}, {overlap}"
            for kind, prefix in prefixes.items()
            for name, overlap in (("AP", "0.50 to 0.95"), ("AP50", "0.50"))
        }
        parts = {
            name: name.removesuffix("_loss").replace("_", " ")
            for name in self.task.names
        }
        return (
            Panel("Losses in training", parts),
            Panel("Average precision in validation, by overlap", lines),
            Panel("Learning rate", {"learning_rate": None}),
        )

    def training_feed(self):
        config = self.config
        return training_feed(
            self.cluster.strategy,
            self.source.train,
            on_bad_image=config.on_bad_image,
            batch_size=config.batch_size,
            input_shape=config.input_shape,
            seed=config.seed,
            flip=config.flip,
            places=config.places,
            masks=config.masks,
            last_step=self.total_steps,
        )

    def evaluation_feed(self, part):
        return evaluation_feed(
            self.cluster.strategy,
            getattr(self.source, part),
            on_bad_image=self.config.on_bad_image,
            batch_size=self.config.batch_size,
            input_shape=self.config.input_shape,
        )

    @functools.cached_property
    def _evaluator(self):
        return DetectionEvaluator(self.cluster, self.task)

    def measure(self, part, interrupted=lambda: False):
        return self._evaluator.evaluate(
            getattr(self.source, part), self.feed(part).batches(), interrupted
        )

    def measures(self, epoch):
        last = epoch == self.config.epochs
        return last or epoch % self.config.validation_every == 0

    def score(self, row):
        """Average precision of the masks, if there are any, or the boxes."""
        ap = row[f"{VALIDATION}{MASK if self.config.masks else ''}AP"]
        return None if ap is None else (ap,)

    def save_settings(self, folder):
        self.settings.save(folder)

    @property
    def named(self):
        config = self.config
        return {"detector": config.detector, "backbone": config.backbone}

    @property
    def title(self):
        return f"{self.config.detector} on {self.config.backbone}"

    @property
    def resolved(self):
        return {}

    @property
    def notes(self):
        source = self.source
        return source.notes + source.train.notes_on_places(self.config.places)

    @property
    def slots(self):
        if self.config.optimizer == "adam":
            return 2
        return bool(self.config.momentum)

    @property
    def outputs_per_image(self):
        model = self.task.model
        regions = {"box_head": 1.0, "mask_head": POSITIVES}
        return count_outputs(model) + sum(
            int(share * self.config.proposal_samples) * count_outputs(head)
            for name, share in regions.items()
            if (head := getattr(model, name, None))
        )

    @property
    def clip_norm(self):
        return self.config.clip_norm or None


def build_detector(config, backbone, num_classes):
    """Builds the detector of a `DetectConfig`.

    Args:
        config: `DetectConfig`.
        backbone: What `make_backbone` gives.
        num_classes: Number of classes.

    Raises:
        InputError: with the builder's own sentence if an argument is bad.
    """
    arguments = {
        "num_classes": num_classes,
        "frozen_stages": config.frozen_stages,
        "input_shape": config.input_shape,
        "frozen_batchnorm": config.fixed_statistics,
        "filters": config.filters,
        "anchor_sizes": [config.anchor_size * 2**i for i in range(LEVELS)],
    }
    if config.detector == "RetinaNet":
        initializer = HEAD_INITIALIZERS[config.head_initializer]
        arguments["head_initializer"] = initializer
    else:
        names = ("units", "train_proposals", "proposals")
        for name in (*names, "anchor_samples", "proposal_samples"):
            arguments[name] = getattr(config, name)
    try:
        with precision_policy(config.precision):
            return getattr(detection, config.detector)(backbone, **arguments)
    except ValueError as error:
        raise InputError(str(error)) from error


def make_schedule(config, steps_per_epoch):
    """Returns the learning rate over the steps of a `DetectConfig`."""
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    if config.schedule == "steps":
        return StepsAfterWarmUp(
            peak,
            [epoch * steps_per_epoch for epoch in config.decay_epochs],
            config.decay_rate,
            warmup,
            config.warmup_start,
        )
    total = config.epochs * steps_per_epoch
    if warmup >= total:
        raise InputError(
            f"`warmup_steps` must be below the {total} steps of the run. "
            f"Received: warmup_steps={warmup}"
        )
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak * config.warmup_start if warmup else peak,
        decay_steps=total - warmup,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def make_optimizer(config, schedule):
    """Returns the optimizer that a `DetectConfig` describes."""
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule, beta_1=config.momentum)
    else:
        optimizer = TorchSGD(
            schedule,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    if config.precision == "mixed_float16":
        optimizer = DistributedLossScaleOptimizer(optimizer)
    return optimizer
