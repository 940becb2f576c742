"""Latency of networks in the runtimes that they are exported to."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import model_input
from eca_keras.export.formats import FORMATS
from eca_keras.profiling import tables
from eca_keras.profiling import timing
from eca_keras.utils import checks
from eca_keras.utils.figures import new_figure
from eca_keras.utils.figures import save_figure
from eca_keras.utils.types import PathLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeLatency(tables.Timing):
    """How fast a model is in a runtime, beside the first model in it.

    Attributes:
        model: Name of the model.
        runtime: One of `RUNTIMES`.
        batch_size: Samples per call.
        threads: Threads that a call may use.
        samples_per_second: `batch_size / seconds`.
        size: Bytes of the exported file; of the weights where there is none.
        runtime_ratio: Median over the rounds of this model's time by that of
            the same model in the first runtime.
    """

    model: str
    runtime: str
    batch_size: int
    threads: int
    samples_per_second: float
    size: int
    runtime_ratio: float


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model in a runtime: a call that waits for its outputs, and bytes."""

    step: Callable[[], Any]
    size: int


def benchmark_runtimes(
    models: Mapping[str, keras.Model | Callable[[], keras.Model]],
    *,
    runtimes: Sequence[str] = ("keras", "tflite", "tflite-int8", "onnx"),
    batch_size: int = 1,
    threads: int = 1,
    rounds: int = 20,
    warmup: int = 3,
    seed: int = 0,
    progress: Callable[[str], Any] | None = None,
) -> list[RuntimeLatency]:
    """Time inference of models in several runtimes, all taking turns.

    In each round every model makes one call in every runtime, on the same
    random images, in an order that changes from round to round. The exports
    are those of `export_tflite` and `export_onnx`, with this batch size.
    Files of floats are compared with their models; those of integers are
    not, for a fresh network varies too little: how fast it is does not depend
    on its weights.

    Args:
        models: Dictionary from names to models, or to functions without
            arguments that build one, for images of a known size. The first
            is what the others are compared with.
        runtimes: Names in `RUNTIMES`.
        batch_size: Positive integer.
        threads: Positive integer, the threads that a call may use. TensorFlow
            takes this number only before its first operation, so for
            `"keras"` and `"xla"` give functions as `models`.
        rounds: Number of timed calls.
        warmup: Number of calls beforehand, at least 1: the first compiles.
        seed: Seed of the images.
        progress: Function that is called with a line of text about each
            export and each row.

    Returns:
        List of `RuntimeLatency`: for each runtime in the order of `models`.

    Raises:
        ValueError: if an argument is out of its range, TensorFlow runs with
            another number of threads, or a model cannot be exported.
        ImportError: if a runtime is not installed.
    """
    progress = progress or (lambda line: None)
    _check(runtimes, threads, batch_size)
    timing.check(models, (batch_size,), None, rounds, warmup)
    if {"keras", "xla"} & set(runtimes):
        use_threads(threads)
    models = {
        name: model if isinstance(model, keras.Model) else model()
        for name, model in models.items()
    }
    rng = np.random.default_rng(seed)
    prepared = {}
    with tempfile.TemporaryDirectory() as folder:
        for runtime in runtimes:
            for name, model in models.items():
                progress(f"{name}: preparing {runtime}")
                shape = tuple(model_input(model).shape[1:])
                images = rng.standard_normal((batch_size, *shape), "float32")
                prepared[runtime, name] = RUNTIMES[runtime](
                    model, images, threads, folder
                )
        steps = [each.step for each in prepared.values()]
        times = timing.time_steps(steps, rounds, warmup)
    rows = []
    for number, each in enumerate(prepared.values()):
        fields = {"threads": threads, "size": each.size}
        row = _row(list(prepared), times, number, batch_size, **fields)
        rows.append(row)
        progress(
            f"{row.model}, {row.runtime}: {1e3 * row.seconds:.2f} ms, "
            f"ratio {row.ratio:.3f}"
        )
    return rows


def _check(runtimes, threads, batch_size):
    rule = None
    if not runtimes or not set(runtimes) <= RUNTIMES.keys():
        rule = f"must be some of {', '.join(RUNTIMES)}"
    elif len(set(runtimes)) < len(runtimes):
        rule = "must be different from each other"
    if rule:
        received = ",".join(map(str, runtimes))
        raise InputError(f"`runtimes` {rule}. Received: runtimes={received}")
    checks.check_count("threads", threads)
    checks.check_count("batch_size", batch_size)


def use_threads(threads):
    """Have TensorFlow use this many threads, for the rest of the process.

    Raises:
        ValueError: if it already runs with another number.
    """
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        started = threading.get_intra_op_parallelism_threads()
        # 0 stands for as many as there are cores.
        if (started or os.cpu_count()) != threads:
            raise InputError(
                "`threads` must be set before TensorFlow's first operation. "
                f"Received: threads={threads}, where TensorFlow runs with "
                f"{started or os.cpu_count()}"
            ) from None


def _in_keras(model, images, threads, folder, **options):
    function = tf.function(
        lambda tensor: model(tensor, training=False), **options
    )
    tensor = tf.constant(images)
    size = sum(
        np.prod(w.shape) * tf.as_dtype(w.dtype).size for w in model.weights
    )
    return Prepared(
        lambda: keras.tree.map_structure(np.asarray, function(tensor)),
        int(size),
    )


def _exported(row, options, model, images, threads, folder):
    path = os.path.join(folder, row.file)
    report = row.load()(
        model, path, batch_size=len(images), allow_constant=True, **options
    )
    run = row.open_file(path, threads)
    return Prepared(lambda: run({INPUT_NAME: images}), report.size)


# How a model is prepared for each runtime: a function of the model, a batch
# of images, the number of threads and a folder for what is exported.
RUNTIMES: dict[str, Callable[..., Prepared]] = {
    "keras": _in_keras,
    "xla": functools.partial(_in_keras, jit_compile=True),
    **{
        runtime: functools.partial(_exported, row, options)
        for row in FORMATS.values()
        for runtime, options in row.runtimes.items()
    },
}


def _row(keys, times, number, batch_size, **fields):
    """Summarize a column of `times`; `keys` are their runtimes and models."""
    wall, cpu = times
    runtime, name = keys[number]
    same_runtime = keys.index((runtime, keys[0][1]))
    same_name = keys.index((keys[0][0], name))
    values = tables.timing(wall, cpu, number, same_runtime)
    return RuntimeLatency(
        model=name,
        runtime=runtime,
        batch_size=batch_size,
        samples_per_second=batch_size / values["seconds"],
        runtime_ratio=float(np.median(wall[:, number] / wall[:, same_name])),
        **values,
        **fields,
    )


# What fits into a terminal; the rows have more, for a CSV file.
COLUMNS: tables.Columns = (
    ("model", "model"),
    ("runtime", "runtime"),
    ("batch", "batch_size"),
    ("ms", lambda row: f"{1e3 * row.seconds:.2f}"),
    ("MB", lambda row: f"{row.size / 1e6:.2f}"),
    ("ratio", lambda row: f"{row.ratio:.3f}"),
    ("quartiles", lambda row: f"{row.ratio_lower:.3f}-{row.ratio_upper:.3f}"),
    ("of first", lambda row: f"{row.runtime_ratio:.2f}"),
)


def format_runtimes(rows: Sequence[RuntimeLatency]) -> str:
    """Return the rows as text, one line each below a line of titles."""
    return tables.format_table(rows, COLUMNS)


def write_figure(rows: Sequence[RuntimeLatency], path: PathLike) -> None:
    """Draw the rows as bars, one group for each runtime.

    Args:
        rows: Rows of one batch size.
        path: The figure, such as `latency.png` or `.svg`. It only appears,
            or changes, once it is complete.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    runtimes = list(dict.fromkeys(row.runtime for row in rows))
    figure = new_figure((1 + 1.9 * len(runtimes), 4))
    # A panel each: runtimes differ by more than what there is to see in one.
    panels = figure.subplots(1, len(runtimes), squeeze=False)[0]
    for row in rows:
        axes = panels[runtimes.index(row.runtime)]
        _draw_bar(axes, row, models.index(row.model))
        axes.set_title(row.runtime, fontsize=10)
        axes.set_xticks([])
        axes.margins(y=0.2)
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("ms per call, median and quartiles")
    threads = f"{rows[0].threads} thread{'s' * (rows[0].threads > 1)}"
    figure.suptitle(
        f"Batch of {rows[0].batch_size}, {threads} (in brackets: time by "
        f"that of {models[0]})",
        fontsize=10,
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(models),
        frameon=False,
    )
    save_figure(figure, path)


def _draw_bar(axes, row, place):
    lower, middle, upper = (
        1e3 * x for x in (row.seconds_lower, row.seconds, row.seconds_upper)
    )
    spread = [[middle - lower], [upper - middle]]
    bars = axes.bar(place, middle, 0.8, yerr=spread, capsize=3, label=row.model)
    text = f"{middle:.1f}\n({row.ratio:.2f}x)"
    axes.bar_label(bars, [text], padding=4, fontsize=8)
