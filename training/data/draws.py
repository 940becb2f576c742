"""Random numbers that depend on seeds alone, for many seeds at once.

TensorFlow's stateless generators take one seed for a whole tensor. Here every
image has its own, so that it looks the same in whatever batch it is.
"""

import concurrent.futures
import functools

import keras
import numpy as np
import tensorflow as tf

# SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number
# Generators, OOPSLA 2014.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def uniform(seeds, stream, count):
    """Draw numbers in [0, 1).

    Args:
        seeds: int64 tensor of shape `(..., 2)`.
        stream: Small integer or scalar; every use of the same seeds takes
            another one.
        count: How many numbers to draw for each seed.

    Returns:
        float32 tensor of shape `(..., count)`.
    """
    # As many bits as a float32 holds exactly.
    bits = _shift(_bits(seeds, stream, count), 40)
    return tf.cast(tf.cast(bits, tf.int32), tf.float32) * 2.0**-24


class KerasSeeds(keras.random.SeedGenerator):
    """Gives Keras's random functions seeds that follow from a tensor.

    The generators in Keras's layers count their calls in a variable, so what
    they draw depends on what was drawn before. This one counts while the
    graph is built: the first call in the graph always gets the first number.

    Args:
        seed: int64 tensor of shape `(2,)`.
        stream: As in `uniform`.
    """

    def __init__(self, seed, stream):
        # Not the base class's: that makes a variable.
        self._seed = seed
        self._stream = stream
        self._calls = 0

    def next(self, ordered=True):
        self._calls += 1
        bits = _bits(self._seed, self._stream, 2 * self._calls)[-2:]
        return tf.cast(_shift(bits, 33), tf.int32)


@functools.cache
def keras_layer(name, **arguments):
    """Make a layer of `keras.layers` for use inside `tf.data`.

    A new thread has no graph and no distribution strategy around it, so the
    variables that such layers hold (and nobody uses, see `KerasSeeds`) are
    not made in the graph of a dataset or on several workers together.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(
            getattr(keras.layers, name),
            **arguments,
            data_format="channels_last",
            dtype="float32",
        ).result()


def _bits(seeds, stream, count):
    """uint64 tensor of shape `(..., count)`."""
    seeds = tf.cast(tf.cast(seeds, tf.int64), tf.uint64)
    key = _mix(seeds[..., 0]) + seeds[..., 1]
    key = _mix(key) + tf.cast(stream, tf.uint64)
    return _mix(
        _mix(key)[..., None] + np.arange(count).astype("uint64") * _STEP
    )


def _mix(x):
    for shift, factor in _ROUNDS:
        x = tf.bitwise.bitwise_xor(x, _shift(x, shift)) * np.uint64(factor)
    return x


def _shift(x, places):
    return tf.bitwise.right_shift(x, tf.constant(places, tf.uint64))
