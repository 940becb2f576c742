"""Which devices a run computes on."""

import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.training.config import STRATEGIES


def make_strategy(name):
    """Returns the `tf.distribute.Strategy` for a name.

    Args:
        name: `"auto"` (all GPUs, or else the CPU), `"one-device"`, or
            `"mirrored"` (all GPUs, or else all logical CPUs).
    """
    if name not in STRATEGIES:
        raise InputError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. "
            f"Received: strategy={name!r}"
        )
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one-device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def check_batch_size(batch_size, strategy):
    """Refuses a batch that does not divide among the replicas."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"`batch_size` must be a multiple of the {replicas} replicas. "
            f"Received: batch_size={batch_size}"
        )
