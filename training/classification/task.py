"""From a `TrainConfig` to the task of a run."""

import keras

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.training import schedules
from eca_keras.training.classification import batches
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.classification.objective import Classification
from eca_keras.training.data import load_source
from eca_keras.training.data.sharding import steps_per_epoch
from eca_keras.training.optimizers import make_optimizer
from eca_keras.training.optimizers import synchronize
from eca_keras.training.run.curves import Panel
from eca_keras.training.run.evaluation import Evaluator
from eca_keras.training.run.task import Task
from eca_keras.training.run.task import Wording
from eca_keras.training.run.task import check_devices
from eca_keras.training.run.task import count_outputs

SHOWN = {"loss": "loss {:.3f}", "top1": "top-1 {:.2%}"}
PANELS = (
    Panel(
        "Cross-entropy (nats)",
        {"loss": "training", "val_loss": "validation"},
    ),
    Panel(
        "Accuracy (%)",
        {
            "top1": "training top-1",
            "val_top1": "validation top-1",
            "val_top5": "validation top-5",
        },
        100,
    ),
    Panel("Learning rate", {"learning_rate": None}),
)


def make_task(config, cluster) -> Task:
    """Return the task of a `TrainConfig`.

    Args:
        config: `TrainConfig`.
        cluster: `Cluster`, entered.

    Raises:
        InputError: if something in `config` cannot be done.
    """
    check_devices(config, cluster.strategy)
    keras.utils.set_random_seed(config.seed)
    source = load_source(
        config.data,
        config.validation_fraction,
        config.check_images,
        on_bad_image=config.on_bad_image,
    )
    preprocessing = Preprocessing(
        labels=source.class_names,
        image_size=config.image_size or source.image_size,
        channels=source.channels,
        crop_fraction=source.crop_fraction,
    )
    steps = steps_per_epoch(source.train, config.batch_size)
    schedule = schedules.learning_rate(config, steps)
    with cluster.strategy.scope():
        model, logits = build_classifier(
            config.model,
            preprocessing=preprocessing,
            attention=config.attention,
            kernel_size=config.kernel_size,
            dropout=config.dropout,
            alpha=config.alpha,
            precision=config.precision,
        )
        if config.sync_batchnorm:
            synchronize(model)
        optimizer = make_optimizer(config, schedule, model)
    objective = Classification(model, logits, config.label_smoothing)
    evaluator = Evaluator(cluster, objective)
    feeds = _Feeds(config, cluster.strategy, source, preprocessing, steps)
    return Task(
        config=config,
        cluster=cluster,
        source=source,
        objective=objective,
        settings=preprocessing,
        schedule=schedule,
        optimizer=optimizer,
        make_feed=feeds.make,
        measure=lambda split, *arguments: evaluator.evaluate(*arguments),
        score=best_top1,
        wording=Wording(
            network={"model": config.model},
            title=config.model,
            metrics=Classification.names,
            shown=SHOWN,
            panels=PANELS,
            resolved={
                "augmentation": feeds.augmentation,
                "image_size": preprocessing.image_size,
            },
            notes=source.notes,
        ),
        outputs_per_image=count_outputs(model),
    )


def best_top1(row):
    """The score of classification: validation top-1, then negative loss.

    A small validation split has many ties of the first.
    """
    if row["val_top1"] is None:
        return None
    return row["val_top1"], -row["val_loss"]


class _Feeds:
    """Makes the feeds of a run."""

    def __init__(self, config, strategy, source, preprocessing, steps):
        self.config = config
        self.strategy = strategy
        self.source = source
        self.preprocessing = preprocessing
        self.last_step = config.epochs * steps

    @property
    def augmentation(self):
        return self.config.augmentation or self.source.augmentation

    def make(self, name):
        config = self.config
        common = {
            "on_bad_image": config.on_bad_image,
            "batch_size": config.batch_size,
            "image_size": self.preprocessing.image_size,
        }
        if name != "training":
            return batches.evaluation_feed(
                self.strategy,
                getattr(self.source, name),
                crop_fraction=self.preprocessing.crop_fraction,
                **common,
            )
        return batches.training_feed(
            self.strategy,
            self.source.train,
            augmentation=Augmentation(
                self.augmentation,
                randaugment=config.randaugment,
                mixup=config.mixup,
                cutmix=config.cutmix,
                antialias=config.antialias,
            ),
            seed=config.seed,
            classes=len(self.preprocessing.labels),
            last_step=self.last_step,
            **common,
        )
