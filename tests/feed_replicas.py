"""Feeds two logical CPUs from a folder; prints what they got as JSON.

Run by test_feed.py in its own process: logical devices have to be made before
TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

from test_feed import ARGUMENTS  # noqa: E402
from test_feed import training  # noqa: E402

from eca_keras.errors import InputError  # noqa: E402
from eca_keras.training import load_source  # noqa: E402
from eca_keras.training.classification.batches import evaluation_feed  # noqa: E402


def main(root):
    split = load_source(f"folder:{root}", 0.2, check_images=False).train
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def joined(value):
        parts = strategy.experimental_local_results(value)
        assert len(parts) == 2
        return np.concatenate(parts)

    feed = training(split, strategy=strategy, on_bad_image="skip")
    seen = [
        [joined(x).sum(axis=(1, 2, 3)).tolist(), joined(y).tolist()]
        for x, y in feed.batches(2)
    ]
    evaluated = evaluation_feed(
        strategy, split, "skip", crop_fraction=0.875, **ARGUMENTS
    )
    weights = [joined(w).tolist() for _, _, w in evaluated.batches()]
    try:
        list(training(split, strategy=strategy).batches())
    except InputError as error:
        message = str(error)
    print(
        json.dumps(
            {
                "training": seen,
                "bad": [name for name, _ in feed.bad],
                "weights": weights,
                "fail": message,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
