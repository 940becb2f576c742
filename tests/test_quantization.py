"""Quantised TFLite files: what they hold, cost and refuse."""

import json
import os

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter
from export_models import dense_net
from export_models import randomised
from export_models import small_net
from export_models import tampered
from keras import layers

import eca_keras
from eca_keras.export import ExportMismatch
from eca_keras.export.checking import network as compare
from eca_keras.export.checking import samples as sampling
from eca_keras.export.tflite import quantization

INT8_ECA_OPS = ("MEAN", "RESHAPE", "CONV_2D", "LOGISTIC", "RESHAPE", "MUL")


@pytest.fixture(scope="module")
def net():
    """Wide enough for the converter to store weights in 8 bits."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(64, 3)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(eca_keras.ECA()(x))
    x = layers.Conv2D(64, 3)(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return randomised(keras.Model(inputs, layers.Dense(5)(x)))


def tensors(path):
    """Tensors by what they are: constants by dtype."""
    loaded = interpreter.Interpreter(str(path))
    loaded.allocate_tensors()
    return loaded.get_tensor_details()


def export(model, folder, **arguments):
    return eca_keras.export_tflite(model, folder / "net.tflite", **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", quantization.KINDS)
def test_kinds(quantize, net, tmp_path):
    report = export(net, tmp_path, quantize=quantize)
    kind = quantization.KINDS[quantize]
    assert report.passed
    assert report.varies
    assert report.tolerance == kind.tolerance
    assert report.samples == kind.samples
    assert kind.weights in str(report)
    assert "latency" in str(report)
    written = json.loads((tmp_path / "net.tflite.json").read_text())
    assert written["integer"] == kind.integer
    assert written["top1_agreement"] >= 0.97
    assert 0 < written["seconds"] < 1
    floats = 4 * net.count_params()
    share, more = {
        "none": (1, 16_000),
        "float16": (0.5, 8_000),
        "dynamic": (0.25, 10_000),
        "int8": (0.25, 16_000),
    }[quantize]
    assert share * floats < report.size < share * floats + more


def test_int8_is_integers_throughout(net, tmp_path):
    report = export(
        net,
        tmp_path,
        quantize="int8",
        input_type="int8",
        output_type="uint8",
    )
    assert {"QUANTIZE", "DEQUANTIZE"}.isdisjoint(set(report.ops[:-1]))
    dtypes = {np.dtype(t["dtype"]).name for t in tensors(report.path)}
    assert "float32" not in dtypes
    # ECA stays six operations.
    joined = " ".join(report.ops)
    assert " ".join(INT8_ECA_OPS) in joined


def test_convolutions_are_quantised_per_channel(net, tmp_path):
    report = export(net, tmp_path, quantize="int8")
    scales = {
        tuple(t["shape"].tolist()): len(t["quantization_parameters"]["scales"])
        for t in tensors(report.path)
        if len(t["shape"]) == 4 and t["dtype"] == np.int8
    }
    assert scales[(64, 3, 3, 3)] == 64
    assert scales[(64, 3, 3, 64)] == 64
    # ECA's band over 8 channels at a time; its rows are one kernel, shifted.
    assert scales[(8, 1, 3, 8)] == 8


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integer_input_and_output(dtype, net, tmp_path):
    report = export(
        net, tmp_path, quantize="int8", input_type=dtype, output_type=dtype
    )
    run = interpreter.Interpreter(report.path).get_signature_runner()
    given = run.get_input_details()["images"]
    answered = run.get_output_details()["outputs"]
    assert given["dtype"] == answered["dtype"] == np.dtype(dtype)
    images = sampling.generate(net, (16, 16, 3), 4).astype("float32")
    scale, zero = given["quantization"]
    limits = np.iinfo(dtype)
    for image in images:
        integers = np.clip(
            np.round(image / scale) + zero, limits.min, limits.max
        ).astype(dtype)
        answer = run(images=integers[None])["outputs"]
        assert answer.dtype == dtype
        step, middle = answered["quantization"]
        answer = step * (answer.astype(float) - middle)
        expected = np.asarray(net(image[None], training=False))
        assert np.abs(answer - expected).mean() < 0.3 * report.variation


@pytest.mark.parametrize("batch_size", [3, None])
def test_batch_size(batch_size, net, tmp_path):
    report = export(net, tmp_path, quantize="int8", batch_size=batch_size)
    assert report.passed
    loaded = interpreter.Interpreter(report.path)
    signature = loaded.get_input_details()[0]["shape_signature"]
    assert signature[0] == (batch_size or -1)


def test_half_precision_model(tmp_path):
    model = randomised(small_net(policy="mixed_float16"))
    report = export(model, tmp_path, quantize="int8", least_agreement=0.9)
    assert "was rebuilt in float32" in str(report)
    assert "calibrated on 128 images" in str(report)


# Representative images


def test_representative_images_set_the_ranges(net, tmp_path):
    images = sampling.generate(net, (16, 16, 3), 120).astype("float32")
    scales = []
    for factor in (1, 4):
        report = export(
            net,
            tmp_path,
            samples=images,
            representative=factor * images,
            quantize="int8",
            least_agreement=0,
            tolerance=1.0,
        )
        scales.append(
            max(
                t["quantization"][0]
                for t in tensors(report.path)
                if tuple(t["shape"]) == (1, 16, 16, 3)
            )
        )
    assert scales[1] == pytest.approx(4 * scales[0], rel=1e-3)


def test_few_representative_images_are_noted(net, tmp_path):
    images = sampling.generate(net, (16, 16, 3), 128).astype("float32")
    report = export(
        net,
        tmp_path,
        samples=images,
        representative=images[:20],
        quantize="int8",
        least_agreement=0.9,
        tolerance=0.5,
    )
    assert "calibrated on 20 images: 100 or more" in str(report)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((0, 16, 16, 3)), "`representative` must have the shape"),
        (np.zeros((2, 16, 8, 3)), r"\(count, 16, 16, 3\), with one sample"),
        ([np.zeros((16, 16, 3)), np.zeros((8, 8, 3))], "several shapes"),
        (np.full((2, 16, 16, 3), np.inf), "`representative` must be finite"),
        (np.zeros((2, 16, 16, 3), "complex64"), "must be float32"),
    ],
)
def test_wrong_representative_images(images, sentence, net, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(net, tmp_path, quantize="int8", representative=images)
    assert not os.listdir(tmp_path)


# Refused


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"quantize": "int4"}, "`quantize` must be one of none, float16,"),
        ({"quantize": None}, "`quantize` must be one of"),
        (
            {"quantize": "dynamic", "representative": np.zeros((1, 4))},
            "`representative` must be None unless quantize='int8'",
        ),
        ({"input_type": "int8"}, "`input_type` must be float32 unless"),
        (
            {"output_type": "uint8", "quantize": "float16"},
            "`output_type` must be float32 unless",
        ),
        (
            {"input_type": "int16", "quantize": "int8"},
            "`input_type` must be one of float32, int8, uint8",
        ),
        ({"least_agreement": 97}, "`least_agreement` must be between 0 and 1"),
    ],
)
def test_wrong_arguments(arguments, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(dense_net(), tmp_path, **arguments)
    assert not os.listdir(tmp_path)


def test_integer_model_is_refused_in_int8(tmp_path):
    model = small_net(first=[layers.Rescaling(1 / 255)], dtype="uint8")
    with pytest.raises(ValueError, match="must have a float input.* uint8"):
        export(randomised(model), tmp_path, quantize="int8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda y: y + y.std(),  # the mean difference
        lambda y: np.roll(y, 1, axis=-1),
        lambda y: np.broadcast_to(y.mean(0), y.shape),  # deaf to the input
    ],
)
def test_mismatch(change, net, tmp_path, monkeypatch):
    tampered(monkeypatch, change)
    with pytest.raises(ExportMismatch, match="on average .*not kept") as error:
        export(net, tmp_path, quantize="int8")
    assert not os.listdir(tmp_path)
    assert not error.value.report.passed


def test_agreement_counts(monkeypatch):
    expected = np.eye(4)[np.arange(100) % 4]
    actual = expected.copy()
    actual[:4] = expected[1:5]  # four samples of another class
    fields = {"path": "p", "format": "f", "size": 1, "integer": True}
    fields["tolerance"] = 0.3
    report = compare.compare(expected, actual, least_agreement=0.96, **fields)
    assert report.variation == pytest.approx(2 * 0.25 * 0.75)
    assert report.mean_absolute_error == pytest.approx(0.02)
    with pytest.raises(ExportMismatch, match="top-1 of 96.0%.*needed 97%"):
        compare.compare(expected, actual, least_agreement=0.97, **fields)


def test_outputs_that_do_not_vary(net, tmp_path):
    model = keras.models.clone_model(net)
    model.set_weights(net.get_weights())
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0 * kernel, bias])
    with pytest.raises(ValueError, match="outputs do not vary"):
        export(model, tmp_path, quantize="int8")
    report = export(model, tmp_path, quantize="int8", allow_constant=True)
    assert not report.varies
    assert "proves little" in str(report)


def test_export_is_silent(net, tmp_path, capfd):
    capfd.readouterr()
    export(net, tmp_path, quantize="int8")
    assert capfd.readouterr() == ("", "")
