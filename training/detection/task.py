"""From a `DetectConfig` to the task of a run."""

import keras

from eca_keras.applications.detection.faster_rcnn import POSITIVES
from eca_keras.errors import require
from eca_keras.training import schedules
from eca_keras.training.classification.model import precision_policy
from eca_keras.training.data.sharding import steps_per_epoch
from eca_keras.training.detection.average_precision import MASK
from eca_keras.training.detection.average_precision import metric_names
from eca_keras.training.detection.batches import evaluation_feed
from eca_keras.training.detection.batches import training_feed
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.evaluation import DetectionEvaluator
from eca_keras.training.detection.model import build_detector
from eca_keras.training.detection.model import make_backbone
from eca_keras.training.detection.objective import Detection
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.optimizers import make_optimizer
from eca_keras.training.optimizers import synchronize
from eca_keras.training.run.curves import Panel
from eca_keras.training.run.history import VALIDATION
from eca_keras.training.run.task import Task
from eca_keras.training.run.task import Wording
from eca_keras.training.run.task import check_devices
from eca_keras.training.run.task import count_outputs
from eca_keras.utils.checks import refusal

SHOWN = {
    "loss": "loss {:.3f}",
    "AP": "AP {:.3f}",
    "AP50": "AP50 {:.3f}",
    f"{MASK}AP": "mask AP {:.3f}",
}


def make_task(config, cluster) -> Task:
    """Return the task of a `DetectConfig`.

    Args:
        config: `DetectConfig`.
        cluster: `Cluster`, entered.

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
    steps = steps_per_epoch(source.train, config.batch_size)
    schedule = schedules.learning_rate(config, steps)
    with cluster.strategy.scope():
        model = build_detector(config, backbone, len(source.class_names))
        if config.sync_batchnorm:
            synchronize(model)
        optimizer = make_optimizer(config, schedule, model)
    settings = DetectionSettings(
        class_names=source.class_names,
        category_ids=source.category_ids,
        height=config.height,
        width=config.width,
    )
    objective = Detection(model, settings, optimizer)
    return Task(
        config=config,
        cluster=cluster,
        source=source,
        objective=objective,
        settings=settings,
        schedule=schedule,
        optimizer=optimizer,
        make_feed=lambda name: _feed(config, cluster.strategy, source, name),
        measure=DetectionEvaluator(cluster, objective).evaluate,
        score=lambda row: best_average_precision(row, config.masks),
        wording=_wording(config, source, objective),
        outputs_per_image=_outputs_per_image(config, model),
    )


def best_average_precision(row, masks):
    """The score of detection: AP of the masks, if there are any, or boxes."""
    ap = row[f"{VALIDATION}{MASK if masks else ''}AP"]
    return None if ap is None else (ap,)


def _wording(config, source, objective):
    kinds = {"boxes": "", **({"masks": MASK} if config.masks else {})}
    lines = {
        f"{VALIDATION}{prefix}{name}": f"{kind}, {overlap}"
        for kind, prefix in kinds.items()
        for name, overlap in (("AP", "0.50 to 0.95"), ("AP50", "0.50"))
    }
    losses = {
        name: name.removesuffix("_loss").replace("_", " ")
        for name in objective.names
    }
    return Wording(
        network={"detector": config.detector, "backbone": config.backbone},
        title=f"{config.detector} on {config.backbone}",
        metrics=metric_names(config.masks),
        shown=SHOWN,
        panels=(
            Panel("Losses in training", losses),
            Panel("Average precision in validation, by IoU", lines),
            Panel("Learning rate", {"learning_rate": None}),
        ),
        resolved={},
        notes=source.notes
        + source.train.notes_on_crowded_images(config.max_objects),
    )


def _feed(config, strategy, source, name):
    """Make the feed of training, or of a split to evaluate on."""
    common = {
        "on_bad_image": config.on_bad_image,
        "batch_size": config.batch_size,
        "input_shape": config.input_shape,
    }
    if name != "training":
        return evaluation_feed(strategy, getattr(source, name), **common)
    return training_feed(
        strategy,
        source.train,
        seed=config.seed,
        flip=config.augmentation == "flip",
        max_objects=config.max_objects,
        masks=config.masks,
        last_step=config.epochs * (source.train.size // config.batch_size),
        **common,
    )


def _outputs_per_image(config, model):
    regions = {"box_head": 1.0, "mask_head": POSITIVES}
    return count_outputs(model) + sum(
        int(fraction * config.proposal_samples) * count_outputs(head)
        for name, fraction in regions.items()
        if (head := getattr(model, name, None))
    )
