"""Trains 40 steps in float64 on one device, two replicas or two hosts.

Run by test_distributed.py in processes of its own: `equality.py FOLDER NAME
[--replicas 2] [--sync] [--steps-schedule]`, with TF_CONFIG for several hosts.
Writes FOLDER/NAME.npz with all variables and the metrics of an evaluation
whose last batch has one image.
"""

import argparse
import os
import pathlib

import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("name")
parser.add_argument("--replicas", type=int, default=1)
parser.add_argument("--sync", action="store_true")
parser.add_argument("--no-batchnorm", action="store_true")
parser.add_argument("--stepped", action="store_true")
options = parser.parse_args()
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * options.replicas,
)

import keras  # noqa: E402

from eca_keras import ECA  # noqa: E402
from eca_keras.training.classification.augmentation import Augmentation  # noqa: E402
from eca_keras.training.classification.batches import evaluation_feed  # noqa: E402
from eca_keras.training.classification.batches import training_feed  # noqa: E402
from eca_keras.training.classification.objective import Classification  # noqa: E402
from eca_keras.training.data.source import array_split  # noqa: E402
from eca_keras.training.optimizers import TorchSGD  # noqa: E402
from eca_keras.training.optimizers import synchronize  # noqa: E402
from eca_keras.training.run.cluster import Cluster  # noqa: E402
from eca_keras.training.run.evaluation import Evaluator  # noqa: E402
from eca_keras.training.run.step import Trainer  # noqa: E402

BATCH = 16
STEPS = 40


def build():
    images = keras.Input((8, 8, 1), name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, padding="same", strides=2)(x)
        if not options.no_batchnorm:
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = ECA()(keras.layers.ReLU()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(4)(x)
    model = keras.Model(images, keras.layers.Softmax()(logits))
    return model, keras.Model(images, logits)


def learning_rate():
    if not options.stepped:
        return 0.1
    return keras.optimizers.schedules.ExponentialDecay(
        0.1, decay_steps=STEPS // 2, decay_rate=0.1, staircase=True
    )


def main():
    keras.config.set_floatx("float64")
    name = "mirrored" if options.replicas > 1 else "auto"
    with Cluster(name, timeout=120) as cluster:
        # Several hosts must know each other before anything is computed.
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (81, 8, 8, 1), dtype="uint8")
        split = array_split(images, np.argmax(images[:, :4, 0, 0], 1))
        keras.utils.set_random_seed(1)
        strategy = cluster.strategy
        with strategy.scope():
            model, logits = build()
            if options.sync:
                synchronize(model)
            optimizer = TorchSGD(
                learning_rate(), momentum=0.9, nesterov=True, weight_decay=1e-2
            )
        task = Classification(model, logits)
        trainer = Trainer(cluster, task, optimizer, BATCH)
        feed = training_feed(
            strategy,
            split,
            batch_size=BATCH,
            image_size=8,
            augmentation=Augmentation("shift-flip"),
            seed=3,
            classes=4,
            last_step=STEPS,
        )
        for batch in feed.batches(0):
            trainer.train(batch)
        trained = trainer.means()
        shown = evaluation_feed(
            strategy, split, batch_size=BATCH, image_size=8, crop_fraction=1.0
        )
        figures = Evaluator(cluster, task).evaluate(shown.batches())
        arrays = {str(i): v.numpy() for i, v in enumerate(trainer.variables)}
        np.savez(
            options.folder / f"{options.name}-{cluster.index}.npz",
            **arrays,
            trained=list(trained.values()),
            evaluated=list(figures.values()),
            replicas=strategy.num_replicas_in_sync,
        )
        cluster.share(None)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
