"""What travels inside an exported file."""

import dataclasses
import json
import os
import zipfile

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert import interpreter
from export_models import FORMATS
from export_models import randomised
from keras import layers

import eca_keras
from eca_keras.applications.image_settings import Preprocessing

SETTINGS = Preprocessing(
    labels=("tench", "Kätzchen", "crane", "crane"),
    image_size=12,
    channels=3,
    crop_fraction=0.875,
    interpolation="bicubic",
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
)
LABELS = "tench\nKätzchen\ncrane\ncrane\n"


@pytest.fixture(scope="module")
def net():
    inputs = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(inputs))
    x = layers.Dense(4, activation="softmax")(x)
    return randomised(keras.Model(inputs, x))


def same(text):
    fields = json.loads(text)
    for name in ("labels", "mean", "std"):
        fields[name] = tuple(fields[name])
    return Preprocessing(**fields) == SETTINGS


@pytest.mark.slow
def test_tflite(net, tmp_path):
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(net, path, preprocessing=SETTINGS)
    assert report.size == path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt", "preprocessing.json"]
        # TFLite Metadata asks for it: phones map the file into memory.
        assert {i.compress_type for i in archive.infolist()} == {0}
        assert archive.read("labels.txt").decode() == LABELS
        assert same(archive.read("preprocessing.json"))
    assert (tmp_path / "net.labels.txt").read_text("utf-8") == LABELS
    written = json.loads((tmp_path / "net.tflite.json").read_text())
    assert same(json.dumps(written["preprocessing"]))
    # The same bytes again, and the model is what comes first.
    first = path.read_bytes()
    eca_keras.export_tflite(net, path, preprocessing=SETTINGS)
    assert path.read_bytes() == first
    eca_keras.export_tflite(net, path)
    assert not zipfile.is_zipfile(path)
    assert first.startswith(path.read_bytes())
    images = np.random.default_rng(0).normal(size=(1, 12, 12, 3))
    images = images.astype("float32")
    loaded = interpreter.Interpreter(model_content=first)
    np.testing.assert_allclose(
        loaded.get_signature_runner()(images=images)["outputs"],
        net(images, training=False),
        atol=1e-5,
    )


def test_onnx(net, tmp_path):
    path = tmp_path / "net.onnx"
    eca_keras.export_onnx(net, path, preprocessing=SETTINGS)
    session = onnxruntime.InferenceSession(path)
    values = session.get_modelmeta().custom_metadata_map
    assert json.loads(values["labels"]) == list(SETTINGS.labels)
    assert same(values["preprocessing"])
    assert (tmp_path / "net.labels.txt").read_text("utf-8") == LABELS
    eca_keras.export_onnx(net, path)
    assert not onnx.load(path).metadata_props


def test_saved_model(net, tmp_path):
    eca_keras.export_saved_model(net, tmp_path / "net", preprocessing=SETTINGS)
    extra = tmp_path / "net" / "assets.extra"
    assert same((extra / "preprocessing.json").read_text("utf-8"))
    assert (extra / "labels.txt").read_text("utf-8") == LABELS


@pytest.mark.parametrize("format", FORMATS)
def test_labels_alone(format, net, tmp_path):
    function, name = FORMATS[format]
    function(net, tmp_path / name, labels=list(SETTINGS.labels))
    if format == "tflite":
        assert zipfile.ZipFile(tmp_path / name).namelist() == ["labels.txt"]


@pytest.mark.parametrize("format", FORMATS)
def test_what_does_not_fit(format, net, tmp_path):
    function, name = FORMATS[format]
    for fields, sentence in (
        ({"image_size": 16}, "`preprocessing` must make what the model takes"),
        ({"labels": ("a",)}, "`preprocessing` must have one label per output"),
    ):
        settings = dataclasses.replace(SETTINGS, **fields)
        with pytest.raises(ValueError, match=sentence):
            function(net, tmp_path / name, preprocessing=settings)
    with pytest.raises(ValueError, match="`labels` must be None or those of"):
        function(
            net,
            tmp_path / name,
            preprocessing=SETTINGS,
            labels=list("abcd"),
        )
    assert not os.listdir(tmp_path)
