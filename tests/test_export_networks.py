"""Networks of this library through every export."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter
from export_models import randomised
from reference import golden_images
from reference import golden_logits
from reference import load_golden

import eca_keras
from eca_keras import applications
from eca_keras.training import TrainConfig
from eca_keras.training import load_source
from eca_keras.training import train
from eca_keras.training.trained import Trained

pytestmark = pytest.mark.slow

GOLDEN = {
    "eca_resnet18_k3577": applications.ECAResNet18,
    "eca_resnet50_k3557": applications.ECAResNet50,
    "eca_mobilenetv2_k13": applications.ECAMobileNetV2,
}
ECA_OPS = 6

# The golden MobileNetV2 answers every image alike, within 1e-7: too little of
# an image gets through its 17 blocks. Twice as much in each layer does.
GAIN = {"eca_mobilenetv2_k13": 2}


def delegates(path):
    """How many parts of a file XNNPACK takes."""
    loaded = interpreter.Interpreter(str(path))
    loaded.allocate_tensors()
    names = [op["op_name"] for op in loaded._get_ops_details()]
    return names.count("DELEGATE")


def golden_network(name):
    model = GOLDEN[name](
        input_shape=(128, 128, 3),
        kernel_size="paper",
        classifier_activation=None,
    )
    load_golden(model, name)
    for variable in model.weights:
        if variable.name == "gamma":
            variable.assign(variable * GAIN.get(name, 1))
    return model


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_networks(name, tmp_path):
    model = golden_network(name)
    path = tmp_path / "net.tflite"
    for report in (
        eca_keras.export_saved_model(model, tmp_path / "net"),
        eca_keras.export_tflite(model, path),
        eca_keras.export_onnx(model, tmp_path / "net.onnx"),
    ):
        print(report)
        assert report.varies
        assert report.top1_agreement == 1
        assert report.max_absolute_error < 1e-5
    assert delegates(path) == 1
    if name in GAIN:
        return
    # The released PyTorch code, and no Keras model, on the other side.
    run = interpreter.Interpreter(str(path)).get_signature_runner()
    answers = [run(images=x[None])["outputs"][0] for x in golden_images()]
    assert np.abs(np.stack(answers) - golden_logits(name)).max() < 1e-5


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8"])
@pytest.mark.parametrize("name", ["eca_resnet18_k3577", "eca_mobilenetv2_k13"])
def test_quantised_golden_networks(name, quantize, tmp_path):
    path = tmp_path / "net.tflite"
    # Random weights put the largest of 1000 logits close to the next one:
    # their agreement says little, their differences do.
    report = eca_keras.export_tflite(
        golden_network(name), path, quantize=quantize, least_agreement=0.8
    )
    print(report, f"variation {report.variation:.1e}")
    assert report.varies
    # XNNPACK has no depthwise convolution of floats with 8-bit weights.
    if quantize != "dynamic":
        assert delegates(path) == 1


def test_int8_digits(tmp_path):
    """Top-1 within one point of float32 on the 359 test digits."""
    config = TrainConfig(
        output=str(tmp_path / "run"), epochs=10, image_size=16, export=()
    )
    train(config, verbose=0)
    trained = Trained.load(tmp_path / "run")
    test = load_source("digits").test
    images = trained.samples(test.size)
    labels = np.array([int(label) for _, label in test.dataset])
    assert images.shape[0] == len(labels) == 359
    accuracy = {}
    for quantize in ("none", "dynamic", "int8"):
        path = tmp_path / f"{quantize}.tflite"
        report = trained.export(path, quantize=quantize)
        print(report)
        run = interpreter.Interpreter(str(path)).get_signature_runner()
        answers = [run(images=image[None])["outputs"][0] for image in images]
        accuracy[quantize] = np.mean(np.argmax(answers, -1) == labels)
        assert report.top1_agreement >= 0.97
    print(accuracy)
    assert accuracy["none"] > 0.95
    assert accuracy["dynamic"] >= accuracy["none"] - 0.01
    assert accuracy["int8"] >= accuracy["none"] - 0.01


def test_eca_adds_six_operations_a_block(tmp_path):
    counts = []
    for attention in ("eca", None):
        model = applications.ECAMobileNetV2(
            input_shape=(32, 32, 3), classes=3, attention=attention
        )
        path = tmp_path / "net.tflite"
        report = eca_keras.export_tflite(
            randomised(model), path, allow_constant=True
        )
        counts.append(len(report.ops))
        assert delegates(path) == 1
    assert counts[0] - counts[1] == 17 * ECA_OPS


def test_fresh_network_is_told_from_a_trained_one(tmp_path):
    model = applications.ECAMobileNetV2(input_shape=(32, 32, 3), alpha=0.35)
    path = tmp_path / "net.tflite"
    with pytest.raises(ValueError, match="outputs do not vary"):
        eca_keras.export_tflite(model, path)
    report = eca_keras.export_tflite(model, path, allow_constant=True)
    assert report.passed
    assert not report.varies


WITHOUT_LIBRARY = """
import sys
sys.modules["eca_keras"] = None
sys.modules["keras"] = None
import numpy as np
import tensorflow as tf
path, images, outputs = sys.argv[1:]
loaded = tf.saved_model.load(path)
serve = loaded.signatures["serving_default"]
np.save(outputs, serve(images=tf.constant(np.load(images)))["outputs"])
"""


def test_saved_model_needs_neither_keras_nor_this_library(tmp_path):
    inputs = keras.Input((8, 8, 16))
    model = randomised(keras.Model(inputs, eca_keras.ECA()(inputs)))
    eca_keras.export_saved_model(model, tmp_path / "net")
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 16))
    images = images.astype("float32")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / n for n in ("net", "images.npy", "outputs.npy")]
    subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARY, *map(os.fspath, files)],
        check=True,
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"),
        np.asarray(model(images, training=False)),
        atol=1e-6,
    )
