"""Exports: what is written, compared and refused."""

import contextlib
import importlib
import json
import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter
from export_models import FORMATS
from export_models import content
from export_models import dense_net
from export_models import randomised
from export_models import small_net
from export_models import tampered
from keras import layers

import eca_keras
from eca_keras.export import ExportMismatch
from eca_keras.export import Report
from eca_keras.export import precision
from eca_keras.export.checking import network as compare
from eca_keras.export.checking import samples as sampling

ECA_OPS = ("MEAN", "RESHAPE", "CONV_2D", "LOGISTIC", "RESHAPE", "MUL")


@pytest.fixture(scope="module")
def net():
    return randomised(small_net())


@pytest.fixture(params=FORMATS)
def export(request):
    """A function that exports into a folder under the usual name."""
    function, name = FORMATS[request.param]

    def call(model, folder, **arguments):
        return function(model, folder / name, **arguments)

    call.function, call.name = function, name
    return call


# What is written


def test_report(export, net, tmp_path):
    report = export(net, tmp_path)
    assert isinstance(report, Report)
    assert report.path == str(tmp_path / export.name)
    files = content(tmp_path)
    [name] = [name for name in files if name.endswith(".json")]
    written = json.loads(files.pop(name))
    assert report.size == sum(map(len, files.values()))
    if export.name == "net":
        assert name == "net/assets.extra/report.json"
    else:
        assert name == f"{export.name}.json"
        assert files.keys() == {export.name}
        assert report.threads == 1
        assert written["ops"]["MUL" if "tflite" in name else "Mul"] >= 1
    assert 0 < report.seconds < 1
    assert "latency" in str(report)
    assert written["path"] == export.name
    assert written["max_absolute_error"] == report.max_absolute_error
    assert written["passed"] is True
    assert sum(written["ops"].values()) == len(report.ops)
    assert report.samples == sampling.COUNT
    assert report.passed
    assert report.varies
    assert report.tolerance == 1e-5
    assert 0 <= report.mean_absolute_error <= report.max_absolute_error < 1e-5
    assert report.top1_agreement == 1
    assert "passed" in str(report)
    assert "proves little" not in str(report)


def test_saved_model_signature(net, tmp_path):
    eca_keras.export_saved_model(net, tmp_path / "net")
    loaded = tf.saved_model.load(tmp_path / "net")
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3))
    images = images.astype("float32")
    answer = loaded.signatures["serving_default"](images=tf.constant(images))
    assert list(answer) == ["outputs"]
    expected = np.asarray(net(images, training=False))
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)
    # Any batch size.
    assert loaded.serve(images[:1])["outputs"].shape == (1, 5)


def test_saved_model_has_each_weight_once(tmp_path):
    model = randomised(dense_net(256, 256))
    report = eca_keras.export_saved_model(model, tmp_path / "net")
    assert 4 * model.count_params() < report.size < 6 * model.count_params()


def test_saved_model_has_lookup_tables(tmp_path):
    inputs = keras.Input((4,), dtype="int64")
    x = layers.IntegerLookup(vocabulary=[1, 2, 3])(inputs)
    x = layers.Flatten()(layers.Embedding(5, 3)(x))
    model = randomised(keras.Model(inputs, layers.Dense(2)(x)))
    samples = np.random.default_rng(0).integers(0, 5, (8, 4))
    report = eca_keras.export_saved_model(
        model, tmp_path / "net", samples=samples
    )
    assert report.varies


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_tflite_batch_size(batch_size, net, tmp_path):
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(net, path, batch_size=batch_size)
    assert report.samples == sampling.COUNT  # 3 does not divide it
    loaded = interpreter.Interpreter(str(path))
    signature = loaded.get_input_details()[0]["shape_signature"]
    assert signature.tolist() == [batch_size or -1, 16, 16, 3]
    assert loaded.get_signature_list()["serving_default"] == {
        "inputs": ["images"],
        "outputs": ["outputs"],
    }
    images = np.random.default_rng(1).normal(size=(batch_size or 4, 16, 16, 3))
    images = images.astype("float32")
    answer = loaded.get_signature_runner()(images=images)["outputs"]
    expected = np.asarray(net(images, training=False))
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, None])
def test_eca_is_six_operations(batch_size, tmp_path):
    inputs = keras.Input((14, 14, 256))
    model = keras.Model(inputs, eca_keras.ECA()(inputs))
    path = tmp_path / "eca.tflite"
    report = eca_keras.export_tflite(model, path, batch_size=batch_size)
    assert report.ops == ECA_OPS
    # XNNPACK takes all of it: the interpreter appends one node per partition.
    loaded = interpreter.Interpreter(str(path))
    loaded.allocate_tensors()
    names = [op["op_name"] for op in loaded._get_ops_details()]
    assert names == [*ECA_OPS, "DELEGATE"]


def test_input_dtype(export, tmp_path):
    model = small_net(first=[layers.Rescaling(1 / 255)], dtype="uint8")
    report = export(randomised(model), tmp_path)
    assert report.varies
    assert report.passed


def test_labels(export, net, tmp_path):
    names = ["tench", "goldfish", "great white shark", "Kätzchen", "a b"]
    export(net, tmp_path, labels=names)
    path = tmp_path / "net.labels.txt"
    if export.name == "net":
        path = tmp_path / "net" / "assets.extra" / "labels.txt"
    lines = path.read_bytes().decode("utf-8")
    assert lines == "".join(f"{name}\n" for name in names)


@pytest.mark.parametrize(
    "labels",
    [["a"] * 4, ["a"] * 4 + ["b\n"], ["a"] * 4 + [""], "abcde", [1] * 5],
)
def test_wrong_labels(labels, export, net, tmp_path):
    with pytest.raises(ValueError, match="`labels` must be .*, so 5"):
        export(net, tmp_path, labels=labels)
    assert not os.listdir(tmp_path)


# Precision


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"]
)
def test_tflite_is_rebuilt_in_float32(policy, tmp_path):
    model = randomised(small_net(policy=policy))
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(model, path)
    assert report.passed
    assert report.varies
    assert "was rebuilt in float32" in str(report)
    twin = small_net()
    twin.set_weights([np.asarray(w, "float32") for w in model.get_weights()])
    images = sampling.generate(twin, (16, 16, 3), 1).astype("float32")
    loaded = interpreter.Interpreter(str(path))
    answer = loaded.get_signature_runner()(images=images)["outputs"]
    assert answer.dtype == "float32"
    expected = np.asarray(twin(images, training=False))
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    # The caller's model and policy are as they were.
    assert model.layers[1].dtype_policy.name == policy
    assert keras.config.dtype_policy().name == "float32"


class Doubled(keras.layers.Layer):
    """Not registered, with a layer inside that follows the global policy."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return 2 * self.inner(inputs)


@contextlib.contextmanager
def global_policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def test_custom_layers_are_rebuilt(tmp_path):
    with global_policy("mixed_float16"):
        inputs = keras.Input((8,))
        nested = keras.Sequential([keras.Input((8,)), Doubled()])
        model = randomised(keras.Model(inputs, nested(inputs)))
    report = eca_keras.export_tflite(model, tmp_path / "net.tflite")
    assert report.passed
    assert set(report.ops) <= {"FULLY_CONNECTED", "MUL"}


def test_adapted_layers_are_rebuilt():
    """Normalization computes with constants made of its variables."""
    x = np.random.default_rng(0).normal(3, 5, (8, 6)).astype("float32")
    with global_policy("mixed_float16"):
        normalization = layers.Normalization()
        normalization.adapt(x)
        inputs = keras.Input((6,))
        outputs = layers.Dense(4)(normalization(inputs))
        model = keras.Model(inputs, outputs)
    twin = precision.in_float32(model)
    np.testing.assert_allclose(twin(x), model(x), atol=1e-2)


class WithoutConfig(keras.layers.Layer):
    def __init__(self, units):
        super().__init__(dtype="float16")
        self.units = units

    def call(self, inputs):
        return inputs * self.units


def test_model_that_cannot_be_rebuilt(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, WithoutConfig(3)(inputs))
    with pytest.raises(ValueError, match="could not be rebuilt in float32"):
        eca_keras.export_tflite(model, tmp_path / "net.tflite")
    assert not os.listdir(tmp_path)


def test_saved_model_keeps_its_precision(tmp_path):
    model = randomised(small_net(policy="mixed_float16"))
    report = eca_keras.export_saved_model(model, tmp_path / "net")
    assert report.passed
    loaded = tf.saved_model.load(tmp_path / "net")
    assert (
        loaded.serve(np.ones((1, 16, 16, 3), "float32"))["outputs"].dtype
        == tf.float16
    )


# Comparison


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y + 1e-3,
        lambda y: np.where(y == y.max(), np.nan, y),
        lambda y: y[:, :4],
    ],
)
def test_mismatch(change, export, tmp_path, monkeypatch):
    tampered(monkeypatch, change)
    with pytest.raises(ExportMismatch, match="not kept") as error:
        export(randomised(dense_net()), tmp_path)
    assert not os.listdir(tmp_path)
    report = error.value.report
    assert report is None or not report.passed


def test_tolerance(export, net, tmp_path, monkeypatch):
    tampered(monkeypatch, lambda y: y + 1e-3)
    report = export(net, tmp_path, tolerance=1e-2)
    assert report.passed
    assert report.max_absolute_error == pytest.approx(1e-3, rel=1e-2)
    with pytest.raises(ValueError, match="`tolerance` must be a positive"):
        export(net, tmp_path, tolerance=0)


def test_tolerance_grows_with_the_outputs():
    expected = np.array([[1.0, 200.0], [3.0, 4.0]])
    fields = {"path": "p", "format": "f", "size": 1, "tolerance": 1e-5}
    report = compare.compare(expected, expected + 1.9e-3, **fields)
    assert report.allowed == pytest.approx(2e-3)
    assert report.spread == pytest.approx(196)
    with pytest.raises(ExportMismatch, match="up to 2.1e-03"):
        compare.compare(expected, expected + 2.1e-3, **fields)


def test_top1_agreement():
    fields = {"path": "p", "format": "f", "size": 1, "tolerance": 1.0}
    expected = np.array([[0.1, 0.2], [0.2, 0.1], [0.2, 0.1], [0.2, 0.1]])
    actual = expected[:, ::-1].copy()
    actual[0] = expected[0]
    report = compare.compare(expected, actual, allow_constant=True, **fields)
    assert report.top1_agreement == 0.25
    assert report.max_absolute_error == pytest.approx(0.1)
    assert report.mean_absolute_error == pytest.approx(0.075)


def test_outputs_that_do_not_vary(export, tmp_path):
    model = randomised(small_net())
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0 * kernel, bias])
    with pytest.raises(ValueError, match="outputs do not vary, so that"):
        export(model, tmp_path)
    assert not os.listdir(tmp_path)
    report = export(model, tmp_path, allow_constant=True)
    assert report.passed
    assert not report.varies
    assert (
        "outputs that do not vary over the samples: this comparison proves "
        "little" in " ".join(str(report).split())
    )


def test_model_that_is_not_finite(export, tmp_path):
    model = randomised(small_net())
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias + np.inf])
    with pytest.raises(ExportMismatch, match="own outputs are not finite"):
        export(model, tmp_path)
    assert not os.listdir(tmp_path)


# Samples


def test_given_samples_are_compared(export, net, tmp_path):
    images = np.zeros((3, 16, 16, 3), "uint8")  # a float model takes bytes
    report = export(net, tmp_path, samples=images, allow_constant=True)
    assert report.samples == 3
    assert not report.varies


@pytest.mark.parametrize(
    ("shape", "dtype", "sentence"),
    [
        ((3, 16, 16), "float32", "`samples` must have the shape"),
        ((0, 16, 16, 3), "float32", "`samples` must have the shape"),
        ((3, 16, 8, 3), "float32", r"\(count, 16, 16, 3\)"),
        ((3, 16, 16, 3), "complex64", "`samples` must be float32"),
    ],
)
def test_wrong_samples(shape, dtype, sentence, export, net, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(net, tmp_path, samples=np.zeros(shape, dtype))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([np.zeros((16, 16, 3)), np.zeros((8, 8, 3))], "several shapes"),
        (np.full((2, 16, 16, 3), np.nan), "`samples` must be finite.* 1536 "),
    ],
)
def test_unusable_samples(samples, sentence, export, net, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(net, tmp_path, samples=samples)
    assert not os.listdir(tmp_path)


def normalization():
    return layers.Normalization(mean=[100, 110, 120], variance=[40**2] * 3)


@pytest.mark.parametrize(
    ("first", "dtype", "low", "high"),
    [
        ([], "float32", -6, 6),
        ([], "uint8", 0, 255),
        ([layers.Rescaling(1 / 255)], "float32", 0, 255),
        ([layers.Rescaling(1 / 127.5, offset=-1)], "float32", 0, 255),
        ([layers.Rescaling(2.0)], "float32", 0, 0.5),
        ([normalization()], "float32", -150, 370),
        ([normalization()], "uint8", 0, 255),
        (
            [
                layers.Rescaling(1 / 255),
                layers.Normalization(mean=[0.5] * 3, variance=[0.04] * 3),
            ],
            "float32",
            -180,
            435,
        ),
    ],
)
def test_generated_samples_fill_the_range(first, dtype, low, high):
    model = small_net(first=first, dtype=dtype)
    values = sampling.resolve(None, model, (16, 16, 3))
    assert values.dtype == dtype
    assert low <= values.min()
    assert values.max() <= high
    assert np.ptp(values.astype("float64")) > (high - low) / 2
    means = values.astype("float64").mean((1, 2, 3))
    assert np.ptp(means) > (high - low) / 20  # not white noise
    np.testing.assert_array_equal(
        values, sampling.resolve(None, model, (16, 16, 3))
    )


# Refused


def two_inputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    return keras.Model([a, b], a + b)


def two_outputs():
    a = keras.Input((4,))
    return keras.Model(a, [a, 2 * a])


def fixed_batch():
    a = keras.Input((4,), batch_size=2)
    return keras.Model(a, layers.Dense(2)(a))


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (two_inputs, "one input and one output.* 2 inputs and 1 outputs"),
        (two_outputs, "one input and one output.* 1 inputs and 2 outputs"),
        (fixed_batch, r"`model` must take any batch size.*\(2, 4\)"),
        (lambda: keras.Sequential([layers.Dense(2)]), "must be built with"),
        (Subclassed, "must be built with"),
        (lambda: layers.Dense(2), "`model` must be a keras.Model"),
    ],
)
def test_wrong_models(build, sentence, export, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(build(), tmp_path)
    assert not os.listdir(tmp_path)


def test_operation_that_tflite_lacks(tmp_path, capfd):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.argmax(inputs, -1))
    capfd.readouterr()
    with pytest.raises(
        ValueError, match="built in. Received: a model with BitwiseAnd$"
    ):
        eca_keras.export_tflite(model, tmp_path / "net.tflite")
    assert not os.listdir(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_export_is_silent(export, net, tmp_path, capfd):
    capfd.readouterr()
    export(net, tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_channels_first_models_are_refused(format, tmp_path):
    inputs = keras.Input((3, 16, 16))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="stem")(inputs)
    function, name = FORMATS[format]
    with pytest.raises(ValueError, match="channels_last format.*layer stem"):
        function(keras.Model(inputs, x), tmp_path / name)


def test_variable_size(tmp_path):
    model = randomised(small_net((None, None, 3)))
    path = tmp_path / "net.tflite"
    with pytest.raises(ValueError, match="`input_shape` must be given"):
        eca_keras.export_tflite(model, path)
    for shape in ((16, 16), (16, 16, 4), (16, None, 3), 16):
        with pytest.raises(ValueError, match="`input_shape` must fit"):
            eca_keras.export_tflite(model, path, input_shape=shape)
    assert not os.listdir(tmp_path)
    report = eca_keras.export_tflite(model, path, input_shape=(24, 20, 3))
    assert report.varies
    loaded = interpreter.Interpreter(str(path))
    shape = loaded.get_input_details()[0]["shape"]
    assert shape.tolist() == [1, 24, 20, 3]
    # A SavedModel takes any size still.
    eca_keras.export_saved_model(model, tmp_path / "net")
    loaded = tf.saved_model.load(tmp_path / "net")
    images = np.ones((2, 20, 28, 3), "float32")
    assert loaded.serve(images)["outputs"].shape == (2, 5)


def test_wrong_tflite_arguments(net, tmp_path):
    with pytest.raises(ValueError, match="`path` must end in .tflite"):
        eca_keras.export_tflite(net, tmp_path / "net")
    for batch_size in (0, 1.5, True):
        with pytest.raises(ValueError, match="`batch_size` must be a positive"):
            eca_keras.export_tflite(
                net, tmp_path / "a.tflite", batch_size=batch_size
            )
    assert not os.listdir(tmp_path)


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.delitem(sys.modules, "eca_keras.export.backend")
    with pytest.raises(ImportError, match="on TensorFlow.*backend=jax"):
        importlib.import_module("eca_keras.export.backend")


def test_litert_is_missing(net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ImportError, match=r"pip install 'eca-keras\[export\]'"):
        eca_keras.export_tflite(net, tmp_path / "net.tflite")
