"""`eca-keras export`: formats, quantisation and what it refuses."""

import json

import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter
from export_models import tampered

from eca_keras import cli
from eca_keras.training.trained import Trained

pytestmark = pytest.mark.slow  # trains and converts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("export") / "run"
    options = ["--epochs", "3", "--image-size", "8", "--export", "onnx"]
    assert cli.main(["train", *options, "--output", str(output)]) == 0
    return output


def export(run, path, *options):
    return cli.main(["export", str(path), "--model", str(run), *options])


def test_train_exports_onnx(run):
    graph = onnx.load(run / "model.onnx").graph
    assert [tensor.name for tensor in graph.input] == ["images"]
    assert (run / "model.labels.txt").read_text().split() == list("0123456789")
    assert not (run / "model.tflite").exists()


def test_int8(run, capsys, tmp_path):
    path = tmp_path / "net.tflite"
    options = ["--quantize", "int8", "--input-type", "uint8"]
    assert export(run, path, *options) == 0
    assert "calibrated on 256 images" in capsys.readouterr().out
    report = json.loads((tmp_path / "net.tflite.json").read_text())
    assert report["samples"] == 256
    assert report["top1_agreement"] >= 0.97
    assert report["integer"]
    signature = interpreter.Interpreter(str(path)).get_signature_runner()
    assert signature.get_input_details()["images"]["dtype"].__name__ == "uint8"


def test_onnx_options(run, tmp_path):
    path = tmp_path / "net.onnx"
    options = ["--format", "onnx", "--opset", "13", "--channels-first"]
    assert export(run, path, *options) == 0
    model = onnx.load(path)
    assert model.opset_import[0].version == 13
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims[1:]] == [1, 8, 8]


def test_served_pictures(run, capsys, tmp_path):
    options = ["--format", "saved_model", "--serving-version", "2"]
    path = tmp_path / "served"
    assert export(run, path, *options, "--with-preprocessing") == 0
    assert "classify_pixels" in capsys.readouterr().out
    loaded = tf.saved_model.load(path / "2")
    pixels = np.full((1, 30, 20, 3), 40, "uint8")
    pixels[:, 8:22, 9:12] = 200
    answer = loaded.signatures["classify_pixels"](pixels=tf.constant(pixels))
    file = tmp_path / "one.png"
    file.write_bytes(tf.io.encode_png(pixels[0]).numpy())
    expected = Trained.load(run).predict(file)[:5]
    names = [name.decode() for name in answer["labels"].numpy()[0]]
    assert names == [name for name, _ in expected]
    np.testing.assert_allclose(
        answer["probabilities"][0], [x for _, x in expected], atol=1e-6
    )


@pytest.mark.parametrize(("given", "size"), [("0", -1), ("3", 3)])
def test_batch_size(given, size, run, tmp_path):
    path = tmp_path / "net.tflite"
    assert export(run, path, "--batch-size", given) == 0
    details = interpreter.Interpreter(str(path)).get_input_details()[0]
    assert details["shape_signature"][0] == size


def test_samples_are_spread_over_the_data(run):
    trained = Trained.load(run)
    source, _ = trained.source(None)
    images = trained.samples(100, split="train")
    assert images.shape == (100, 8, 8, 1)
    everything = trained.samples(source.train.size, split="train")
    assert len(everything) == source.train.size
    places = [i * source.train.size // 100 for i in range(100)]
    assert places[1] > 1
    assert (images == everything[places]).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--format", "saved_model", "--quantize", "int8"],
            "`--quantize` must only be given with --format tflite",
        ),
        (
            ["--format", "tflite", "--opset", "13"],
            "`--opset` must only be given with --format onnx",
        ),
        (
            ["--channels-first"],
            "`--channels-first` must only be given with --format onnx",
        ),
        (
            ["--with-preprocessing"],
            "must only be given with --format saved_model. Received: --with",
        ),
        (
            ["--format", "saved_model", "--batch-size", "0"],
            "must only be given with --format tflite or --format onnx. Rec",
        ),
        (["--quantize", "int4"], "`--quantize` must be one of none, float16"),
        (["--output-type", "int8"], "`--output-type` must be float32 unless"),
        (["--format", "onnx", "--opset", "99"], "`--opset` must be an integer"),
    ],
)
def test_refused(options, sentence, run, capsys, tmp_path):
    names = {"saved_model": "net", "onnx": "net.onnx"}
    path = tmp_path / names.get(" ".join(options[1:2]), "net.tflite")
    capsys.readouterr()
    assert export(run, path, *options) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_mismatch_is_exit_code_1(run, capsys, tmp_path, monkeypatch):
    tampered(monkeypatch, lambda shares: 1 - shares)
    assert export(run, tmp_path / "net.tflite", "--quantize", "int8") == 1
    assert "was not kept" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
