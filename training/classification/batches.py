"""From a `Split` to batches of uint8 images, each a function of its step.

Step `t`, counted from the start of a run, has the same images, changed in the
same way, whoever asks for it: a run that goes on from there, one worker of
several, or a run on another number of devices. Nothing has a state to save.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.images.resize import shown_size

# Rounds of the cipher that permutes the indices. TensorFlow's own default of
# 4 leaves images of neighbouring indices, so of one class, together.
SHUFFLE_ROUNDS = 16

# MixUp and CutMix mix within so many neighbours of the (random) order, for a
# result that does not depend on how many replicas share the batch. Where a
# replica's batch is no multiple of it, they mix within that.
MIX_GROUP = 16


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of every global batch that one worker loads.

    Attributes:
        batch_size: Images per step, over all replicas.
        start: Position of the worker's first image in the global batch.
        replicas: Number of the worker's replicas.
        size: Images per replica.
    """

    batch_size: int
    start: int
    replicas: int
    size: int

    @classmethod
    def of(cls, batch_size, context=None):
        """Makes the share of a `tf.distribute.InputContext`, or of all."""
        if context is None:
            return cls(batch_size, 0, 1, batch_size)
        workers = context.num_input_pipelines
        replicas = context.num_replicas_in_sync
        if batch_size % replicas or replicas % workers:
            raise InputError(
                f"`batch_size` must be a multiple of the {replicas} replicas, "
                f"and these a multiple of the {workers} workers. "
                f"Received: batch_size={batch_size}"
            )
        return cls(
            batch_size,
            start=context.input_pipeline_id * batch_size // workers,
            replicas=replicas // workers,
            size=batch_size // replicas,
        )

    def slots(self, step):
        """Positions in the run of what the worker loads in a step (NumPy)."""
        first = step * self.batch_size + self.start
        return np.arange(first, first + self.replicas * self.size)

    def dataset(self, first_step, last_step, length):
        """Dataset of `length` positions each, int64, replica by replica."""
        parts = self.replicas * self.size // length

        def slots(part):
            step, part = part // parts, part % parts
            first = step * self.batch_size + self.start + part * length
            return first + tf.range(length, dtype=tf.int64)

        return tf.data.Dataset.range(first_step * parts, last_step * parts).map(
            slots
        )


def steps_per_epoch(split, batch_size):
    """Number of whole batches; the images left over are others each epoch."""
    if batch_size > split.size:
        raise InputError(
            "`batch_size` must not exceed the number of training images, "
            f"{split.size}. Received: batch_size={batch_size}"
        )
    return split.size // batch_size


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
    fill a batch are left out: unequal shares would weigh wrong in the
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
    share = Share.of(batch_size, context)
    steps = steps_per_epoch(split, batch_size)
    if last_step is None:
        last_step = np.iinfo("int64").max // batch_size

    together = share.size
    if augmentation.mixes and together % MIX_GROUP == 0:
        together = MIX_GROUP

    def fetch(slots):
        indices = shuffled(slots, split.size, batch_size, steps, seed)
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

    slots = share.dataset(first_step, last_step, together)
    dataset = parallel(slots, fetch)
    if split.stacked and augmentation.vectorised:
        dataset = parallel(dataset, change_all)
    else:
        dataset = parallel(dataset.unbatch(), change)
        dataset = dataset.batch(together, drop_remainder=True)
    if augmentation.mixes:
        dataset = parallel(dataset, mix)
    else:
        dataset = dataset.map(lambda images, labels, _: (images, labels))
    if together < share.size:
        dataset = dataset.batch(share.size // together, drop_remainder=True)
        dataset = dataset.map(lambda *groups: tuple(map(_joined, groups)))
    return finish(dataset)


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
    share = Share.of(batch_size, context)
    size = (image_size, image_size, split.channels)

    def fetch(indices):
        indices, shown = shown_indices(split, indices)
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

    steps = evaluation_steps(split, batch_size)
    slots = share.dataset(first_step, steps, share.size)
    dataset = parallel(slots, fetch)
    same = dataset.element_spec[0].shape[1:] == size
    if split.stacked and same and crop_fraction == 1:
        dataset = parallel(dataset, show_all)
    else:
        dataset = parallel(dataset.unbatch(), show)
        dataset = dataset.batch(share.size, drop_remainder=True)
    return finish(dataset)


def evaluation_steps(split, batch_size):
    """Number of batches of `evaluation_batches`."""
    return -(-split.size // batch_size)


def shown_indices(split, slots):
    """Maps positions in an evaluation to indices, and whether to show them.

    Some image that can be read stands in for what is not to be shown.
    """
    shown = (slots < split.size) & ~split.is_bad(slots)
    stand_in = split.readable(tf.zeros_like(slots))
    return tf.where(shown, slots, stand_in), shown


def indices_of_step(split, batch_size, seed, step, context=None):
    """Indices of the images of a training step.

    Args:
        split, batch_size, seed, context: As for `training_batches`.
        step: Integer, from 0 over all epochs.

    Returns:
        int64 array, of length `batch_size` without a context.
    """
    slots = tf.constant(Share.of(batch_size, context).slots(step), tf.int64)
    steps = steps_per_epoch(split, batch_size)
    indices = shuffled(slots, split.size, batch_size, steps, seed)
    return split.readable(indices).numpy()


def shuffled(slots, size, batch_size, steps, seed):
    """Maps positions in the run to indices, a permutation in each epoch.

    Args:
        slots: int64 tensor of shape `(m,)`, all of one epoch.
        size: Number of images.
        batch_size, steps: Images per step and steps per epoch.
        seed: Integer.
    """
    epoch = slots[0] // (batch_size * steps)
    return tf.raw_ops.RandomIndexShuffle(
        index=slots - epoch * (batch_size * steps),
        seed=tf.stack(
            [
                tf.constant(seed % 2**32, tf.uint32),
                tf.constant(seed // 2**32 % 2**32, tf.uint32),
                tf.cast(epoch, tf.uint32),
            ]
        ),
        max_index=tf.fill(tf.shape(slots), tf.constant(size - 1, tf.int64)),
        rounds=SHUFFLE_ROUNDS,
    )


def _joined(groups):
    """Makes one batch of a batch of groups."""
    count, length, *shape = groups.shape
    return tf.reshape(groups, (count * length, *shape))


def parallel(dataset, function):
    # Rewriting Python's conditions for the graph takes most of the time until
    # the first batch, and nothing here needs it.
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def finish(dataset):
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
