"""A call of every public function that is for any backend, by its name.

What is not a call here needs TensorFlow, and says so: `TENSORFLOW_ONLY`.
"""

import pathlib
import unittest.mock

import keras
import numpy as np
from cases import CASES
from cases import make_map
from cases import randomize
from torch_writer import save

import eca_keras
from eca_keras import applications
from eca_keras import visualize
from eca_keras import weights
from eca_keras.weights import naming

SHAPE = (16, 16, 3)

# Public names that are no functions.
NO_CALLS = {
    *("__version__", "applications", "layers", "visualize", "weights"),
    *("HOSTED", "Network", "CheckpointError", "Profile", "ChannelWeights"),
}


def images(count=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *SHAPE)).astype("float32")


def small(**arguments):
    """A network that tells images apart."""
    model = applications.ECAResNet20(input_shape=SHAPE, classes=4, **arguments)
    randomize(model)
    return model


def calls(folder):
    """Functions without arguments, which raise where something is wrong."""
    model, x = small(), images()
    keras_file = pathlib.Path(folder) / "model.keras"
    model.save(keras_file)
    checkpoint = pathlib.Path(folder) / "model.pth"
    published = applications.ECAMobileNetV2(
        input_shape=(32, 32, 3), classes=4, alpha=0.1
    )
    randomize(published)
    save(_state(published), checkpoint)

    def insert_attention():
        plain = small(attention=None)
        before = plain.predict(x, verbose=0)
        copy = eca_keras.insert_attention(plain, identity_start=True)
        for _ in range(2):
            for each in (copy, plain):
                _equal(each.predict(x, verbose=0), before)
        copy.compile("sgd", "mse")
        copy.fit(x, before, verbose=0)
        _equal(plain.predict(x, verbose=0), before)

    def load_checkpoint():
        loaded = weights.load_checkpoint(checkpoint, input_shape=(32, 32, 3))
        inputs = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
        _equal(
            loaded.predict(inputs, verbose=0),
            published.predict(inputs, verbose=0),
        )

    def load_into():
        other = applications.ECAMobileNetV2(
            input_shape=(32, 32, 3), classes=4, alpha=0.1
        )
        weights.load_into(other, checkpoint)
        _same_weights(other, published)

    def load_model():
        loaded = eca_keras.load_model(keras_file)
        _equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

    def weights_argument():
        _same_weights(small(weights=keras_file), model)

    def saved_and_loaded():
        for path in (keras_file, keras_file.with_suffix(".h5")):
            model.save(path)
            loaded = keras.models.load_model(path)
            _equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

    def trained():
        other = small()
        other.compile("sgd", "sparse_categorical_crossentropy")
        history = other.fit(x, np.array([0, 1]), verbose=0).history
        assert np.isfinite(history["loss"]).all()

    def decode_predictions():
        scores = np.eye(1000, dtype="float32")[[3, 7]]
        names = {str(i): [f"n{i}", f"class {i}"] for i in range(1000)}
        utils = keras.src.applications.imagenet_utils  # else a download
        with unittest.mock.patch.object(utils, "CLASS_INDEX", names):
            for values in (scores, keras.ops.convert_to_tensor(scores)):
                decoded = applications.decode_predictions(values, top=1)
                assert [row[0][0] for row in decoded] == ["n3", "n7"]
            assert applications.decode_predictions(scores[:0]) == []

    def preprocess_input():
        raw = (np.abs(x) * 50).astype("uint8")
        expected = np.asarray(applications.preprocess_input(raw))
        tensor = applications.preprocess_input(keras.ops.convert_to_tensor(raw))
        _equal(keras.ops.convert_to_numpy(tensor), expected)

    def stage_outputs():
        stages = applications.stage_outputs(model)
        keras.Model(model.input, stages).predict(x, verbose=0)

    def benchmark():
        rows = eca_keras.benchmark(
            model, batch_sizes=[1], training_batch_size=2, rounds=2
        )
        assert {row.task for row in rows} == {"inference", "training"}

    def profile():
        counted = eca_keras.profile(model)
        assert counted.parameters == model.count_params()

    def channel_weights():
        gates = visualize.channel_weights(model, x)
        assert set(visualize.by_stage(gates))
        means = visualize.class_means(gates[0].gates, np.array([0, 1]), [0, 1])
        assert visualize.class_spread(means) > 0

    return {
        **{
            f"layers.{case.layer.__name__}": _layer(case)
            for case in CASES.values()
        },
        "adaptive_kernel_size": lambda: eca_keras.adaptive_kernel_size(64),
        "insert_attention": insert_attention,
        "profile": profile,
        "benchmark": benchmark,
        "load_checkpoint": load_checkpoint,
        "load_into": load_into,
        "load_model": load_model,
        "inspect_checkpoint": lambda: weights.inspect_checkpoint(checkpoint),
        "preprocessing": lambda: weights.preprocessing("ECAResNet50T"),
        "weights=PATH": weights_argument,
        "save and load_model": saved_and_loaded,
        "fit": trained,
        "decode_predictions": decode_predictions,
        "preprocess_input": preprocess_input,
        "stage_outputs": stage_outputs,
        "channel_weights": channel_weights,
        "channel_kernels": lambda: visualize.channel_kernels(model),
    }


# By-products of the calls above.
TOGETHER = {"by_stage", "class_means", "class_spread"}


def _layer(case):
    def call():
        layer = case.make()
        inputs = make_map((2, 5, 4, 32)).astype("float32")
        assert tuple(layer(inputs).shape) == inputs.shape
        assert tuple(layer(inputs[:0]).shape) == (0, 5, 4, 32)

    return call


def _state(model):
    return {
        name: np.ascontiguousarray(
            np.array(variable.variable).transpose(variable.axes)
        )
        for name, variable in naming.torch_variables(model).items()
    }


def _equal(values, expected):
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3


def _same_weights(model, expected):
    for ours, theirs in zip(
        model.get_weights(), expected.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
