"""Trains and evaluates on one device and on two logical CPUs.

Run by test_training.py in its own process: logical devices have to be made
before TensorFlow starts. Prints the results as JSON.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

from eca_keras.training import TrainConfig  # noqa: E402
from eca_keras.training import train  # noqa: E402
from eca_keras.training.trained import Trained  # noqa: E402


def main(folder):
    folder = pathlib.Path(folder)
    results = {}
    for strategy in ("one-device", "mirrored"):
        config = TrainConfig(
            epochs=1,
            batch_size=32,
            image_size=8,
            strategy=strategy,
            output=str(folder / strategy),
            export=(),
        )
        results[strategy] = train(config, verbose=0)
        assert (folder / strategy / "model.keras").is_file()
    trained = Trained.load(folder / "mirrored")
    # 359 images: the last batch of 179 has one image and 178 fillings.
    for strategy in ("one-device", "mirrored"):
        results[f"evaluate {strategy}"] = trained.evaluate(
            batch_size=358, strategy=strategy
        )
    results["by hand"] = by_hand(trained)
    print(json.dumps(results))


def by_hand(trained):
    """Loss and accuracy of the Keras model, in NumPy, without any batches."""
    source, _ = trained.source(None)
    images, labels = zip(*source.test.dataset, strict=True)
    shares = trained.model(np.stack(images).astype("float32")).numpy()
    labels = np.array(labels)
    right = shares[np.arange(len(labels)), labels]
    rank = (shares > right[:, None]).sum(1)
    return {
        "loss": float(-np.log(right).mean()),
        "top1": float((rank < 1).mean()),
        "top5": float((rank < 5).mean()),
    }


if __name__ == "__main__":
    main(sys.argv[1])
