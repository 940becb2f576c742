"""demos/phone/classify.py: the TFLite file alone, on image files."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from export_models import randomised
from keras import layers
from PIL import Image

import eca_keras
from eca_keras import cli
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.images import decode as ours
from eca_keras.images.resize import shown_size
from eca_keras.training.trained import Trained

SCRIPT = pathlib.Path(__file__).parents[1] / "demos" / "phone" / "classify.py"

# What the script may not import: a phone has none of it.
ISOLATED = """
import runpy, sys
for name in ("eca_keras", "keras", "tensorflow", "sklearn", "onnxruntime"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def load_script():
    spec = importlib.util.spec_from_file_location("classify", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alone(*arguments):
    """Runs a script as a user does, without what a phone has not."""
    command = [sys.executable, "-I", "-c", ISOLATED, *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True
    )


def classify(*arguments):
    return alone(SCRIPT, *arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    paths = []
    for name, (height, width), mode in (
        ("a.png", (90, 41), "RGB"),
        ("b.jpg", (33, 64), "RGB"),
        ("c.png", (17, 19), "L"),
        ("d.bmp", (24, 24), "RGB"),
        ("e.png", (50, 50), "RGBA"),
        ("f.png", (31, 77), "P"),
        ("g.png", (30, 44), "I;16"),
    ):
        coarse = rng.integers(0, 256, (6, 6, 4), "uint8")
        image = Image.fromarray(coarse[..., :3]).resize((width, height))
        # Without noise, many sums of the resizing end on a half, which may be
        # rounded either way.
        noise = rng.normal(0, 8, (height, width, 3))
        noisy = (np.asarray(image) + noise).clip(0, 255)
        image = Image.fromarray(noisy.astype("uint8"))
        if mode == "RGBA":
            image.putalpha(Image.fromarray(coarse[..., 3]).resize(image.size))
        if mode == "I;16":
            wide = np.asarray(image.convert("L")).astype("uint16") * 256 + 9
            image = Image.fromarray(wide)
        else:
            image = image.convert(mode)
        image.save(folder / name)
        paths.append(folder / name)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    with Image.open(paths[1]) as image:
        image.save(folder / "h.jpg", exif=turned)
    return [*paths, folder / "h.jpg"]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "crop"), [(24, 0.875), (40, 1.0)])
def test_pixels_are_ours(size, crop, channels, interpolation, files):
    script = load_script()
    settings = {
        "image_size": size,
        "crop_fraction": crop,
        "interpolation": interpolation,
        "channels": channels,
    }
    for path in files:
        read = script.read_image(path)
        np.testing.assert_array_equal(read, ours.read(str(path), 3))
        shown = script.preprocess(read, settings).astype(int)
        expected = shown_size(
            ours.read(str(path), channels), size, crop, interpolation
        )
        apart = np.abs(shown - np.asarray(expected).astype(int))
        # Pillow rounds after each direction, and some versions begin with the
        # one that leaves less to do.
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.3


CASES = {
    "float32": {},
    "int8": {
        "quantize": "int8",
        "input_type": "uint8",
        "output_type": "int8",
        "least_agreement": 0.8,
        "tolerance": 0.5,
    },
    "dynamic batch": {"batch_size": None},
    "batch of 3": {"batch_size": 3},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that normalizes outside, as `eca-keras convert` writes it."""
    folder = tmp_path_factory.mktemp("trained")
    inputs = keras.Input((24, 24, 3))
    x = eca_keras.ECA()(layers.Conv2D(16, 3, activation="relu")(inputs))
    x = layers.Dense(6)(layers.GlobalAveragePooling2D()(x))
    network = randomised(keras.Model(inputs, layers.Softmax()(x)))
    preprocessing = Preprocessing(
        labels=("tench", "Kätzchen", "crane", "a b", "x", "y"),
        image_size=24,
        channels=3,
        crop_fraction=0.875,
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    network.save(folder / "model.keras")
    preprocessing.save(folder)
    return Trained.load(folder), network, preprocessing


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=() if name == "int8" else pytest.mark.slow)
        for name in CASES
    ],
)
def test_answers_are_those_of_predict(case, trained, files, tmp_path):
    trained, network, preprocessing = trained
    path = tmp_path / "model.tflite"
    report = eca_keras.export_tflite(
        network, path, preprocessing=preprocessing, **CASES[case]
    )
    classifier = load_script().Classifier(str(path))
    # int8: what was allowed in the comparison; else a pixel rounded otherwise.
    allowed = 0.1 if report.integer else 2e-3
    firsts = set()
    for file in files:
        answer = classifier(load_script().read_image(file))
        expected = dict(trained.predict(file))
        assert dict(answer).keys() == expected.keys()
        for name, share in answer:
            assert share == pytest.approx(expected[name], abs=allowed)
        shares = [share for _, share in answer]
        assert shares == sorted(shares, reverse=True)
        firsts.add(round(shares[0], 2))
    assert len(firsts) > 3  # the pictures are told apart


def test_alone(trained, files, tmp_path, capfd):
    """As a user runs it: the same lines as `eca-keras predict`."""
    trained, network, preprocessing = trained
    path = tmp_path / "model.tflite"
    eca_keras.export_tflite(network, path, preprocessing=preprocessing)
    done = classify(path, *files, "--top", "2")
    assert (done.returncode, "rror" in done.stderr) == (0, False)
    options = ["--model", str(trained.folder), "--top", "2"]
    capfd.readouterr()
    assert cli.main(["predict", *map(str, files), *options]) == 0
    expected = capfd.readouterr().out.splitlines()
    for line, other in zip(done.stdout.splitlines(), expected, strict=True):
        words, others = line.split(" "), other.split(" ")
        for word, expected in zip(words[::2], others[::2], strict=True):
            if word.rstrip(",").endswith("%"):
                share, expected = (
                    float(text.rstrip(",%")) for text in (word, expected)
                )
                assert share == pytest.approx(expected, abs=0.2)
            else:
                assert word == expected


def test_a_file_that_is_no_image(trained, files, tmp_path):
    _, network, preprocessing = trained
    path = tmp_path / "model.tflite"
    eca_keras.export_tflite(network, path, preprocessing=preprocessing)
    (tmp_path / "words.png").write_text("words")
    done = classify(path, tmp_path / "words.png", files[0])
    assert done.returncode == 2
    assert "words.png is not a readable image" in done.stderr
    assert done.stdout.startswith(f"{files[0]}: ")
    eca_keras.export_tflite(network, path)
    done = classify(path, files[0])
    assert done.returncode == 2
    assert "has no preprocessing.json inside: export it" in done.stderr
    assert "Traceback" not in done.stderr
    done = classify(tmp_path / "no.tflite", files[0])
    assert done.returncode == 2
    assert "no.tflite cannot be opened: No such file" in done.stderr


@pytest.mark.slow
def test_digits(tmp_path):
    """From training to the phone: int8 on the scans that were held out."""
    from eca_keras.training import load_source

    run = tmp_path / "run"
    options = ["--epochs", "5", "--export", "tflite", "--output", str(run)]
    assert cli.main(["train", *options]) == 0
    path = tmp_path / "model.tflite"
    options = ["--quantize", "int8", "--model", str(run)]
    assert cli.main(["export", str(path), *options]) == 0
    files, labels = [], []
    for i, (image, label) in enumerate(load_source("digits").test.dataset):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(np.asarray(image)[..., 0]).save(files[-1])
        labels.append(int(label))
    done = classify(path, *files, "--top", "1")
    assert (done.returncode, "rror" in done.stderr) == (0, False)
    answers = [
        int(line.rsplit(": ", 1)[1].split()[0])
        for line in done.stdout.splitlines()
    ]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["top1"] > 0.9
    top1 = np.mean(np.array(answers) == labels)
    assert top1 == pytest.approx(metrics["top1"], abs=0.01)
