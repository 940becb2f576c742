"""What test_optimizers.py has computed in processes of its own.

Logical devices and workers have to be set up before TensorFlow starts. Each
check prints one line of JSON.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD

STEPS = 40
BATCH = 16
BAD_STEP = 3
INITIAL_SCALE = 2.0**15


def two_devices():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def network():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(3, dtype=keras.config.floatx()),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS, BATCH, 6))
    return x, rng.integers(0, 3, (STEPS, BATCH))


def train(strategy, optimizer, policy, bad_replica=None, steps=STEPS):
    """Trains `network` and returns it.

    Args:
        strategy: `tf.distribute.Strategy`; every replica gets its part of
            each batch.
        optimizer: Returns an optimizer.
        policy: Of mixed precision.
        bad_replica: The one whose images overflow in step `BAD_STEP`.
        steps: Number of steps.
    """
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        model = network()
        model.compile(
            optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, y, last_batch):
        def replica_step(x, y):
            replica = tf.distribute.get_replica_context()
            each = BATCH // strategy.num_replicas_in_sync
            start = replica.replica_id_in_sync_group * each
            x, y = x[start : start + each], y[start : start + each]
            if bad_replica is not None:
                bad = replica.replica_id_in_sync_group == bad_replica
                x = tf.where(bad & last_batch, 1e6, x)  # inf in float16
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x, y, model(x, training=True))
                loss = model.optimizer.scale_loss(loss)
            weights = model.trainable_weights
            gradients = tape.gradient(loss, [w.value for w in weights])
            model.optimizer.apply(gradients, weights)

        strategy.run(replica_step, (x, y))

    for number, (x, y) in enumerate(zip(*data(), strict=True)):
        if number == steps:
            break
        x = tf.constant(x, keras.config.floatx())
        step(x, tf.constant(y), tf.constant(number == BAD_STEP))
    return model


def replicas(strategy, model):
    """The weights on each local replica, one flat list for each."""
    values = [
        strategy.experimental_local_results(weight.value)
        for weight in model.trainable_weights
    ]
    return [
        np.concatenate([np.ravel(value.numpy()) for value in replica]).tolist()
        for replica in zip(*values, strict=True)
    ]


def check_equality():
    """Weights of one device and of two replicas, in float64."""
    keras.config.set_floatx("float64")
    strategy = two_devices()
    rates = keras.optimizers.schedules.PiecewiseConstantDecay(
        [STEPS // 2], [0.1, 0.01]
    )

    def optimizer():
        return TorchSGD(rates, momentum=0.9, weight_decay=1e-2, dampening=0.1)

    one = tf.distribute.get_strategy()
    expected = replicas(one, train(one, optimizer, "float64"))
    found = replicas(strategy, train(strategy, optimizer, "float64"))
    return {"one": expected, "two": found}


def overflow(strategy, bad_replica, steps=STEPS):
    def optimizer():
        sgd = TorchSGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
        return DistributedLossScaleOptimizer(sgd, INITIAL_SCALE)

    model = train(strategy, optimizer, "mixed_float16", bad_replica, steps)
    return {
        "bad_replica": bad_replica,
        "scale": float(model.optimizer.dynamic_scale.numpy()),
        "iterations": int(model.optimizer.iterations.numpy()),
        "replicas": replicas(strategy, model),
    }


def check_mirrored():
    """An overflow on one of two replicas."""
    strategy = two_devices()
    return [overflow(strategy, bad) for bad in (0, 1, None)]


def check_worker():
    """An overflow on one of two workers; this is one of them."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return [overflow(strategy, bad) for bad in (0, 1)]


if __name__ == "__main__":
    print(json.dumps(globals()[f"check_{sys.argv[1]}"]()))
