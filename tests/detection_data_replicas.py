"""Feeds two logical CPUs with objects; prints what they got as JSON.

Run by test_detection_data.py in its own process: logical devices have to be
made before TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

from test_detection_data import SHAPE  # noqa: E402
from test_detection_data import feed  # noqa: E402
from test_detection_data import sums  # noqa: E402

from eca_keras.training.detection import batches  # noqa: E402
from eca_keras.training.detection import data  # noqa: E402


def main(root):
    source = data.load_detection_source(
        f"coco:{root}", masks=True, keep_empty=True
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def joined(batch):
        def both(value):
            parts = strategy.experimental_local_results(value)
            assert len(parts) == 2
            return np.concatenate(parts)

        return tf.nest.map_structure(both, batch)

    training = feed(source.train, "fail", strategy, masks=True, last_step=3)
    evaluation = batches.evaluation_feed(
        strategy, source.validation, batch_size=6, input_shape=SHAPE
    )
    seen = {
        "training": sums([joined(batch) for batch in training.batches(1)]),
        "evaluation": sums([joined(batch) for batch in evaluation.batches()]),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
