"""Trains and evaluates a Mask R-CNN on one device, two replicas or two hosts.

Run by test_detect_replicas.py in processes of its own: `detect_equality.py
FOLDER DATA NAME [--replicas 2]`, with TF_CONFIG for several hosts. A host
writes NAME-HOST.npz with all variables after two steps, and NAME-HOST.json
with the detections and figures of an evaluation with fillings.
"""

import argparse
import json
import os
import pathlib

import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("data")
parser.add_argument("name")
parser.add_argument("--replicas", type=int, default=1)
options = parser.parse_args()
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * options.replicas,
)

from detect_runs import make_confident  # noqa: E402
from detect_runs import quick  # noqa: E402

from eca_keras.training.detection.batches import evaluation_feed  # noqa: E402
from eca_keras.training.detection.batches import training_batches  # noqa: E402
from eca_keras.training.detection.evaluation import DetectionEvaluator  # noqa: E402
from eca_keras.training.detection.task import make_task  # noqa: E402
from eca_keras.training.run.cluster import Cluster  # noqa: E402
from eca_keras.training.run.step import Trainer  # noqa: E402

BATCH = 4


def settings():
    """All anchors and proposals are drawn: two replicas draw others."""
    return quick(
        options.data,
        options.folder,
        batch_size=BATCH,
        detector="MaskRCNN",
        optimizer="sgd",
        learning_rate=1e-3,
        warmup_steps=0,
        clip_norm=1.0,  # shorter than the gradients are
        anchor_samples=100_000,
        proposal_samples=1_000,
    )


def images_of(task):
    """Half a batch, which every replica gets: it divides by its own boxes."""
    config = task.config
    dataset = training_batches(
        task.source.train,
        batch_size=BATCH // 2,
        input_shape=config.input_shape,
        seed=0,
        flip=True,
        max_objects=3,
        masks=True,
        last_step=1,
    )
    return next(iter(dataset))


def main():
    name = "mirrored" if options.replicas > 1 else "auto"
    with Cluster(name, timeout=300) as cluster:
        task = make_task(settings(), cluster)
        make_confident(task.model)
        trainer = Trainer(
            cluster,
            task.objective,
            task.optimizer,
            BATCH,
            clip_norm=task.config.clip_norm,
        )
        replicas = cluster.strategy.num_replicas_in_sync
        batch = tf.nest.map_structure(
            lambda x: tf.concat([x] * (2 // replicas), 0), images_of(task)
        )
        for _ in range(2):
            trainer.train(batch)
        trained = trainer.means()
        arrays = {str(i): v.numpy() for i, v in enumerate(trainer.variables)}
        np.savez(
            options.folder / f"{options.name}-{cluster.index}.npz",
            **arrays,
            trained=list(trained.values()),
            replicas=replicas,
        )
        split = task.source.validation
        # Four images and two fillings.
        feed = evaluation_feed(
            cluster.strategy,
            split,
            batch_size=6,
            input_shape=task.config.input_shape,
        )
        evaluator = DetectionEvaluator(cluster, task.objective)
        found, image_ids = evaluator.find(split, feed.batches())
        figures = evaluator.judge(split, found, image_ids)
        result = {"found": found, "ids": image_ids, "metrics": figures}
        path = options.folder / f"{options.name}-{cluster.index}.json"
        path.write_text(json.dumps(result))
        cluster.share(None)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
