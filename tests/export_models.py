"""Small models for the tests of exports."""

import keras
import numpy as np
from keras import layers

import eca_keras
from eca_keras.export import exporter

FORMATS = {
    "saved_model": (eca_keras.export_saved_model, "net"),
    "tflite": (eca_keras.export_tflite, "net.tflite"),
    "onnx": (eca_keras.export_onnx, "net.onnx"),
}


def randomised(model, seed=0):
    """Gives every weight a value that shows: a fresh network is constant."""
    rng = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.name == "moving_variance":
            value = rng.uniform(0.5, 1.5, shape)
        elif variable.name == "gamma":
            value = rng.uniform(0.5, 1.0, shape)
        else:
            # A depthwise kernel has the shape (height, width, channels, 1).
            depthwise = len(shape) == 4 and shape[-1] == 1
            inputs = shape[: 2 if depthwise else -1]
            fan_in = np.prod(inputs) if len(shape) > 1 else 10
            value = rng.normal(0, np.sqrt(2 / fan_in), shape)
        values.append(value)
    model.set_weights(values)
    return model


def small_net(shape=(16, 16, 3), first=(), dtype="float32", policy=None):
    inputs = keras.Input(shape, dtype=dtype)
    x = inputs
    for layer in first:
        x = layer(x)
    x = layers.Conv2D(16, 3, dtype=policy)(x)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = eca_keras.ECA(dtype=policy)(x)
    x = layers.ReLU(dtype=policy)(x)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    return keras.Model(inputs, layers.Dense(5, dtype=policy)(x))


def dense_net(units=5, width=4):
    """The model that is exported fastest."""
    inputs = keras.Input((width,))
    return keras.Model(inputs, layers.Dense(units)(inputs))


def content(path):
    """Every file under a folder with its bytes."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
    }


def tampered(monkeypatch, change):
    """Change the outputs of all files before they are compared."""
    original = exporter.file_outputs

    def outputs(*arguments):
        outputs = original(*arguments)
        return {name: change(values) for name, values in outputs.items()}

    monkeypatch.setattr(exporter, "file_outputs", outputs)
