"""Layers with state of every kind, each in a model that attention goes into.

    KERAS_BACKEND=jax python tests/surgery_zoo.py

prints, for each, a line of JSON: its name and what is wrong with its copy.
"""

import contextlib
import json
import pathlib
import sys
import traceback

import keras
import numpy as np
import tensorflow
from keras import layers
from keras import ops

from eca_keras import insert_attention

RNG = np.random.default_rng(0)
WORDS = np.array([["b a"], ["a c a"], ["d b a"], ["a a e"]])
TOKENS = np.array([["a", "b"], ["a", "c"], ["z", "a"], ["c", "a"]])
NUMBERS = np.array([[1, 2], [5, 7], [99, 1], [5, 5]])
VECTORS = (3 * RNG.normal(size=(4, 6)) + 1).astype("float32")
SEQUENCES = RNG.normal(size=(4, 5, 6)).astype("float32")
IMAGES = RNG.normal(size=(4, 8, 6, 3)).astype("float32")
VIDEOS = RNG.normal(size=(2, 3, 8, 6, 3)).astype("float32")


class Assets(layers.Layer):
    """Multiplies by what is in a file beside the model's variables."""

    factor = 1.0

    def call(self, inputs):
        return inputs * self.factor

    def save_assets(self, folder):
        pathlib.Path(folder, "factor.txt").write_text(str(self.factor))

    def load_assets(self, folder):
        self.factor = float(pathlib.Path(folder, "factor.txt").read_text())


class OwnVariables(layers.Layer):
    """Stores a number that is no variable among its variables."""

    def build(self, shape):
        self.bias = self.add_weight(shape=(shape[-1],), name="bias")
        self._numbers = {"factor": object()}  # nothing that could be copied
        self.factor = lambda: 1.0

    def call(self, inputs):
        return inputs * self.factor() + self.bias

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["factor"] = np.float32(self.factor())

    def load_own_variables(self, store):
        factor = float(store.pop("factor"))
        super().load_own_variables(store)
        self.factor = lambda: factor


class OwnBuild(layers.Layer):
    """Is built from more than a shape."""

    def adapt(self, width):
        self.width = int(width)

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], getattr(self, "width", 2)), name="kernel"
        )

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)

    def get_build_config(self):
        return {**super().get_build_config(), "width": self.width}

    def build_from_config(self, config):
        self.width = config["width"]
        super().build_from_config(config)


class Scaler:
    """What a layer keeps its state in."""

    def __init__(self):
        self.mean = np.zeros(1, "float32")


class Attributes(layers.Layer):
    """Learns plain attributes, a tensor, and an object with attributes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaler, self.bounds, self.scale = Scaler(), {}, None

    def adapt(self, values):
        self.scaler.mean = values.mean(0)
        self.bounds["above"] = float(values.max())
        self.scale = ops.convert_to_tensor(values.std(0))
        self.power = 2

    def call(self, inputs):
        if self.scale is None:
            return inputs
        values = (inputs - self.scaler.mean) / self.scale
        return ops.minimum(values, self.bounds["above"]) ** self.power


class Inside(layers.Layer):
    """Layers in a list, a dictionary and an attribute, and a metric."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.some = [layers.Dense(4), layers.Dense(4)]
        self.more = {"a": layers.Dense(4), "b": layers.BatchNormalization()}
        self.mean = keras.metrics.Mean()

    def build(self, shape):
        for layer in self.some:
            layer.build(shape)
            shape = (*shape[:-1], 4)
        self.more["a"].build(shape)
        self.more["b"].build(shape)

    def call(self, inputs):
        for layer in (*self.some, self.more["a"], self.more["b"]):
            inputs = layer(inputs)
        return inputs


class AddedLoss(layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.mean(inputs**2))
        return inputs * 2


class Twice(layers.Layer):
    """Of a layer that it is given."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs):
        return self.layer(self.layer(inputs))

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


class Subclass(keras.Model):
    """With a `call` of its own, a frozen layer and a seed."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = layers.Dense(width)
        self.dropout = layers.Dropout(0.5, seed=3)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs, training=None):
        return self.dropout(self.dense(inputs), training=training)

    def get_config(self):
        return {"name": self.name, "width": self.width}


def by_two(x):
    return 2 * x


def squashed(x):
    return ops.tanh(x) * 3


def adapted(layer, data):
    layer.adapt(data)
    return layer


def text(mode, data=WORDS, dtype="string"):
    layer = layers.TextVectorization(output_mode=mode)
    return adapted(layer, np.ravel(WORDS)), data, dtype


def lookup(kind, data, **arguments):
    dtype = "string" if data is TOKENS else str(data.dtype)
    return adapted(kind(**arguments), data), data, dtype


def called(layer, data, dtype="float32"):
    return layer, data, dtype


def attribute_layer():
    layer = Attributes()
    layer.adapt(VECTORS)
    return called(layer, VECTORS)


def assets():
    layer = Assets()
    layer.factor = 2.5
    return called(layer, VECTORS)


def own_variables():
    layer = OwnVariables()
    layer.build((None, 6))
    layer.factor = lambda: 2.5
    return called(layer, VECTORS)


def own_build():
    layer = OwnBuild()
    layer.adapt(9)
    return called(layer, VECTORS)


def lora():
    layer = layers.Dense(5)
    layer.build((None, 6))
    layer.enable_lora(2)
    return called(layer, VECTORS)


def quantized(mode, layer, data=VECTORS):
    layer.build((None, *data.shape[1:]))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    layer.quantize(mode)
    return called(layer, data)


def closure():
    factor = float(RNG.normal())
    return layers.Lambda(lambda x: x * factor, output_shape=lambda shape: shape)


CASES = {
    "text int": lambda: text("int"),
    "text multi_hot": lambda: text("multi_hot"),
    "text count": lambda: text("count"),
    "text tf_idf": lambda: text("tf_idf"),
    "strings": lambda: lookup(layers.StringLookup, TOKENS),
    "strings tf_idf": lambda: lookup(
        layers.StringLookup, TOKENS, output_mode="tf_idf", num_oov_indices=2
    ),
    "strings given": lambda: (
        layers.StringLookup(vocabulary=["a", "c"]),
        TOKENS,
        "string",
    ),
    "integers": lambda: lookup(layers.IntegerLookup, NUMBERS),
    "integers multi_hot": lambda: lookup(
        layers.IntegerLookup, NUMBERS, output_mode="multi_hot"
    ),
    "normalization": lambda: lookup(layers.Normalization, VECTORS),
    "normalization inverted": lambda: lookup(
        layers.Normalization, VECTORS, invert=True
    ),
    "normalization given": lambda: called(
        layers.Normalization(mean=2.0, variance=3.0), VECTORS
    ),
    "discretization": lambda: lookup(
        layers.Discretization, VECTORS, num_bins=4
    ),
    "discretization one_hot": lambda: lookup(
        layers.Discretization, VECTORS, num_bins=4, output_mode="one_hot"
    ),
    "categories": lambda: called(
        layers.CategoryEncoding(8, output_mode="multi_hot"), NUMBERS % 8
    ),
    "hashing": lambda: (layers.Hashing(7, salt=3), TOKENS, "string"),
    "assets": assets,
    "own variables": own_variables,
    "own build": own_build,
    "attributes": attribute_layer,
    "inside": lambda: called(Inside(), VECTORS),
    "given inside": lambda: called(Twice(layers.Dense(6)), VECTORS),
    "subclass": lambda: called(Subclass(4), VECTORS),
    "lora": lora,
    "int8": lambda: quantized("int8", layers.Dense(5)),
    "int4": lambda: quantized("int4", layers.Dense(5)),
    "float8": lambda: quantized("float8", layers.Dense(5)),
    "int8 einsum": lambda: quantized(
        "int8",
        layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"),
        SEQUENCES,
    ),
    "time": lambda: called(layers.TimeDistributed(layers.Conv2D(4, 3)), VIDEOS),
    "bidirectional": lambda: called(
        layers.Bidirectional(layers.LSTM(3)), SEQUENCES
    ),
    "cells": lambda: called(
        layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]), SEQUENCES
    ),
    "heads": lambda: called(Twice(layers.Dense(6, squashed)), SEQUENCES),
    "spectral": lambda: called(
        layers.SpectralNormalization(layers.Conv2D(4, 3)), IMAGES
    ),
    "dropout": lambda: called(layers.Dropout(0.5, seed=7), VECTORS),
    "noise": lambda: called(layers.GaussianNoise(0.5, seed=7), VECTORS),
    "flip": lambda: called(layers.RandomFlip(seed=7), IMAGES),
    "frozen": lambda: called(layers.Dense(4, trainable=False), VECTORS),
    "lambda": lambda: called(layers.Lambda(lambda x: x * 2 + 1), VECTORS),
    "function": lambda: called(layers.Lambda(by_two), VECTORS),
    "closure": lambda: called(closure(), VECTORS),
    "lambda inside": lambda: called(
        layers.TimeDistributed(closure()), SEQUENCES
    ),
    "activation": lambda: called(
        layers.Dense(4, activation=lambda x: ops.sin(x)), VECTORS
    ),
    "masking": lambda: called(
        keras.Sequential([layers.Masking(SEQUENCES[0, 0, 0]), layers.GRU(3)]),
        SEQUENCES,
    ),
    "added loss": lambda: called(AddedLoss(), VECTORS),
    "loss": lambda: called(
        layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l2"),
        VECTORS,
    ),
}

# Those that are trained, too.
USED = ("inside", "dropout", "attributes")

# Without TensorFlow underneath they cannot be part of a model.
TENSORFLOW = ("text", "strings", "hashing")


def build(case):
    """Return a model with a layer, and a convolution beside it."""
    layer, data, dtype = CASES[case]()
    inputs = keras.Input(data.shape[1:], dtype=dtype, name="data")
    images = keras.Input(IMAGES.shape[1:], name="images")
    conv = layers.Conv2D(8, 3, name="here")(images)
    model = keras.Model([inputs, images], [layer(inputs), conv], name="zoo")
    for weight in model.weights:
        if "float" in str(weight.dtype) and "float8" not in str(weight.dtype):
            low = 0.5 if "variance" in weight.name else -1
            values = RNG.uniform(low, 1, size=weight.shape)
            if "scale" not in weight.name and case != "normalization":
                weight.assign(values)
    samples = [data, IMAGES[: len(data)]]
    if dtype == "string":
        samples = [tensorflow.convert_to_tensor(each) for each in samples]
    return model, samples


@contextlib.contextmanager
def foreign(
    policy="mixed_float16", floatx="float16", data_format="channels_first"
):
    """Settings of the day that are not those of the model."""
    config = keras.config
    before = config.dtype_policy(), config.floatx(), config.image_data_format()
    config.set_dtype_policy(policy)
    config.set_floatx(floatx)
    config.set_image_data_format(data_format)
    try:
        yield
        # They are as they were.
        assert config.dtype_policy().name == policy
        assert config.floatx() == floatx
        assert config.image_data_format() == data_format
    finally:
        config.set_dtype_policy(before[0])
        config.set_floatx(before[1])
        config.set_image_data_format(before[2])


def arrays(outputs):
    return [np.array(ops.convert_to_numpy(each)) for each in outputs]


def check(model, samples):
    """Return the copy, made under other settings; it is whole, and apart."""
    model(samples)
    with foreign():
        copy = insert_attention(model, where="here", identity_start=True)
    pairs = zip(arrays(model(samples)), arrays(copy(samples)), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    losses = [float(sum(each.losses, 0.0)) for each in (model, copy)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    new = copy.get_layer("here_eca").weights
    kept = [
        sorted((w.name, w.trainable) for w in each.weights if w is not new[0])
        for each in (model, copy)
    ]
    assert kept[0] == kept[1]
    trained = arrays(model(samples, training=True))
    for one, other in zip(
        trained, arrays(copy(samples, training=True)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    ours = {id(weight) for weight in model.variables}
    assert not ours & {id(weight) for weight in copy.variables}
    policies, copies = (
        {layer.name: layer.dtype_policy for layer in each._flatten_layers()}
        for each in (model, copy)
    )
    copies.pop("here_eca")
    assert policies == copies
    return copy


def check_use(model, copy, samples):
    """Raise unless one model can be used and trained without the other."""
    before = arrays(model.predict(samples, verbose=0))
    for one in (copy, model, copy):
        after = arrays(one.predict(samples, verbose=0))
        for pair in zip(before, after, strict=True):
            np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5)
    copy.compile("sgd", "mse")
    copy.fit(samples, [each * 0 for each in before], verbose=0)
    after = arrays(model.predict(samples, verbose=0))
    for pair in zip(before, after, strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5)
    model.compile("sgd", "mse")
    model.fit(samples, [each * 0 for each in before], verbose=0)
    copy.predict(samples, verbose=0)


def main(names):
    for case in names or CASES:
        if (
            not names
            and case.startswith(TENSORFLOW)
            and keras.backend.backend() != "tensorflow"
        ):
            continue
        fault = None
        try:
            model, samples = build(case)
            copy = check(model, samples)
            if case in USED:
                check_use(model, copy, samples)
        except Exception:
            fault = traceback.format_exc(limit=-3)[-700:]
        print(json.dumps({"case": case, "fault": fault}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
