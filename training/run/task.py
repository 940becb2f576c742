"""What a run is made of, whatever it trains."""

import dataclasses
import functools
import math
import typing

import keras

from eca_keras.errors import InputError
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.cluster import check_batch_size
from eca_keras.training.run.curves import Panel
from eca_keras.utils.keras_graph import ModelGraph


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run is made of; nothing of it is on disk yet.

    A subclass says how images are fed, how a model is measured, and what is
    said about it.

    Attributes:
        config: `TrainConfig` or another with the settings of a run.
        cluster: `Cluster`, entered.
        source: The data: its `train`, `validation` and, in some, `test` have
            a `size`, its `notes` are for the user.
        task: Such as `Classification`, with the model.
        schedule: Learning rate over the steps.
        optimizer: Keras optimizer, not built yet.
        steps: Steps per epoch.
    """

    config: object
    cluster: Cluster
    source: object
    task: object
    schedule: keras.optimizers.schedules.LearningRateSchedule
    optimizer: keras.optimizers.Optimizer
    steps: int

    # Parts of the data.
    PARTS: typing.ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    # Figures that an evaluation gives.
    figures: typing.ClassVar[typing.Any] = ()
    # How figures are said, by their names.
    WORDS: typing.ClassVar[dict[str, str]] = {}
    # The pictures of `curves.png`, `Panel` each.
    panels: typing.ClassVar[typing.Any] = (
        Panel("Loss", {"loss": "training"}),
        Panel("Learning rate", {"learning_rate": None}),
    )

    def training_feed(self):
        """Returns the `Feed` of training, whose batches `task.learn` takes."""
        raise NotImplementedError

    def evaluation_feed(self, part):
        """Returns the `Feed` of an evaluation on one of `PARTS`."""
        raise NotImplementedError

    def measure(self, part, interrupted=lambda: False):
        """Measures the model.

        Args:
            part: One of `PARTS`.
            interrupted: Tells whether this host was asked to stop.

        Returns:
            Dictionary of `figures`, the same on all hosts, or `None` if any
            host was asked to stop.
        """
        raise NotImplementedError

    def score(self, row):
        """How good an epoch is: a tuple, the greatest of which is the best.

        Args:
            row: A row of `history.csv`; `val_` marks figures of validation.

        Returns:
            `None` where the epoch was not measured.
        """
        raise NotImplementedError

    def save_settings(self, folder):
        """Writes what belongs to the models in a folder."""
        raise NotImplementedError

    @property
    def named(self):
        """What `metrics.json` calls the network."""
        raise NotImplementedError

    @property
    def title(self):
        """What the first line of a run calls the network."""
        raise NotImplementedError

    @property
    def resolved(self):
        """Settings that follow from others, as the plan shows them."""
        raise NotImplementedError

    @property
    def averages(self):
        """Whether a moving average of the weights is measured and saved."""
        return False

    @property
    def notes(self):
        """Sentences that the user should see before the training."""
        return self.source.notes

    @property
    def slots(self):
        """How many numbers the optimizer keeps for a learned one."""
        raise NotImplementedError

    @property
    def outputs_per_image(self):
        """How many numbers all layers answer for an image."""
        return count_outputs(self.task.model)

    @property
    def clip_norm(self):
        """Largest norm of the gradients, see `Trainer`."""
        return None

    def measures(self, epoch):
        """Whether the model is measured after an epoch, counted from 1."""
        return True

    @property
    def final_part(self):
        """The part that the final figures are for."""
        return "validation"

    @property
    def total_steps(self):
        return self.config.epochs * self.steps

    @functools.cached_property
    def _feeds(self):
        return {}

    def feed(self, part):
        """Returns a feed, always the same, for it knows the bad images.

        Args:
            part: `"training"`, or one of `PARTS` to evaluate on.
        """
        if part not in self._feeds:
            self._feeds[part] = (
                self.training_feed()
                if part == "training"
                else self.evaluation_feed(part)
            )
        return self._feeds[part]

    @property
    def bad_images(self):
        """`(name, reason)` of every image met that cannot be read."""
        return [image for feed in self._feeds.values() for image in feed.bad]

    def words(self, values):
        """Says those of `WORDS` that there are, with commas between them."""
        return ", ".join(
            text.format(values[name])
            for name, text in self.WORDS.items()
            if values.get(name) is not None
        )


def count_outputs(model):
    """Counts the numbers that all layers of a functional model answer.

    Args:
        model: Functional model with inputs of a known size.

    Returns:
        Their number for one element of a batch.
    """
    return sum(
        count_outputs(node.operation)
        if isinstance(node.operation, keras.Model)
        else sum(math.prod(tensor.shape[1:]) for tensor in node.outputs)
        for node in ModelGraph(model).nodes
    )


def check_devices(config, strategy):
    """Refuses settings that the replicas cannot share."""
    check_batch_size(config.batch_size, strategy)
    replicas = strategy.num_replicas_in_sync
    if config.xla and replicas > 1:
        raise InputError(
            "`xla` must be False with several replicas, which XLA cannot "
            f"compile here. Received: xla=True with {replicas} replicas"
        )


def check_enough_images(config, source):
    """Refuses a batch that is larger than the training data."""
    if config.batch_size > source.train.size:
        raise InputError(
            "`batch_size` must not exceed the number of training images, "
            f"{source.train.size}. Received: batch_size={config.batch_size}"
        )
