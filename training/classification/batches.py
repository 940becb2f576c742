"""From a `Split` to batches of uint8 images, each a function of its step."""

import functools

import numpy as np
import tensorflow as tf

from eca_keras.images.resize import shown_size
from eca_keras.training.data import feed
from eca_keras.training.data import sharding

# MixUp and CutMix mix within so many neighbours of the (random) order, for a
# result that does not depend on how many replicas split the batch. Where a
# replica's batch is no multiple of it, they mix within that.
MIX_GROUP = 16


def training_batches(
    split,
    *,
    batch_size,
    image_size,
    augmentation,
    seed,
    classes,
    first_step=0,
    last_step=None,
    context=None,
):
    """Batches in random order, randomly changed.

    Every epoch is a new permutation of the images. The last of it that do not
    fill a batch are left out: unequal shards would weigh wrong in the
    gradient of several replicas.

    Args:
        split: `Split` of training images.
        batch_size: Images per step, over all replicas.
        image_size: Height and width, in pixels.
        augmentation: `Augmentation`.
        seed: Integer; the same seed gives the same batches.
        classes: Number of classes.
        first_step: Step of the run to begin with, counted from 0 over all
            epochs.
        last_step: Step to end before; `None` for no end.
        context: `tf.distribute.InputContext` of a worker, or `None` for all
            images.

    Returns:
        Dataset of `(images, labels)`: with a context the batches of the
        worker's replicas in turn. Images are uint8 of shape
        `(batch, image_size, image_size, channels)`, labels int32 of shape
        `(batch,)` or, if the augmentation mixes images, float32 of shape
        `(batch, classes)`.
    """
    shard = sharding.Shard.of(batch_size, context)
    steps = sharding.steps_per_epoch(split, batch_size)
    if last_step is None:
        last_step = np.iinfo("int64").max // batch_size

    together = shard.size
    if augmentation.mixes and together % MIX_GROUP == 0:
        together = MIX_GROUP

    def fetch(slots):
        indices = sharding.shuffled(slots, split.size, batch_size, steps, seed)
        elements, labels = split.fetch(split.readable(indices))
        run = tf.fill([together], tf.constant(seed, tf.int64))
        return elements, labels, tf.stack([run, slots], 1)

    def change(element, label, seeds):
        content = split.content(element)
        if split.encoded:
            image = augmentation.file(
                content, split.channels, image_size, seeds
            )
        else:
            image = augmentation.image(content, image_size, seeds)
        return image, label, seeds

    def change_all(elements, labels, seeds):
        return augmentation.images(elements, image_size, seeds), labels, seeds

    def mix(images, labels, seeds):
        return augmentation.batch(images, labels, classes, seeds[0])

    slots = shard.dataset(first_step, last_step, together)
    dataset = sharding.parallel(slots, fetch)
    if split.stacked and augmentation.vectorised:
        dataset = sharding.parallel(dataset, change_all)
    else:
        dataset = sharding.parallel(dataset.unbatch(), change)
        dataset = dataset.batch(together, drop_remainder=True)
    if augmentation.mixes:
        dataset = sharding.parallel(dataset, mix)
    else:
        dataset = dataset.map(lambda images, labels, _: (images, labels))
    if together < shard.size:
        dataset = dataset.batch(shard.size // together, drop_remainder=True)
        dataset = dataset.map(lambda *groups: tuple(map(_joined, groups)))
    return sharding.finish(dataset)


def evaluation_batches(
    split,
    *,
    batch_size,
    image_size,
    crop_fraction,
    interpolation="bilinear",
    first_step=0,
    context=None,
):
    """Batches of every image once, in order, with weights.

    The last batch is filled up, so that every replica gets as many images.
    What fills it is black and has weight 0, as have images that cannot be
    read.

    Args:
        split: `Split` of images.
        batch_size: Images per step, over all replicas.
        image_size: Height and width, in pixels.
        crop_fraction, interpolation: See `images.shown_size`.
        first_step: Batch to begin with.
        context: `tf.distribute.InputContext` of a worker, or `None` for all
            images.

    Returns:
        Dataset of `(images, labels, weights)`, the weights float32, 0 or 1;
        with a context the batches of the worker's replicas in turn.
    """
    shard = sharding.Shard.of(batch_size, context)
    size = (image_size, image_size, split.channels)

    def fetch(indices):
        indices, shown = sharding.shown_indices(split, indices)
        elements, labels = split.fetch(indices)
        labels = tf.where(shown, labels, 0)
        return elements, labels, tf.cast(shown, tf.float32)

    def show(element, label, weight):
        image = tf.cond(
            weight > 0,
            lambda: shown_size(
                split.image(element), image_size, crop_fraction, interpolation
            ),
            lambda: tf.zeros(size, tf.uint8),
        )
        return tf.ensure_shape(image, size), label, weight

    def show_all(elements, labels, weights):
        shown = tf.cast(weights, tf.uint8)[:, None, None, None]
        return elements * shown, labels, weights

    steps = sharding.evaluation_steps(split, batch_size)
    slots = shard.dataset(first_step, steps, shard.size)
    dataset = sharding.parallel(slots, fetch)
    same = dataset.element_spec[0].shape[1:] == size
    if split.stacked and same and crop_fraction == 1:
        dataset = sharding.parallel(dataset, show_all)
    else:
        dataset = sharding.parallel(dataset.unbatch(), show)
        dataset = dataset.batch(shard.size, drop_remainder=True)
    return sharding.finish(dataset)


def _joined(groups):
    """Make one batch of a batch of groups."""
    count, length, *shape = groups.shape
    return tf.reshape(groups, (count * length, *shape))


training_feed = functools.partial(feed.training_feed, batches=training_batches)
evaluation_feed = functools.partial(
    feed.evaluation_feed, batches=evaluation_batches
)
