"""Epsilons of divisions, which float16 rounds to 0."""

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema
from keras import layers

import eca_keras
from eca_keras.export import ExportMismatch
from eca_keras.export.tflite import epsilons


def share(epsilon):
    """A model that divides by a sum which may be 0."""
    inputs = keras.Input((4,))
    x = keras.ops.relu(inputs)
    # A constant that is 0, and stays so, as well.
    x = x / (keras.ops.sum(x, -1, keepdims=True) + epsilon)
    return keras.Model(inputs, keras.ops.where(x > 0.0, x, 0.5 * x))


SAMPLES = np.array([[1, 2, 3, 4], [-1, -2, -3, 0], [5, 0, 0, 1]], "float32")


def test_restored(tmp_path):
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(
        share(1e-8), path, samples=SAMPLES, quantize="float16"
    )
    text = " ".join(str(report).split())
    assert "rounded the epsilon of a division to 0: it is 6e-08" in text
    run = interpreter.Interpreter(str(path)).get_signature_runner()
    [answer] = run(images=SAMPLES[1:2])["outputs"]
    np.testing.assert_array_equal(answer, 0)
    [answer] = run(images=SAMPLES[:1])["outputs"]
    np.testing.assert_allclose(answer, SAMPLES[0] / 10, rtol=1e-3)


def test_without_it_the_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(epsilons, "restore", lambda content: (content, 0))
    with pytest.raises(ExportMismatch, match="by up to nan"):
        eca_keras.export_tflite(
            share(1e-8),
            tmp_path / "net.tflite",
            samples=SAMPLES,
            quantize="float16",
        )


@pytest.mark.parametrize(
    ("epsilon", "quantize"), [(1e-3, "float16"), (1e-8, "none")]
)
def test_nothing_is_lost(epsilon, quantize, tmp_path):
    report = eca_keras.export_tflite(
        share(epsilon),
        tmp_path / "net.tflite",
        samples=SAMPLES,
        quantize=quantize,
    )
    assert "epsilon" not in str(report)


def test_data_stays_aligned(tmp_path):
    """A file that was packed again: to 16 bytes, as the converter does."""
    inputs = keras.Input((4,))
    x = layers.Dense(33, "relu")(inputs)
    x = x / (keras.ops.sum(x, -1, keepdims=True) + 1e-8)
    model = keras.Model(inputs, layers.Dense(3)(x))
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(model, path, quantize="float16")
    assert "epsilon" in str(report)
    content = path.read_bytes()
    file = schema.Model.GetRootAs(content, 0)
    whole = np.frombuffer(content, "uint8")
    start = whole.__array_interface__["data"][0]
    places = [
        buffer.DataAsNumpy().__array_interface__["data"][0] - start
        for buffer in map(file.Buffers, range(file.BuffersLength()))
        if buffer.DataLength()
    ]
    assert len(places) > 4
    assert not any(place % 16 for place in places)
