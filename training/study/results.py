"""What is kept of a finished run of a study."""

from __future__ import annotations

import csv
import math
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.profiling.counts import profile
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.config import deciding
from eca_keras.training.study.records import Result
from eca_keras.utils.keras_graph import kernel_sizes
from eca_keras.version import __version__


def result_of(
    config: TrainConfig,
    work: pathlib.Path,
    metrics: Mapping[str, Any],
    diverged: str | None = None,
) -> Result:
    """Return what is kept of a run.

    Args:
        config: Its `TrainConfig`.
        work: Its folder.
        metrics: What `train` returned; empty if it diverged.
        diverged: The sentence about that.
    """
    network = _build(config, work)
    counts = profile(network)
    return Result(
        settings=deciding(config),
        evaluated_on=metrics.get("evaluated_on", ""),
        images=metrics.get("images", 0),
        top1=metrics.get("top1"),
        top5=metrics.get("top5"),
        loss=metrics.get("loss"),
        best_epoch=metrics.get("best_epoch"),
        history=_history(work),
        parameters=counts.trainable_parameters,
        attention_parameters=counts.attention_parameters,
        macs=counts.macs,
        kernel_sizes=kernel_sizes(network),
        seconds=metrics.get("seconds", 0.0),
        diverged=diverged,
        versions={
            "eca-keras": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        },
    )


def _build(config, work):
    """Build the network of a run; there need not be a trained one."""
    model, _ = build_classifier(
        config.model,
        preprocessing=Preprocessing.load(work / "model.keras"),
        attention=config.attention,
        kernel_size=config.kernel_size,
        alpha=config.alpha,
    )
    return model


def _history(work):
    """Return the rows of `history.csv` as numbers."""
    try:
        with (work / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:  # it diverged in its first epoch
        return []
    return [
        {name: _number(text) for name, text in row.items()}
        | {"epoch": int(row["epoch"])}
        for row in rows
    ]


def _number(text):
    """Return a number, `None` for one that JSON cannot hold."""
    value = float(text)
    return value if math.isfinite(value) else None
