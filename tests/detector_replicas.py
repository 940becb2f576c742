"""Trains detectors on one device and on two logical CPUs.

Run by test_detection_training.py in its own process: logical devices have to
be made before TensorFlow starts. Prints the results as JSON.
"""

import json

import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

from detection_cases import SHAPE  # noqa: E402
from detection_cases import TARGETS  # noqa: E402
from detection_cases import images  # noqa: E402
from detection_cases import randomize  # noqa: E402
from detection_cases import tiny_backbone  # noqa: E402

from eca_keras.applications.detection import MaskRCNN  # noqa: E402
from eca_keras.applications.detection import RetinaNet  # noqa: E402


def make(kind):
    common = {"num_classes": 3, "input_shape": SHAPE, "filters": 8}
    if kind is RetinaNet:
        return RetinaNet(tiny_backbone(), **common)
    return MaskRCNN(
        tiny_backbone(),
        units=8,
        train_proposals=20,
        # All there are: two replicas draw other ones than one device.
        anchor_samples=100_000,
        proposal_samples=1_000,
        **common,
    )


def data():
    """Two equal halves: a replica divides by the boxes that it sees."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (2, 3, 28, 28)).astype("uint8")
    half = {**{name: x[:2] for name, x in TARGETS.items()}, "masks": masks}
    y = {name: np.concatenate([x, x]) for name, x in half.items()}
    x = images()[:2]
    return np.concatenate([x, x]), y


def train(kind, strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = make(kind)
        randomize(model)
        model.compile(keras.optimizers.SGD(1e-3))
    x, y = data()
    if kind is RetinaNet:
        del y["masks"]
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False)
    flat = [np.ravel(w.numpy()) for w in model.trainable_weights]
    found = model.predict(x, batch_size=4, verbose=0)
    return np.concatenate(flat), found["count"]


def main():
    results = {}
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one = tf.distribute.get_strategy()
    for kind in (RetinaNet, MaskRCNN):
        (expected, counts), (found, other_counts) = (
            train(kind, strategy) for strategy in (one, two)
        )
        results[kind.__name__] = {
            "difference": float(np.abs(found - expected).max()),
            "largest": float(np.abs(expected).max()),
            "counts": [counts.tolist(), other_counts.tolist()],
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
