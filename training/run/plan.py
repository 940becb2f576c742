"""What a run would do, without doing it."""

import dataclasses
import math

from eca_keras.training.classification.setup import Setup
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.schedules import describe_rate

GIB = 2**30


def plan(config, prepare=Setup.of):
    """Returns what `train` would do as a table, `(name, text)` pairs.

    Builds the network and opens the data, computes and writes nothing.

    Args:
        config: `TrainConfig`, or what `prepare` takes.
        prepare: Maps it and the `Cluster` to a `Job`.

    Raises:
        InputError: as `train`.
    """
    with Cluster(config.strategy, config.worker_timeout) as cluster:
        job = prepare(config, cluster)
        settings = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
        }
        settings.update(job.resolved)
        settings["learning_rate"] = describe_rate(config)
        rows = {**settings, **_sizes(job)}
        return [(name, str(value)) for name, value in rows.items()]


def _sizes(job):
    model = job.task.model
    source = job.source
    learned = sum(math.prod(v.shape) for v in model.trainable_variables)
    counts = {
        part: f"{split.size:,}" if split else "none"
        for part in job.PARTS
        for split in [getattr(source, part)]
    }
    replicas = job.cluster.strategy.num_replicas_in_sync
    return {
        f"images ({', '.join(counts)})": ", ".join(counts.values()),
        "classes": f"{len(source.class_names):,}",
        "replicas": replicas,
        "images per replica and step": job.config.batch_size // replicas,
        "steps per epoch": f"{job.steps:,}",
        "steps": f"{job.total_steps:,}",
        "parameters": f"{model.count_params():,}",
        "of them learned": f"{learned:,}",
        "memory per replica, estimated": (
            f"{estimate_memory(job) / GIB:.2f} GiB"
        ),
    }


def estimate_memory(job):
    """Returns the bytes that training holds per replica, about.

    Weights, their gradients and the optimizer's slots, and the output of
    every layer for the images of a step, which the backward pass needs;
    workspace of the kernels comes on top. In the forward pass a layer may
    keep more than its output or share it with the next one.

    Args:
        job: `Job`.
    """
    model, config = job.task.model, job.config
    weights = sum(4 * math.prod(v.shape) for v in model.variables)
    learned = sum(4 * math.prod(v.shape) for v in model.trainable_variables)
    images = config.batch_size // job.cluster.strategy.num_replicas_in_sync
    bytes_each = 2 if config.precision.startswith("mixed") else 4
    outputs = images * bytes_each * job.outputs_per_image
    return weights + (1 + job.slots) * learned + outputs
