import csv
import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import eca_keras
from eca_keras.profiling import timing as benchmarking
from eca_keras.profiling.tables import write_csv
from eca_keras.profiling.timing import Latency
from eca_keras.profiling.timing import format_table

# Two rounds of two models in which "b" takes 4 / 2 and 9 / 3 of the time.
WALL = np.array([[2.0, 4.0], [3.0, 9.0]])
CPU = np.array([[1.0, 5.0], [1.0, 3.0]])
ROWS = benchmarking._rows(
    benchmarking.Rounds("inference", 6, WALL, CPU), ["a", "long_name"]
)


def small(units=4, shape=(8,)):
    return keras.Sequential([keras.Input(shape), layers.Dense(units)])


def slow():
    image = keras.Input((128, 128, 8))
    return keras.Model(image, layers.Conv2D(32, 5)(image))


def quick():
    image = keras.Input((128, 128, 8))
    return keras.Model(image, layers.Conv2D(1, 1)(image))


def test_the_summary_pairs_rounds():
    assert ROWS[1] == Latency(
        model="long_name",
        task="inference",
        batch_size=6,
        rounds=2,
        seconds=6.5,
        seconds_lower=5.25,
        seconds_upper=7.75,
        samples_per_second=6 / 6.5,
        cpu_seconds=4.0,
        ratio=2.5,  # of 2 and 3, where that of the medians is 6.5 / 2.5
        ratio_lower=2.25,
        ratio_upper=2.75,
        cpu_ratio=4.0,
    )
    assert ROWS[0].ratio == ROWS[0].ratio_upper == ROWS[0].cpu_ratio == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_turns_are_fair(count):
    turns = [benchmarking._order(i, count) for i in range(2 * count)]
    assert all(sorted(turn) == list(range(count)) for turn in turns)
    first = [turn[0] for turn in turns]
    assert all(first.count(model) == 2 for model in range(count))
    before = sum(turn.index(0) < turn.index(count - 1) for turn in turns)
    assert before == (count if count > 1 else 0)


def test_the_slower_model_is_slower():
    rows = eca_keras.benchmark(
        {"quick": quick, "slow": slow},
        batch_sizes=[2],
        training_batch_size=3,
        rounds=5,
        warmup=1,
    )
    assert [(row.model, row.task, row.batch_size) for row in rows] == [
        ("quick", "inference", 2),
        ("slow", "inference", 2),
        ("quick", "training", 3),
        ("slow", "training", 3),
    ]
    # 800 times the multiply-accumulates: no machine is that noisy.
    assert all(row.ratio == 1 for row in rows[::2])
    assert all(row.ratio_lower > 1.5 for row in rows[1::2])
    for row in rows:
        assert row.rounds == 5
        assert 0 < row.seconds_lower <= row.seconds <= row.seconds_upper
        assert row.samples_per_second == row.batch_size / row.seconds
        assert row.cpu_seconds > 0


def test_one_model():
    model = small()
    rows = eca_keras.benchmark(
        model, batch_sizes=[1], training_batch_size=None, rounds=2
    )
    assert [(row.model, row.ratio) for row in rows] == [(model.name, 1)]


def test_the_models_stay_as_they_are():
    model = small()
    before = model.get_weights()
    eca_keras.benchmark({"model": model}, batch_sizes=(), rounds=2, warmup=1)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert not model.compiled


class Recorder(layers.Layer):
    """Keeps what it was called with in Python, that is, when traced."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs, training=False):
        self.seen.append((tuple(inputs.shape), bool(training)))
        return inputs


def test_every_model_gets_its_calls(monkeypatch):
    calls = []

    def step(name, inputs):
        calls.append((name, inputs))

    monkeypatch.setattr(
        benchmarking,
        "_inference",
        lambda model, inputs: lambda: step(model.name, inputs),
    )
    a, b = small(), small()
    eca_keras.benchmark(
        {"a": a, "b": b},
        batch_sizes=[2, 5],
        training_batch_size=None,
        rounds=4,
        warmup=3,
        seed=7,
    )
    names = [name for name, _ in calls]
    assert names.count(a.name) == names.count(b.name) == 2 * (3 + 4)
    timed = names[6:14]
    assert timed == [a.name, b.name, b.name, a.name] + [
        *(b.name, a.name, a.name, b.name)
    ]
    first = calls[0][1]
    assert first.shape == (2, 8)
    assert len(np.unique(first)) == 16
    np.testing.assert_array_equal(calls[3][1], first)  # the same for all
    expected = np.random.default_rng(7).standard_normal((2, 8), "float32")
    np.testing.assert_array_equal(first, expected)
    assert calls[-1][1].shape == (5, 8)


def test_inference_is_compiled_and_does_not_train():
    recorder = Recorder()
    image = keras.Input((4,))
    model = keras.Model(image, recorder(image))
    recorder.seen.clear()
    eca_keras.benchmark(
        {"model": model},
        batch_sizes=[2],
        training_batch_size=None,
        rounds=5,
        warmup=2,
    )
    assert recorder.seen == [((2, 4), False)]  # one trace, seven calls


def test_unknown_sizes_need_an_input_shape():
    image = keras.Input((None, 8))
    model = keras.Model(image, layers.Dense(2)(image))
    with pytest.raises(ValueError, match="`input_shape` must be given"):
        eca_keras.benchmark({"model": model})
    rows = eca_keras.benchmark(
        {"model": model}, input_shape=(5, 8), rounds=2, warmup=1
    )
    assert len(rows) == 3


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,)), keras.Input((3,), dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(2, 5)(b))
    model = keras.Model([a, b], {"x": layers.Dense(2)(a), "y": embedded})
    rows = eca_keras.benchmark(
        {"model": model}, batch_sizes=[2], rounds=2, warmup=1
    )
    assert [row.task for row in rows] == ["inference", "training"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "`models` must be a keras.Model, or a di"),
        ({"models": {"a": 3}}, "`models` must be a keras.Model, or a di"),
        ({"batch_sizes": (8, 0)}, "`batch_sizes` must be a sequence of"),
        ({"training_batch_size": -1}, "`training_batch_size` must be a posi"),
        ({"training_batch_size": 0}, "`training_batch_size` must be a posi"),
        ({"rounds": 0}, "`rounds` must be a positive integer"),
        ({"warmup": 0}, "`warmup` must be a positive integer"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        eca_keras.benchmark(**{"models": {"a": small}, **arguments})


def test_format_table_is_aligned():
    lines = format_table(ROWS).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:4] == ["model", "task", "batch", "ms"]
    assert lines[2].split() == [
        *("long_name", "inference", "6", "6500.00", "5250.00-7750.00"),
        *("0.9", "4000.00", "2.500", "2.250-2.750", "4.000"),
    ]


def test_write_csv(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    write_csv(ROWS, path)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    expected = [
        {name: str(value) for name, value in dataclasses.asdict(row).items()}
        for row in ROWS
    ]
    assert read == expected
    assert list(tmp_path.iterdir()) == [path]
