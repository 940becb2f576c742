"""What a run would do, without doing it."""

import dataclasses
import math

from eca_keras.training.schedules import describe_rate
from eca_keras.training.setup import Setup
from eca_keras.training.strategy import Cluster

GIB = 2**30


def plan(config):
    """Returns what `train` would do as a table, `(name, text)` pairs.

    Builds the network and opens the data, computes and writes nothing.

    Args:
        config: `TrainConfig`.

    Raises:
        InputError: as `train`.
    """
    with Cluster(config.strategy, config.worker_timeout) as cluster:
        setup = Setup.of(config, cluster)
        settings = {
            field.name: str(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
        settings["augmentation"] = str(
            config.augmentation or setup.source.augmentation
        )
        settings["image_size"] = str(setup.preprocessing.image_size)
        settings["learning_rate"] = describe_rate(config)
        return [*settings.items(), *_sizes(setup).items()]


def _sizes(setup):
    model = setup.task.model
    source = setup.source
    learned = sum(math.prod(v.shape) for v in model.trainable_variables)
    counts = {
        part: f"{split.size:,}" if split else "none"
        for part in ("train", "validation", "test")
        for split in [getattr(source, part)]
    }
    replicas = setup.cluster.strategy.num_replicas_in_sync
    return {
        "images (train, validation, test)": ", ".join(counts.values()),
        "classes": f"{len(source.class_names):,}",
        "replicas": str(replicas),
        "images per replica and step": str(setup.config.batch_size // replicas),
        "steps per epoch": f"{setup.steps:,}",
        "steps": f"{setup.total_steps:,}",
        "parameters": f"{model.count_params():,}",
        "of them learned": f"{learned:,}",
        "memory per replica, estimated": (
            f"{estimate_memory(setup) / GIB:.2f} GiB"
        ),
    }


def estimate_memory(setup):
    """Returns the bytes that training holds per replica, about.

    Weights, their gradients and the optimizer's slots, and the output of
    every layer for the images of a step, which the backward pass needs;
    workspace of the kernels comes on top. In the forward pass a layer may
    keep more than its output or share it with the next one.

    Args:
        setup: `Setup`.
    """
    model, config = setup.task.model, setup.config
    weights = sum(4 * math.prod(v.shape) for v in model.variables)
    learned = sum(4 * math.prod(v.shape) for v in model.trainable_variables)
    slots = bool(config.momentum) + bool(config.ema)
    images = config.batch_size // setup.cluster.strategy.num_replicas_in_sync
    bytes_each = 2 if config.precision.startswith("mixed") else 4
    outputs = sum(
        math.prod(tensor.shape[1:])
        for layer in model.layers
        for tensor in _tensors(layer)
    )
    return weights + (1 + slots) * learned + images * bytes_each * outputs


def _tensors(layer):
    outputs = layer.output
    return outputs if isinstance(outputs, (list, tuple)) else [outputs]
