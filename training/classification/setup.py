"""From a `TrainConfig` to everything that a run needs."""

import dataclasses
import functools

import keras

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.training import schedules
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.classification.task import Classification
from eca_keras.training.data import load_source
from eca_keras.training.data.feed import evaluation_feed
from eca_keras.training.data.feed import training_feed
from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD
from eca_keras.training.run.curves import Panel
from eca_keras.training.run.evaluation import Evaluator
from eca_keras.training.run.history import best_top1
from eca_keras.training.run.history import synchronize
from eca_keras.training.run.task import Job
from eca_keras.training.run.task import check_devices
from eca_keras.training.run.task import check_enough_images


@dataclasses.dataclass(frozen=True)
class Setup(Job):
    """What a run of classification is made of; nothing of it is on disk yet.

    Attributes:
        preprocessing: `Preprocessing` that goes with the model.
    """

    preprocessing: Preprocessing

    figures = Classification.names
    WORDS = {"loss": "loss {:.4f}", "top1": "top-1 {:.2%}"}
    panels = (
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

    @classmethod
    def of(cls, config, cluster):
        """Makes the parts.

        Raises:
            InputError: if something in `config` cannot be done.
        """
        strategy = cluster.strategy
        check_devices(config, strategy)
        keras.utils.set_random_seed(config.seed)
        source = load_source(
            config.data,
            config.validation_fraction,
            config.check_images,
            on_bad_image=config.on_bad_image,
        )
        check_enough_images(config, source)
        preprocessing = Preprocessing(
            labels=source.class_names,
            image_size=config.image_size or source.image_size,
            channels=source.channels,
            crop_fraction=source.crop_fraction,
        )
        steps = source.train.size // config.batch_size
        schedule = schedules.learning_rate(config, steps)
        with strategy.scope():
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
        return cls(
            config=config,
            cluster=cluster,
            source=source,
            preprocessing=preprocessing,
            task=Classification(model, logits, config.label_smoothing),
            schedule=schedule,
            optimizer=optimizer,
            steps=steps,
        )

    def training_feed(self):
        config = self.config
        return training_feed(
            self.cluster.strategy,
            self.source.train,
            on_bad_image=config.on_bad_image,
            batch_size=config.batch_size,
            image_size=self.preprocessing.image_size,
            augmentation=Augmentation(
                config.augmentation or self.source.augmentation,
                randaugment=config.randaugment,
                mixup=config.mixup,
                cutmix=config.cutmix,
                antialias=config.antialias,
            ),
            seed=config.seed,
            classes=len(self.preprocessing.labels),
            last_step=self.total_steps,
        )

    def evaluation_feed(self, part):
        return evaluation_feed(
            self.cluster.strategy,
            getattr(self.source, part),
            on_bad_image=self.config.on_bad_image,
            batch_size=self.config.batch_size,
            image_size=self.preprocessing.image_size,
            crop_fraction=self.preprocessing.crop_fraction,
        )

    @functools.cached_property
    def _evaluator(self):
        return Evaluator(self.cluster, self.task)

    def measure(self, part, interrupted=lambda: False):
        return self._evaluator.evaluate(self.feed(part).batches(), interrupted)

    def score(self, row):
        return best_top1(row)

    def save_settings(self, folder):
        self.preprocessing.save(folder)

    @property
    def named(self):
        return {"model": self.config.model}

    @property
    def title(self):
        return self.config.model

    @property
    def resolved(self):
        config = self.config
        return {
            "augmentation": config.augmentation or self.source.augmentation,
            "image_size": self.preprocessing.image_size,
        }

    @property
    def slots(self):
        return bool(self.config.momentum) + bool(self.config.ema)

    @property
    def averages(self):
        return self.config.ema > 0

    @property
    def final_part(self):
        return "validation" if self.source.test is None else "test"


def make_optimizer(config, schedule, model):
    """Returns the optimizer that a `TrainConfig` describes."""
    optimizer = TorchSGD(
        schedule,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        use_ema=config.ema > 0,
        ema_momentum=config.ema,
        ema_overwrite_frequency=None,
    )
    if config.decayed == "kernels":
        optimizer.exclude_from_weight_decay(_not_kernels(model))
    if config.precision == "mixed_float16":
        optimizer = DistributedLossScaleOptimizer(optimizer)
    return optimizer


def _not_kernels(model):
    """Returns all trainable variables but the kernels of the network.

    The scales and offsets of BatchNormalization, the biases and the few
    weights of attention are not what makes a network overfit.
    """
    kinds = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.Dense,
    )
    kernels = {id(x.kernel) for x in model.layers if isinstance(x, kinds)}
    return [v for v in model.trainable_variables if id(v) not in kernels]
