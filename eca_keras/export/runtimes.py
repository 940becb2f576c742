"""Latency of networks in the runtimes that they are exported to."""

import dataclasses
import functools
import os
import tempfile

import keras
import numpy as np

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.export import checks
from eca_keras.export.backend import tf
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import OUTPUT_NAME
from eca_keras.export.onnx import export_onnx
from eca_keras.export.tflite.convert import export_tflite
from eca_keras.profiling import timing as benchmarking
from eca_keras.profiling.tables import aligned
from eca_keras.profiling.tables import quartiles
from eca_keras.utils import checks as value_checks
from eca_keras.utils.figures import new_figure
from eca_keras.utils.figures import save_figure
from eca_keras.utils.quiet import quiet


@dataclasses.dataclass(frozen=True)
class RuntimeLatency:
    """What one model took in one runtime, and by how much that differs.

    Attributes:
        model: Name of the model.
        runtime: One of `RUNTIMES`.
        batch_size: Samples per call.
        threads: Threads that a call may use.
        rounds: Number of timed calls.
        seconds: Median wall-clock time of a call.
        seconds_lower, seconds_upper: First and third quartile of it.
        samples_per_second: `batch_size / seconds`.
        size: Bytes of the exported file; of the weights where there is none.
        ratio: Median over the rounds of this model's time by that of the
            first model in the same runtime and round.
        ratio_lower, ratio_upper: First and third quartile of it.
        runtime_ratio: Median over the rounds of this model's time by that of
            the same model in the first runtime.
    """

    model: str
    runtime: str
    batch_size: int
    threads: int
    rounds: int
    seconds: float
    seconds_lower: float
    seconds_upper: float
    samples_per_second: float
    size: int
    ratio: float
    ratio_lower: float
    ratio_upper: float
    runtime_ratio: float


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model in a runtime: a call that waits for its answer, and bytes."""

    step: object
    size: int


def benchmark_runtimes(
    models,
    *,
    runtimes=("keras", "tflite", "tflite-int8", "onnx"),
    batch_size=1,
    threads=1,
    rounds=20,
    warmup=3,
    seed=0,
    progress=None,
):
    """Times inference of models in several runtimes, all taking turns.

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
    _check(runtimes, threads)
    checks.check_batch_size(batch_size)
    benchmarking.check(models, (batch_size,), None, rounds, warmup)
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
                shape = tuple(checks.model_input(model).shape[1:])
                images = rng.standard_normal((batch_size, *shape), "float32")
                prepared[runtime, name] = RUNTIMES[runtime](
                    model, images, threads, folder
                )
        wall, _ = benchmarking.time_steps(
            [each.step for each in prepared.values()], rounds, warmup
        )
    columns = dict(zip(prepared, wall.T, strict=True))
    rows = []
    for (runtime, name), seconds in columns.items():
        row = _row(
            seconds,
            columns[runtime, next(iter(models))],
            columns[runtimes[0], name],
            model=name,
            runtime=runtime,
            batch_size=batch_size,
            threads=threads,
            size=prepared[runtime, name].size,
        )
        rows.append(row)
        progress(
            f"{name}, {runtime}: {1e3 * row.seconds:.2f} ms, "
            f"ratio {row.ratio:.3f}"
        )
    return rows


def _check(runtimes, threads):
    if not runtimes or not set(runtimes) <= RUNTIMES.keys():
        raise InputError(
            f"`runtimes` must be some of {', '.join(RUNTIMES)}. "
            f"Received: runtimes={','.join(map(str, runtimes))}"
        )
    if len(set(runtimes)) < len(runtimes):
        raise InputError(
            "`runtimes` must be different from each other. "
            f"Received: runtimes={','.join(runtimes)}"
        )
    if not value_checks.is_int(threads) or threads < 1:
        raise InputError(
            f"`threads` must be a positive integer. Received: {threads!r}"
        )


def use_threads(threads):
    """Has TensorFlow use this many threads, for the rest of the process.

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


def _keras(model, images, threads, folder, **options):
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


def _tflite(model, images, threads, folder, **options):
    require("export", "The runtime tflite", "ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter

    path = os.path.join(folder, "model.tflite")
    export_tflite(
        model,
        path,
        batch_size=len(images),
        allow_constant=True,
        **options,
    )
    with open(path, "rb") as file:
        content = file.read()
    with quiet():
        loaded = Interpreter(model_content=content, num_threads=threads)
        loaded.allocate_tensors()
    given = loaded.get_input_details()[0]["index"]
    answered = loaded.get_output_details()[0]["index"]

    def step():
        loaded.set_tensor(given, images)
        loaded.invoke()
        return loaded.get_tensor(answered)

    return Prepared(step, len(content))


def _onnx(model, images, threads, folder):
    require("export", "The runtime onnx", "onnxruntime")
    import onnxruntime

    path = os.path.join(folder, "model.onnx")
    export_onnx(model, path, batch_size=len(images), allow_constant=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # fatal only: errors are exceptions
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    return Prepared(
        lambda: session.run([OUTPUT_NAME], {INPUT_NAME: images}),
        os.path.getsize(path),
    )


# A fresh network answers nearly a constant, which 8 bits cannot resolve: the
# integers are timed whatever they say.
UNCOMPARED = {"least_agreement": 0.0, "tolerance": 1e9}

# How a model is prepared for each runtime: a function of the model, a batch
# of images, the number of threads and a folder for what is exported.
RUNTIMES = {
    "keras": _keras,
    "xla": functools.partial(_keras, jit_compile=True),
    "tflite": _tflite,
    "tflite-float16": functools.partial(_tflite, quantize="float16"),
    "tflite-dynamic": functools.partial(
        _tflite, quantize="dynamic", **UNCOMPARED
    ),
    "tflite-int8": functools.partial(_tflite, quantize="int8", **UNCOMPARED),
    "onnx": _onnx,
}


def _row(seconds, first_model, first_runtime, **fields):
    lower, middle, upper = quartiles(seconds)
    ratios = quartiles(seconds / first_model)
    return RuntimeLatency(
        rounds=len(seconds),
        seconds=middle,
        seconds_lower=lower,
        seconds_upper=upper,
        samples_per_second=fields["batch_size"] / middle,
        ratio=ratios[1],
        ratio_lower=ratios[0],
        ratio_upper=ratios[2],
        runtime_ratio=float(np.median(seconds / first_runtime)),
        **fields,
    )


def format_runtimes(rows):
    """Returns the rows as text, one line each below a line of titles."""
    table = [
        ("model", "runtime", "batch", "threads", "ms", "quartiles")
        + ("samples/s", "MB", "ratio", "quartiles", "of first runtime")
    ]
    for row in rows:
        table.append(
            (
                row.model,
                row.runtime,
                str(row.batch_size),
                str(row.threads),
                f"{1e3 * row.seconds:.2f}",
                f"{1e3 * row.seconds_lower:.2f}-{1e3 * row.seconds_upper:.2f}",
                f"{row.samples_per_second:.1f}",
                f"{row.size / 1e6:.2f}",
                f"{row.ratio:.3f}",
                f"{row.ratio_lower:.3f}-{row.ratio_upper:.3f}",
                f"{row.runtime_ratio:.2f}",
            )
        )
    return aligned(table)


def write_picture(rows, path):
    """Draws the rows as bars, one group for each runtime.

    Args:
        rows: List of `RuntimeLatency` of one batch size.
        path: The picture, such as `latency.png` or `.svg`. It only appears,
            or changes, once it is complete.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    runtimes = list(dict.fromkeys(row.runtime for row in rows))
    figure = new_figure((1 + 1.9 * len(runtimes), 4))
    # A panel each: runtimes differ by more than what there is to see in one.
    panels = figure.subplots(1, len(runtimes), squeeze=False)[0]
    for axes, runtime in zip(panels, runtimes, strict=True):
        chosen = [row for row in rows if row.runtime == runtime]
        _draw_bars(axes, chosen, models)
        axes.set_title(runtime, fontsize=10)
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


def _draw_bars(axes, rows, models):
    for row in rows:
        milliseconds = 1e3 * row.seconds
        spread = [
            [1e3 * (row.seconds - row.seconds_lower)],
            [1e3 * (row.seconds_upper - row.seconds)],
        ]
        place = models.index(row.model)
        axes.bar(
            place, milliseconds, 0.8, yerr=spread, capsize=3, label=row.model
        )
        axes.annotate(
            f"{milliseconds:.1f}\n({row.ratio:.2f}x)",
            (place, 1e3 * row.seconds_upper),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_xticks([])
    axes.margins(y=0.2)
    axes.set_ylim(bottom=0)
