"""Which images of a run are in which step, on which worker.

Step `t`, counted from the start of a run, has the same images, changed in the
same way, whoever asks for it: a resumed run, one worker of several, or a run
on another number of devices. Nothing has a state to save.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError

# Rounds of the cipher that permutes the indices. TensorFlow's own default of
# 4 leaves images of neighbouring indices, so of one class, together.
SHUFFLE_ROUNDS = 16


@dataclasses.dataclass(frozen=True)
class Shard:
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
        """Make the shard of a `tf.distribute.InputContext`, or of all."""
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
        """Return the positions in the run of a step, as a NumPy array."""
        first = step * self.batch_size + self.start
        return np.arange(first, first + self.replicas * self.size)

    def dataset(self, first_step, last_step, length):
        """Return a dataset of `length` int64 positions each, by replica."""
        parts = self.replicas * self.size // length

        def slots(part):
            step, part = part // parts, part % parts
            first = step * self.batch_size + self.start + part * length
            return first + tf.range(length, dtype=tf.int64)

        return tf.data.Dataset.range(first_step * parts, last_step * parts).map(
            slots
        )


def steps_per_epoch(split, batch_size):
    """Return the number of whole batches.

    The images left over are others in each epoch.
    """
    if batch_size > split.size:
        raise InputError(
            "`batch_size` must not exceed the number of training images, "
            f"{split.size}. Received: batch_size={batch_size}"
        )
    return split.size // batch_size


def evaluation_steps(split, batch_size):
    """Return the number of batches of an evaluation."""
    return -(-split.size // batch_size)


def shown_indices(split, slots):
    """Map positions in an evaluation to indices, and whether to show them.

    Some image that can be read stands in for what is not to be shown.
    """
    shown = (slots < split.size) & ~split.is_bad(slots)
    stand_in = split.readable(tf.zeros_like(slots))
    return tf.where(shown, slots, stand_in), shown


def indices_of_step(split, batch_size, seed, step, context=None):
    """Return the indices of the images of a training step.

    Args:
        split, batch_size, seed, context: As for `training_feed`.
        step: Integer, from 0 over all epochs.

    Returns:
        int64 array, of length `batch_size` without a context.
    """
    slots = tf.constant(Shard.of(batch_size, context).slots(step), tf.int64)
    steps = steps_per_epoch(split, batch_size)
    indices = shuffled(slots, split.size, batch_size, steps, seed)
    return split.readable(indices).numpy()


def shuffled(slots, size, batch_size, steps, seed):
    """Map positions in the run to indices, a permutation in each epoch.

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


def parallel(dataset, function):
    # Rewriting Python's conditions for the graph takes most of the time until
    # the first batch, and nothing here needs it.
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def finish(dataset):
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
