"""The benchmark over runtimes: rows, table, picture and refusals."""

import csv
import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
from export_models import small_net
from keras import layers
from PIL import Image

from eca_keras import cli
from eca_keras.export import runtimes
from eca_keras.export.runtimes import RuntimeLatency
from eca_keras.profiling.tables import write_csv

KEYS = [(r, m) for r in ("keras", "onnx") for m in ("none", "eca")]
WALL = np.array([[2.0, 4.0, 1.0, 1.0], [3.0, 9.0, 1.0, 3.0]])
ROWS = [
    runtimes._row(KEYS, (WALL, WALL / 2), number, 6, threads=2, size=1_500_000)
    for number in range(4)
]


def test_the_summary_pairs_rounds():
    assert ROWS[3] == RuntimeLatency(
        model="eca",
        runtime="onnx",
        batch_size=6,
        threads=2,
        rounds=2,
        seconds=2.0,
        seconds_lower=1.5,
        seconds_upper=2.5,
        samples_per_second=3.0,
        size=1_500_000,
        ratio=2.0,
        ratio_lower=1.5,
        ratio_upper=2.5,
        cpu_seconds=1.0,
        cpu_ratio=2.0,
        runtime_ratio=(1 / 4 + 3 / 9) / 2,
    )


def quick():
    return small_net((24, 24, 3))


def slow():
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(128, 5, activation="relu")(image)
    x = layers.Conv2D(128, 5, padding="same", activation="relu")(x)
    x = layers.Conv2D(128, 5, padding="same", activation="relu")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


@pytest.mark.slow
def test_every_runtime():
    lines = []
    names = ("keras", "tflite", "tflite-int8", "onnx")
    rows = runtimes.benchmark_runtimes(
        {"quick": quick(), "slow": slow()},
        runtimes=names,
        threads=runtimes.os.cpu_count(),  # what TensorFlow started with
        batch_size=4,
        rounds=4,
        warmup=1,
        progress=lines.append,
    )
    assert [(row.runtime, row.model) for row in rows] == [
        (runtime, model) for runtime in names for model in ("quick", "slow")
    ]
    # A thousand times the multiply-accumulates, far more than a call
    # costs on its own: no machine is that fast, or that noisy.
    assert all(row.ratio == 1 for row in rows[::2])
    assert all(row.ratio > 1.2 for row in rows[1::2])
    assert all(row.runtime_ratio == 1 for row in rows[:2])
    assert all(row.samples_per_second == 4 / row.seconds for row in rows)
    size = {(row.runtime, row.model): row.size for row in rows}
    assert size["keras", "quick"] == 4 * quick().count_params()
    assert size["tflite", "slow"] > 4 * slow().count_params()
    assert size["tflite-int8", "slow"] < 0.3 * size["tflite", "slow"]
    assert lines[0] == "quick: preparing keras"
    assert len(lines) == 2 * len(rows)


THREADS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, tensorflow as tf
from eca_keras.export import runtimes
def build():
    x = keras.Input((8, 8, 3))
    return keras.Model(x, keras.layers.Conv2D(4, 3)(x))
rows = runtimes.benchmark_runtimes(
    {"a": build}, runtimes=("keras", "xla"), threads=3, rounds=2
)
print([row.threads for row in rows])
print(tf.config.threading.get_intra_op_parallelism_threads())
try:
    runtimes.use_threads(5)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_threads_of_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["[3, 3]", "3"]
    assert "`threads` must be set before TensorFlow's first" in lines[2]
    assert "Received: threads=5, where TensorFlow runs with 3" in lines[2]


@pytest.mark.slow
def test_threads_reach_the_runtimes(monkeypatch):
    import onnxruntime
    from ai_edge_litert import interpreter

    seen = []
    litert, session = interpreter.Interpreter, onnxruntime.InferenceSession

    def recorded_litert(*arguments, **options):
        seen.append(options["num_threads"])
        return litert(*arguments, **options)

    def recorded_session(path, options, **others):
        seen.append(options.intra_op_num_threads)
        return session(path, options, **others)

    monkeypatch.setattr(interpreter, "Interpreter", recorded_litert)
    monkeypatch.setattr(onnxruntime, "InferenceSession", recorded_session)
    runtimes.benchmark_runtimes(
        {"a": quick()},
        runtimes=("tflite", "onnx"),
        threads=2,
        rounds=1,
        warmup=1,
    )
    # The exports compare on one thread, what is timed has two.
    assert seen == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"runtimes": ("tflite", "caffe")}, "`runtimes` must be some of keras"),
        ({"runtimes": ()}, "`runtimes` must be some of keras, xla, tflite"),
        ({"runtimes": ("onnx", "onnx")}, "`runtimes` must be different"),
        ({"threads": 0}, "`threads` must be a positive integer"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"rounds": 0}, "`rounds` must be a positive integer"),
        ({"models": {}}, "`models` must be a keras.Model, or a di"),
    ],
)
def test_arguments_are_checked(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        runtimes.benchmark_runtimes(
            **{"models": {"a": quick}, "runtimes": ("onnx",), **arguments}
        )


def test_table():
    lines = runtimes.format_runtimes(ROWS).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[4].split() == [
        *("eca", "onnx", "6", "2000.00"),
        *("1.50", "2.000", "1.500-2.500", "0.29"),
    ]


def test_csv(tmp_path):
    write_csv(ROWS, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read == [
        {name: str(value) for name, value in dataclasses.asdict(row).items()}
        for row in ROWS
    ]


def test_picture(tmp_path):
    path = tmp_path / "latency.png"
    runtimes.write_figure(ROWS, path)
    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(1 << 20)
        size = image.size
    # The two models' bars are large areas of a colour of their own.
    large = [n for n, rgb in colours if n > 0.01 * size[0] * size[1]]
    assert len(large) >= 3
    with pytest.raises(ValueError, match="`figure` must end in .png"):
        runtimes.write_figure(ROWS, tmp_path / "latency.xyz")
    assert [file.name for file in tmp_path.iterdir()] == ["latency.png"]


@pytest.mark.slow
def test_command(tmp_path, capsys):
    options = ["--image-size", "32", "--rounds", "2", "--threads", "1"]
    outputs = ["--output", str(tmp_path / "a.csv")]
    outputs += ["--figure", str(tmp_path / "a.png")]
    command = ["benchmark", "ECAResNet20", "--runtime", "onnx"]
    assert cli.main([*command, *options, *outputs]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:4] == ["ECAResNet20", "none", "onnx", "1"]
    assert printed[2].split()[:3] == ["ECAResNet20", "eca", "onnx"]
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.csv", "a.png"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--threads", "1"], "`--threads` must only be given with `--run"),
        (["--figure", "a.png"], "`--figure` must only be given with `--run"),
        (["--runtime", "onnx", "caffe"], "`--runtime` must be some of"),
    ],
)
def test_command_refuses(options, sentence, capsys):
    assert cli.main(["benchmark", "ECAResNet20", *options]) == 2
    assert sentence in capsys.readouterr().err
