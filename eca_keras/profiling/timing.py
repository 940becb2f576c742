"""Latency of models side by side, on the machine at hand."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from eca_keras.profiling import tables
from eca_keras.profiling.tables import Columns
from eca_keras.profiling.tables import Timing
from eca_keras.profiling.tables import timing
from eca_keras.utils import checks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency(Timing):
    """What one model took for one task, and by how much that differs.

    The ratios are to the first model.

    Attributes:
        model: Name of the model.
        task: `"inference"`, or `"training"` for a step of SGD with momentum.
        batch_size: Samples per call.
        samples_per_second: `batch_size / seconds`.
    """

    model: str
    task: str
    batch_size: int
    samples_per_second: float


def benchmark(
    models: keras.Model | Mapping[str, keras.Model | Callable[[], keras.Model]],
    *,
    batch_sizes: Sequence[int] = (8, 1),
    training_batch_size: int | None = 8,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    rounds: int = 20,
    warmup: int = 3,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> list[Latency]:
    """Time inference and training steps of models, taking turns.

    In each round every model makes one call on the same random input, in an
    order that changes from round to round. With TensorFlow, inference is a
    compiled `tf.function`; with other backends, and for training steps, it is
    what `predict_on_batch` and `train_on_batch` do. XLA is only used where
    the backend has nothing else. The models themselves stay as they are:
    copies of them are trained.

    Args:
        models: A model, or a dictionary from names to models or to functions
            without arguments that build one. The first is what the others
            are compared with.
        batch_sizes: Batch sizes of inference; may be empty.
        training_batch_size: Batch size of training; `None` for no training.
        input_shape: Shape of one sample, without the batch, for models whose
            input has unknown sizes; for models with several inputs, a list of
            shapes in the order of `model.inputs`.
        rounds: Number of timed calls. A multiple of twice the number of
            models has each of them first equally often.
        warmup: Number of calls beforehand, at least 1: the first compiles.
        seed: Seed of the input.
        progress: Function that is called with a line of text about each row,
            as soon as it is measured.

    Returns:
        List of `Latency`, for each task in the order of `models`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> rows = benchmark(model, batch_sizes=[2], rounds=4)
    >>> [(row.task, row.batch_size, row.ratio) for row in rows]
    [('inference', 2, 1.0), ('training', 8, 1.0)]
    """
    if isinstance(models, keras.Model):
        models = {models.name: models}
    rows = []
    for measured in measure(
        models,
        batch_sizes=batch_sizes,
        training_batch_size=training_batch_size,
        input_shape=input_shape,
        rounds=rounds,
        warmup=warmup,
        seed=seed,
    ):
        for row in _rows(measured, list(models)):
            rows.append(row)
            if progress:
                progress(
                    f"{row.model}, {row.task}, batch {row.batch_size}: "
                    f"{1e3 * row.seconds:.1f} ms, ratio {row.ratio:.3f}"
                )
    return rows


def _rows(measured, names):
    """Return the `Latency` of each model from the `Rounds` of a task."""
    size = measured.batch_size
    times = [
        timing(measured.wall, measured.cpu, i, 0) for i in range(len(names))
    ]
    return [
        Latency(
            model=name,
            task=measured.task,
            batch_size=size,
            samples_per_second=size / each["seconds"],
            **each,
        )
        for name, each in zip(names, times, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Rounds:
    """What all models took for one task.

    Attributes:
        task, batch_size: As in `Latency`.
        wall, cpu: Wall-clock and CPU seconds, arrays of shape
            `(rounds, models)`.
    """

    task: str
    batch_size: int
    wall: np.ndarray
    cpu: np.ndarray


def measure(
    models,
    *,
    batch_sizes,
    training_batch_size,
    input_shape=None,
    rounds=20,
    warmup=3,
    seed=0,
):
    """Yield the `Rounds` of each task; the arguments are those of `benchmark`.

    A model may also be an object with a method `step(task, batch_size)` that
    returns a function for `time_steps`: one that runs elsewhere.
    """
    check(models, batch_sizes, training_batch_size, rounds, warmup)
    models = [
        _built(model if isinstance(model, keras.Model) else model())
        for model in models.values()
    ]
    tasks = [("inference", size) for size in batch_sizes]
    if training_batch_size is not None:
        tasks.append(("training", training_batch_size))
    for task, batch_size in tasks:
        steps = [
            _step(model, task, batch_size, input_shape, seed)
            for model in models
        ]
        yield Rounds(task, batch_size, *time_steps(steps, rounds, warmup))


def _built(model):
    """Return a model whose inputs are known, or what runs elsewhere."""
    if isinstance(model, keras.Model) and not getattr(model, "inputs", None):
        rule = "must be built: begin it with a keras.Input, or call `build`"
        raise checks.refusal("models", model.name, rule)
    return model


def _step(model, task, batch_size, input_shape, seed):
    if not isinstance(model, keras.Model):
        return model.step(task, batch_size)
    inputs = _random_inputs(model, batch_size, input_shape, seed)
    prepare = {"inference": _inference, "training": _training}[task]
    return prepare(model, inputs)


def check(models, batch_sizes, training_batch_size, rounds, warmup):
    """Check the arguments of `benchmark`, see there."""
    if (
        not isinstance(models, dict)
        or not models
        or not all(callable(model) for model in models.values())
    ):
        rule = (
            "must be a keras.Model, or a dictionary from at least one name to "
            "a keras.Model or a function that builds it"
        )
        raise checks.refusal("models", models, rule)
    holds = isinstance(batch_sizes, (list, tuple)) and all(
        checks.is_int(size) and size > 0 for size in batch_sizes
    )
    rule = "must be a sequence of positive integers"
    checks.check("batch_sizes", batch_sizes, holds, rule)
    checks.check_count("rounds", rounds)
    checks.check_count("warmup", warmup)
    checks.check_count("training_batch_size", training_batch_size, none=True)


def _random_inputs(model, batch_size, input_shape, seed):
    """Return one array per input: noise, since a constant can be quicker."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if input_shape is not None:
        shapes = [input_shape] if len(shapes) == 1 else input_shape
    if any(size is None for shape in shapes for size in shape):
        rule = "must be given for a model whose input has unknown sizes"
        own = model.input_shape
        raise checks.refusal("input_shape", input_shape, rule, model=own)
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor, shape in zip(model.inputs, shapes, strict=True):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if "float" in dtype:
            array = rng.standard_normal((batch_size, *shape), dtype="float32")
        else:
            array = rng.integers(0, 2, (batch_size, *shape))
        arrays.append(array.astype(dtype))
    return arrays if len(arrays) > 1 else arrays[0]


def _inference(model, inputs):
    """Return a function that predicts and waits for the result."""
    if keras.backend.backend() != "tensorflow":
        return functools.partial(model.predict_on_batch, inputs)
    import tensorflow as tf

    predict = tf.function(lambda tensors: model(tensors, training=False))
    tensors = keras.tree.map_structure(tf.constant, inputs)
    return lambda: keras.tree.map_structure(np.asarray, predict(tensors))


def _training(model, inputs):
    """Return a function that makes one training step with a copy."""
    copy = keras.models.clone_model(model)
    outputs = copy(inputs, training=False)
    copy.compile(
        # Small, so that noise as the target does not lead to NaN.
        optimizer=keras.optimizers.SGD(1e-4, momentum=0.9),
        loss=keras.tree.map_structure(lambda _: "mse", outputs),
        jit_compile=keras.backend.backend() == "jax",
    )
    rng = np.random.default_rng(0)
    targets = keras.tree.map_structure(
        lambda x: rng.standard_normal(tuple(x.shape), dtype="float32"),
        outputs,
    )
    return functools.partial(copy.train_on_batch, inputs, targets)


def time_steps(steps, rounds, warmup):
    """Time functions that take turns.

    Args:
        steps: List of functions without arguments. One that has a method
            `timed`, which makes the call and returns its wall-clock and
            CPU seconds, is asked for them.
        rounds: How often each is timed.
        warmup: How often each is called beforehand.

    Returns:
        Wall-clock and CPU seconds, two arrays with a row per round and
        a column per function.
    """
    for step in steps:
        for _ in range(warmup):
            step()
    wall, cpu = np.zeros((2, rounds, len(steps)))
    for i in range(rounds):
        for j in _order(i, len(steps)):
            timed = getattr(steps[j], "timed", None)
            wall[i, j], cpu[i, j] = timed() if timed else _timed(steps[j])
    return wall, cpu


def _timed(step):
    start = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def _order(i, count):
    """Return the turns of a round: each is first, and follows each, alike."""
    first = i // 2 % count
    turns = [(first + j) % count for j in range(count)]
    return turns[::-1] if i % 2 else turns


COLUMNS: Columns = (
    ("model", "model"),
    ("task", "task"),
    ("batch", "batch_size"),
    ("ms", lambda row: f"{1e3 * row.seconds:.2f}"),
    (
        "quartiles",
        lambda row: (
            f"{1e3 * row.seconds_lower:.2f}-{1e3 * row.seconds_upper:.2f}"
        ),
    ),
    ("samples/s", lambda row: f"{row.samples_per_second:.1f}"),
    ("CPU ms", lambda row: f"{1e3 * row.cpu_seconds:.2f}"),
    ("ratio", lambda row: f"{row.ratio:.3f}"),
    ("quartiles", lambda row: f"{row.ratio_lower:.3f}-{row.ratio_upper:.3f}"),
    ("CPU ratio", lambda row: f"{row.cpu_ratio:.3f}"),
)


def format_table(rows: Sequence[Latency]) -> str:
    """Return the rows as text, one line each below a line of titles."""
    return tables.format_table(rows, COLUMNS)
