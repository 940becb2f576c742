"""What a run would do, without doing it."""

import dataclasses
import math

from eca_keras.training.config import RunConfig
from eca_keras.training.optimizers import optimizer_variables
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.schedules import describe_rate

GIB = 2**30


def plan(config: RunConfig) -> list[tuple[str, str]]:
    """Return what `train` would do as a table, `(name, text)` pairs.

    Builds the network and opens the data, computes and writes nothing.

    Args:
        config: `TrainConfig` or `DetectConfig`.

    Raises:
        InputError: as `train`.
    """
    with Cluster(config.strategy, config.worker_timeout) as cluster:
        task = config.make_task(cluster)
        settings = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
        }
        settings.update(task.wording.resolved)
        settings["learning_rate"] = describe_rate(config)
        rows = {**settings, **_sizes(task)}
        return [(name, str(value)) for name, value in rows.items()]


def _sizes(task):
    model = task.model
    counts = {name: f"{split.size:,}" for name, split in task.splits.items()}
    replicas = task.cluster.strategy.num_replicas_in_sync
    return {
        f"images ({', '.join(counts)})": ", ".join(counts.values()),
        "classes": f"{len(task.source.class_names):,}",
        "replicas": replicas,
        "images per replica and step": task.config.batch_size // replicas,
        "steps per epoch": f"{task.steps:,}",
        "steps": f"{task.total_steps:,}",
        "parameters": f"{model.count_params():,}",
        "trainable parameters": f"{_count(model.trainable_variables):,}",
        "memory per replica, estimated": (
            f"{estimate_memory(task) / GIB:.2f} GiB"
        ),
    }


def _count(variables):
    return sum(math.prod(variable.shape) for variable in variables)


def estimate_memory(task) -> float:
    """Return the bytes that training takes per replica, about.

    Weights, their gradients and the optimizer's variables, and the output of
    every layer for the images of a step, which the backward pass needs;
    workspace of the kernels comes on top. In the forward pass a layer may
    keep more than its output or share it with the next one.

    Args:
        task: `Task`.
    """
    model, config = task.model, task.config
    weights = _count(model.variables)
    weights += _count(model.trainable_variables) * (
        1 + optimizer_variables(config)
    )
    images = config.batch_size // task.cluster.strategy.num_replicas_in_sync
    bytes_each = 2 if config.precision.startswith("mixed") else 4
    return 4 * weights + images * bytes_each * task.outputs_per_image
