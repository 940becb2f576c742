"""Batches for any strategy, and what to do about images nobody can read."""

import concurrent.futures
import functools
import os

import numpy as np
import tensorflow as tf

from eca_keras.training.data import sharding
from eca_keras.training.data.source import NAMED
from eca_keras.training.data.source import UnreadableImage
from eca_keras.utils.checks import check_choice
from eca_keras.utils.checks import listed

ON_BAD_IMAGE = ("fail", "skip")


def check_bad_image(on_bad_image):
    """Refuse what is not in `ON_BAD_IMAGE`."""
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)


def training_feed(
    strategy, split, on_bad_image="fail", *, batches, **arguments
):
    """Make the `Feed` of training.

    Args:
        strategy: `tf.distribute.Strategy`; the default one for one device.
        split: `Split` of training images.
        on_bad_image: `"fail"`, or `"skip"` to take the next image instead of
            one that cannot be read.
        batches: What makes the dataset of them: `training_batches` of
            classification or detection.
        **arguments: Those of `batches`, without `first_step` and `context`.
    """

    def build(split, first_step, context):
        return batches(
            split, first_step=first_step, context=context, **arguments
        )

    def indices(split, step, context):
        return sharding.indices_of_step(
            split, arguments["batch_size"], arguments["seed"], step, context
        )

    # Refused now, not at the first batch.
    sharding.steps_per_epoch(split, arguments["batch_size"])
    steps = arguments.get("last_step")
    return Feed(strategy, split, on_bad_image, build, indices, steps)


def evaluation_feed(
    strategy, split, on_bad_image="fail", *, batches, **arguments
):
    """Make the `Feed` of an evaluation.

    Args:
        strategy, split: As for `training_feed`.
        on_bad_image: `"fail"`, or `"skip"` to take it for padding.
        batches, **arguments: As for `training_feed`.
    """
    batch_size = arguments["batch_size"]

    def build(split, first_step, context):
        return batches(
            split, first_step=first_step, context=context, **arguments
        )

    def indices(split, step, context):
        slots = sharding.Shard.of(batch_size, context).slots(step)
        return np.unique(sharding.shown_indices(split, slots)[0])

    steps = sharding.evaluation_steps(split, batch_size)
    return Feed(strategy, split, on_bad_image, build, indices, steps)


class Feed:
    """Batches, step by step.

    Attributes:
        steps: Step that the batches end before, `None` for no end.
        bad: `(name, reason)` of every image met so far that cannot be read.
    """

    def __init__(self, strategy, split, on_bad_image, build, indices, steps):
        """Made by `training_feed` and `evaluation_feed`.

        Args:
            strategy, split, on_bad_image: See there.
            build: Maps split, step and context to the dataset from there on.
            indices: Maps split, step and context to the indices of a step.
            steps: Step to end before, or `None`.
        """
        check_bad_image(on_bad_image)
        self.steps = steps
        self.bad = []
        self._strategy = strategy
        self._split = split
        self._on_bad_image = on_bad_image
        self._build = build
        self._indices = indices
        self._contexts = []
        self._dataset = functools.lru_cache(1)(self._make_dataset)

    def batches(self, first_step=0):
        """Iterate over the batches of the steps from `first_step` on.

        Yields:
            What the dataset has, or, for several replicas, the same as
            distributed values for `strategy.run`.

        Raises:
            UnreadableImage: for the first image that cannot be read, unless
                such images are skipped.
        """
        step = first_step
        iterator = iter(self._dataset(step))
        while self.steps is None or step < self.steps:
            try:
                batch = next(iterator)
            except tf.errors.OpError as error:
                self._skip(step, error)
                iterator = iter(self._dataset(step))
                continue
            yield batch
            step += 1

    def _make_dataset(self, first_step):
        if self._strategy.num_replicas_in_sync == 1:
            self._contexts = [None]
            return self._build(self._split, first_step, None)
        self._contexts = []

        def build(context):
            self._contexts.append(context)
            return _endless(self._build(self._split, first_step, context))

        return self._strategy.distribute_datasets_from_function(build)

    def _skip(self, step, error):
        """Find out which images of a step made it fail.

        A step without one fails with its own error.
        """
        indices = np.concatenate(
            [self._indices(self._split, step, c) for c in self._contexts]
        )
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            errors = list(pool.map(self._try, indices))
        bad = {int(i): e for i, e in zip(indices, errors, strict=True) if e}
        if not bad:
            raise error
        if self._on_bad_image == "fail":
            raise next(iter(bad.values())) from None
        self.bad += [(error.name, error.reason) for error in bad.values()]
        self._split = self._split.skip(bad)
        self._dataset.cache_clear()

    def _try(self, index):
        try:
            self._split.read(int(index))
        except UnreadableImage as error:
            return error
        return None


def summary(bad):
    """Return a line about which images could not be read.

    Args:
        bad: Non-empty list of `(name, reason)`, as `Feed.bad`.
    """
    count = f"{len(bad)} images" if len(bad) > 1 else "1 image"
    named = listed([f"{name} ({reason})" for name, reason in bad], NAMED)
    return f"{count} could not be read: {named}"


def _endless(dataset):
    """Continue a dataset with zeros for ever.

    Where a dataset may end, the workers ask one another before every batch
    whether it did.
    """
    zeros = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), dataset.element_spec
    )
    zeros = tf.data.Dataset.from_tensors(zeros).repeat()
    return dataset.concatenate(zeros).apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )
