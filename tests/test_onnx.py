"""What an ONNX file has that the other formats do not."""

import os
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from export_models import randomised
from export_models import small_net

import eca_keras
from eca_keras.export import onnx as onnx_export


@pytest.fixture(scope="module")
def net():
    return randomised(small_net())


def versions(path):
    return {
        entry.domain: entry.version for entry in onnx.load(path).opset_import
    }


def answers(path, images):
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    return session.run(["outputs"], {"images": images})[0]


def shapes(tensors):
    """Names and shapes, a size that is not fixed by its name."""
    return {
        tensor.name: [
            dim.dim_param or dim.dim_value
            for dim in tensor.type.tensor_type.shape.dim
        ]
        for tensor in tensors
    }


def test_names_and_shapes(net, tmp_path):
    path = tmp_path / "net.onnx"
    eca_keras.export_onnx(net, path)
    graph = onnx.load(path).graph
    assert shapes(graph.input) == {"images": ["batch", 16, 16, 3]}
    assert shapes(graph.output) == {"outputs": ["batch", 5]}
    assert versions(path)[""] == onnx_export.OPSET
    for count in (1, 5):
        images = np.random.default_rng(1).normal(size=(count, 16, 16, 3))
        images = images.astype("float32")
        expected = np.asarray(net(images, training=False))
        np.testing.assert_allclose(answers(path, images), expected, atol=1e-5)


def test_fixed_batch(net, tmp_path):
    path = tmp_path / "net.onnx"
    report = eca_keras.export_onnx(net, path, batch_size=3)
    assert report.samples == 8  # 3 does not divide it
    assert report.batch_size == 3
    graph = onnx.load(path).graph
    assert shapes(graph.input) == {"images": [3, 16, 16, 3]}
    assert shapes(graph.output) == {"outputs": [3, 5]}
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3))
    images = images.astype("float32")
    expected = np.asarray(net(images, training=False))
    np.testing.assert_allclose(answers(path, images), expected, atol=1e-5)


def test_channels_first_input(net, tmp_path):
    path = tmp_path / "net.onnx"
    report = eca_keras.export_onnx(net, path, channels_first=True)
    assert report.varies
    graph = onnx.load(path).graph
    assert shapes(graph.input) == {"images": ["batch", 3, 16, 16]}
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 3))
    images = images.astype("float32")
    np.testing.assert_allclose(
        answers(path, images.transpose(0, 3, 1, 2)),
        np.asarray(net(images, training=False)),
        atol=1e-5,
    )


@pytest.mark.parametrize("opset", [11, onnx_export.LAST_OPSET])
def test_opset(opset, net, tmp_path):
    path = tmp_path / "net.onnx"
    report = eca_keras.export_onnx(net, path, opset=opset)
    assert report.varies
    assert f"opset {opset}" in str(report)
    assert versions(path)[""] == opset


def test_variable_size(tmp_path):
    model = randomised(small_net((None, None, 3)))
    path = tmp_path / "net.onnx"
    eca_keras.export_onnx(model, path)
    images = np.random.default_rng(1).normal(size=(2, 20, 28, 3))
    images = images.astype("float32")
    expected = np.asarray(model(images, training=False))
    np.testing.assert_allclose(answers(path, images), expected, atol=1e-5)


def test_constants_of_layers_are_in_the_file(tmp_path):
    first = [keras.layers.Normalization(mean=[1, 2, 3], variance=[4, 5, 6])]
    path = tmp_path / "net.onnx"
    report = eca_keras.export_onnx(randomised(small_net(first=first)), path)
    assert report.varies
    assert shapes(onnx.load(path).graph.input).keys() == {"images"}


def test_half_precision_is_rebuilt_in_float32(tmp_path):
    path = tmp_path / "net.onnx"
    model = randomised(small_net(policy="mixed_float16"))
    report = eca_keras.export_onnx(model, path)
    assert "was rebuilt in float32" in str(report)
    images = np.ones((1, 16, 16, 3), "float32")
    assert answers(path, images).dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"opset": 10}, "`opset` must be an integer from 11 to 18"),
        ({"opset": 19}, "`opset` must be an integer from 11 to 18"),
        ({"opset": 17.0}, "`opset` must be an integer"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer or None"),
        ({"tolerance": 0}, "`tolerance` must be a positive"),
    ],
)
def test_wrong_arguments(arguments, sentence, net, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        eca_keras.export_onnx(net, tmp_path / "net.onnx", **arguments)
    assert not os.listdir(tmp_path)


def test_wrong_path(net, tmp_path):
    with pytest.raises(ValueError, match="`path` must end in .onnx"):
        eca_keras.export_onnx(net, tmp_path / "net")
    assert not os.listdir(tmp_path)


def test_channels_first_needs_images(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="`channels_first` must be False"):
        eca_keras.export_onnx(model, tmp_path / "a.onnx", channels_first=True)


def test_operation_that_onnx_lacks(tmp_path, capfd):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.ops.erfinv(inputs))
    capfd.readouterr()
    with pytest.raises(ValueError, match="ONNX has. Received: a model with E"):
        eca_keras.export_onnx(model, tmp_path / "net.onnx")
    assert not os.listdir(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["tf2onnx", "onnx", "onnxruntime"])
def test_package_is_missing(package, net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError,
        match=rf"needs {package}: pip install 'eca-keras\[export\]'",
    ):
        eca_keras.export_onnx(net, tmp_path / "net.onnx")
