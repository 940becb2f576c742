"""What a run is made of, whatever it trains."""

import dataclasses
import functools
import math
import typing

import keras

from eca_keras.errors import InputError
from eca_keras.training.config import RunConfig
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.cluster import check_batch_size
from eca_keras.training.run.curves import Panel
from eca_keras.utils.keras_graph import ModelGraph


@dataclasses.dataclass(frozen=True)
class Wording:
    """What is said about a run.

    Attributes:
        network: What `metrics.json` calls the network, a dictionary.
        title: What the first line of a run calls it.
        metrics: Names of what an evaluation gives.
        shown: How metrics are shown in a line, by their names.
        panels: The plots of `curves.png`.
        resolved: Settings that follow from others, as the plan shows them.
        notes: Sentences that the user should see before the training.
    """

    network: dict
    title: str
    metrics: tuple
    shown: dict
    panels: tuple[Panel, ...]
    resolved: dict
    notes: tuple = ()


@dataclasses.dataclass(frozen=True)
class Task:
    """What a run trains, on what, and how it is measured.

    It is composed by `classification.task` and `detection.task`. Nothing of
    it is on disk yet.

    Attributes:
        config: `RunConfig`.
        cluster: `Cluster`, entered.
        source: The data: its `train`, `validation` and `test` (`None` where
            there is none) have a `size`.
        objective: Has the `model`, the `names` of its losses, and
            `train_step`, which maps a batch to their sums.
        settings: What belongs to the model, with `save(folder)`.
        schedule: Learning rate over the steps.
        optimizer: Keras optimizer, not built yet.
        make_feed: Maps `"training"` or a split's name to its `Feed`.
        measure: Maps a split, its batches and a function that tells whether
            this worker was asked to stop to metrics, the same on all workers,
            or to `None` if any worker was asked to stop.
        score: Maps a row of `history.csv` to how good its epoch is, a tuple,
            the greatest of which is the best; `None` where it was not
            measured.
        wording: What is said about the run.
        outputs_per_image: How many numbers all layers give for an image.
    """

    config: RunConfig
    cluster: Cluster
    source: typing.Any
    objective: typing.Any
    settings: typing.Any
    schedule: typing.Any
    optimizer: keras.optimizers.Optimizer
    make_feed: typing.Callable
    measure: typing.Callable
    score: typing.Callable
    wording: Wording
    outputs_per_image: int

    @property
    def model(self):
        return self.objective.model

    @property
    def steps(self):
        """Steps per epoch."""
        return self.source.train.size // self.config.batch_size

    @property
    def total_steps(self):
        return self.config.epochs * self.steps

    @property
    def splits(self):
        """The splits that the data has, by name."""
        names = ("train", "validation", "test")
        splits = {name: getattr(self.source, name) for name in names}
        return {name: split for name, split in splits.items() if split}

    @property
    def final_split(self):
        """The split that the final metrics are for."""
        return "test" if "test" in self.splits else "validation"

    def evaluates(self, epoch):
        """Whether the model is evaluated after an epoch, counted from 1."""
        last = epoch == self.config.epochs
        return last or epoch % self.config.validation_every == 0

    def evaluate(self, split, interrupted=lambda: False):
        """Evaluate the model.

        Args:
            split: Name of a split.
            interrupted: Tells whether this worker was asked to stop.

        Returns:
            Dictionary of metrics, the same on all workers, or `None` if any
            worker was asked to stop.
        """
        batches = self.feed(split).batches()
        return self.measure(self.splits[split], batches, interrupted)

    @functools.cached_property
    def _feeds(self):
        return {}

    def feed(self, name):
        """Return a feed, always the same, for it knows the bad images.

        Args:
            name: `"training"`, or the split to evaluate on.
        """
        if name not in self._feeds:
            self._feeds[name] = self.make_feed(name)
        return self._feeds[name]

    @property
    def bad_images(self):
        """`(name, reason)` of every image met that cannot be read."""
        return [image for feed in self._feeds.values() for image in feed.bad]


def count_outputs(model):
    """Return how many numbers all layers of a functional model give.

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
    """Refuse settings that the replicas cannot share."""
    check_batch_size(config.batch_size, strategy)
    replicas = strategy.num_replicas_in_sync
    if config.xla and replicas > 1:
        raise InputError(
            "`xla` must be False with several replicas, which XLA cannot "
            f"compile here. Received: xla=True with {replicas} replicas"
        )
