"""Copies by `insert_attention` are whole and independent, or refused."""

import functools
import importlib.util
import json
import pathlib

import attribute_cases
import keras
import numpy as np
import pytest
import surgery_zoo as zoo
import tensorflow as tf
from keras import layers
from keras import ops
from test_backends import run_python

from eca_keras import insert_attention
from eca_keras.errors import InputError

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("case", zoo.CASES)
def test_state(case):
    if "tf_idf" in case and keras.version() < "3.15":
        pytest.skip("Keras cannot load its state")
    zoo.check(*zoo.build(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", zoo.USED)
def test_use(case):
    model, samples = zoo.build(case)
    copy = zoo.check(model, samples)
    zoo.check_use(model, copy, samples)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "package"), [("jax",) * 2, ("torch",) * 2])
def test_other_backends(backend, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    process = run_python(backend, HERE / "surgery_zoo.py")
    assert process.returncode == 0, process.stderr
    faults = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(faults) == len(zoo.CASES) - sum(
        case.startswith(zoo.TENSORFLOW) for case in zoo.CASES
    )
    assert not [each for each in faults if each["fault"]]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
@pytest.mark.parametrize("case", ["inside", "time", "bidirectional", "lora"])
def test_the_given_policy_is_kept(case, policy):
    """Everywhere, whatever the settings of the day are."""
    floatx = "float64" if policy == "float64" else "float32"
    with zoo.foreign(policy, floatx, "channels_last"):
        model, samples = zoo.build(case)
    zoo.check(model, samples)
    policies = {
        layer.dtype_policy.name
        for layer in model._flatten_layers()
        if not isinstance(layer, layers.InputLayer)
    }
    assert policies == {policy}


class InsideFormat(layers.Layer):
    """With layers inside that have the data format of the day."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, padding="same")
        self.pool = layers.MaxPooling2D()

    def build(self, shape):
        self.conv.build(shape)

    def call(self, inputs):
        return self.pool(self.conv(inputs))


def beside(*layers_of_one_input, shape=(6,), dtype="float32"):
    """Returns a model of layers, and a convolution that attention follows."""
    inputs = keras.Input(shape, dtype=dtype)
    images = keras.Input((8, 8, 3))
    conv = layers.Conv2D(8, 3, name="here")(images)
    outputs = [layer(inputs) for layer in layers_of_one_input]
    return keras.Model([inputs, images], [*outputs, conv])


def inserted(model):
    return insert_attention(model, where="here", identity_start=True)


def check_same(model, *samples):
    copy = inserted(model)
    samples = [*samples, RNG.normal(size=(len(samples[0]), 8, 8, 3))]
    for one, other in zip(model(samples), copy(samples), strict=True):
        np.testing.assert_array_equal(one, other)
    return copy


def test_the_given_data_format_is_kept():
    model = beside(InsideFormat(name="a"), shape=(8, 8, 4))
    with zoo.foreign():
        copy = inserted(model)
    assert copy.get_layer("a").conv.data_format == "channels_last"
    assert copy.get_layer("a").pool.data_format == "channels_last"
    check_same(model, RNG.normal(size=(2, 8, 8, 4)))


def test_compile_state_is_not_kept():
    model, _ = zoo.build("inside")
    model.compile("adam", "mse")
    assert not inserted(model).compiled


def test_a_layer_that_is_inside_another_one_too_stays_shared():
    conv = layers.Conv2D(8, 3, padding="same", name="here")
    videos, images = keras.Input((2, 8, 8, 3)), keras.Input((8, 8, 3))
    over_time = layers.TimeDistributed(conv, name="over_time")
    model = keras.Model([videos, images], [over_time(videos), conv(images)])
    copy = inserted(model)
    assert copy.get_layer("over_time").layer is copy.get_layer("here")
    assert len(copy.weights) == len(model.weights) + 1
    samples = RNG.normal(size=(1, 2, 8, 8, 3)), RNG.normal(size=(1, 8, 8, 3))
    for one, other in zip(model(samples), copy(samples), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_inside_two_others_stays_shared():
    dense = layers.Dense(4)
    model = beside(
        layers.TimeDistributed(dense, name="a"),
        layers.TimeDistributed(dense, name="b"),
        shape=(5, 6),
    )
    copy = check_same(model, zoo.SEQUENCES)
    assert copy.get_layer("a").layer is copy.get_layer("b").layer


class Regularized(layers.Layer):
    """Its config has an object that is gone when it is there."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        made = keras.regularizers.L2(self.factor)
        made = keras.saving.serialize_keras_object(made)
        return {**super().get_config(), "made": made}

    @classmethod
    def from_config(cls, config):
        made = keras.saving.deserialize_keras_object(config.pop("made"))
        return cls(float(made.l2), **config)


def test_what_is_gone_is_not_shared():
    dense = layers.Dense(6)
    some = [Regularized(float(i)) for i in range(1, 6)]
    shared = [layers.TimeDistributed(dense), layers.TimeDistributed(dense)]
    check_same(beside(*some, *shared, shape=(5, 6)), zoo.SEQUENCES)


def scaled_by(factor):
    def scale(x):
        return factor * x

    return scale


class TwoScales(layers.Layer):
    """Two functions of one name and one code, which no config has."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.other = scaled_by(2), scaled_by(3)

    def call(self, inputs):
        return self.other(self.one(inputs) + 1)


def test_functions_of_one_name():
    one, other = (layers.Dense(4, scaled_by(factor)) for factor in (2, 3))
    check_same(beside(one, other, TwoScales()), zoo.VECTORS)


class OwnFunction(layers.Layer):
    """With a function of its own that knows the layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = 1.0
        self.function = lambda x: self.scale * x

    def call(self, inputs):
        return self.function(inputs)


def test_functions_of_the_copy_are_its_own():
    model = beside(OwnFunction(name="a"))
    copy = inserted(model)
    model.get_layer("a").scale = 5.0
    x = [zoo.VECTORS, np.zeros((4, 8, 8, 3))]
    assert np.abs(copy(x)[0] - zoo.VECTORS).max() == 0
    assert np.abs(model(x)[0] - zoo.VECTORS).max() > 0


def test_attributes_of_the_copy_are_its_own():
    model, _ = zoo.build("attributes")
    copy = inserted(model)
    given, own = (
        next(x for x in each.layers if isinstance(x, zoo.Attributes))
        for each in (model, copy)
    )
    own.scaler.mean += 1
    own.bounds["above"] = -1.0
    assert given.bounds["above"] > 0
    assert np.abs(own.scaler.mean - given.scaler.mean).min() == 1


def test_states_of_recurrent_layers():
    inputs = keras.Input(batch_shape=(4, 5, 6))
    images = keras.Input(batch_shape=(4, 8, 6, 3))
    model = keras.Model(
        [inputs, images],
        [
            layers.LSTM(3, stateful=True)(inputs),
            layers.Conv2D(8, 3, name="here")(images),
        ],
    )
    samples = [zoo.SEQUENCES, zoo.IMAGES]
    first = np.array(model(samples)[0])
    copy = inserted(model)
    second = np.array(model(samples)[0])
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(copy(samples)[0], second)


def test_metrics_of_layers():
    model, _ = zoo.build("inside")
    given = next(x for x in model.layers if isinstance(x, zoo.Inside))
    given.mean.update_state([1.0, 4.0])
    copy = inserted(model)
    own = next(x for x in copy.layers if isinstance(x, zoo.Inside))
    assert float(own.mean.result()) == 2.5
    own.mean.reset_state()
    assert float(given.mean.result()) == 2.5


def test_feature_space():
    features = keras.utils.FeatureSpace
    space = features(
        {
            "kind": features.string_categorical(num_oov_indices=0),
            "size": features.float_normalized(),
        },
        output_mode="concat",
    )
    rows = {"kind": ["x", "y", "x"], "size": [1.0, 2.0, 5.0]}
    space.adapt(tf.data.Dataset.from_tensor_slices(rows))
    images = keras.Input((8, 8, 3), name="images")
    conv = layers.Conv2D(8, 3, name="here")(images)
    model = keras.Model(
        {**space.get_inputs(), "images": images},
        [layers.Dense(3)(space.get_encoded_features()), conv],
    )
    samples = {
        "kind": tf.constant([["x"], ["y"]]),
        "size": tf.constant([[1.0], [3.0]]),
        "images": tf.ones((2, 8, 8, 3)),
    }
    outputs = zip(model(samples), inserted(model)(samples), strict=True)
    for one, other in outputs:
        np.testing.assert_array_equal(one, other)


class Tied(layers.Layer):
    """May be given a kernel of another layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kernel = None

    def build(self, shape):
        if self.kernel is None:
            self.kernel = self.add_weight(shape=(6, shape[-1]))

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.kernel))


def tied():
    dense = layers.Dense(4, use_bias=False, name="dense")
    dense.build((None, 6))
    other = Tied(name="tied")
    other.kernel = dense.kernel
    chain = lambda x: other(dense(x))  # noqa: E731
    return beside(chain)


def in_a_call():
    dense = layers.Dense(4, name="dense")
    dense.build((None, 6))
    return beside(lambda x: ops.add(dense(x), dense.bias))


def captured():
    dense = layers.Dense(6)
    dense.build((None, 6))
    return beside(layers.Lambda(lambda x: dense(x), name="captured"))


class HalfAssets(zoo.Assets):
    load_assets = property()


class BrokenState(Tied):
    def load_own_variables(self, store):
        raise KeyError("factor")


class LateLayer(layers.Layer):
    """Has a layer that no config knows of."""

    def call(self, inputs):
        return inputs if not hasattr(self, "late") else self.late(inputs)


def late():
    layer = LateLayer(name="late")
    layer.late = layers.Dense(6)
    return beside(layer)


class Table(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = tf.lookup.experimental.MutableHashTable(
            "int64", "float32", 0.0
        )

    def call(self, inputs):
        return self.table.lookup(inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, "float32")


def table():
    layer = Table(name="table")
    layer.table.insert(tf.constant([1], tf.int64), tf.constant([2.0]))
    return beside(layer, shape=(1,), dtype="int64")


def lines():
    layer = layers.StringLookup(name="lines")
    layer.adapt(["one\nof two", "c"])
    return beside(layer, shape=(1,), dtype="string")


class Widened(layers.Layer):
    """Its config forgets what its output depends on."""

    def __init__(self, width=2):
        super().__init__(name="widened")
        self.width = width

    def call(self, inputs):
        return ops.repeat(inputs, self.width, -1)

    def get_config(self):
        return {}


class Kernel(layers.Layer):
    """Its config forgets what its kernel depends on."""

    def __init__(self, width=2):
        super().__init__(name="kernel")
        self.width = width

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.width,))

    def call(self, inputs):
        return inputs + ops.sum(self.kernel)

    def get_config(self):
        return {}


class OwnWeight(keras.Model):
    """A functional model with a weight that no layer has."""


def in_no_layer():
    given = beside(layers.Dense(2))
    model = OwnWeight(given.inputs, given.outputs)
    model.more = model.add_weight(shape=(2,), name="more")
    return model


REFUSED = {
    "in no layer": (in_no_layer, "in no layer that it calls.*more'"),
    "tied": (tied, "shared.*'dense/kernel' is in 'dense' and 'tied'"),
    "in a call": (in_a_call, "'dense/bias' in the call of 'add"),
    "captured": (captured, "'captured' of class Lambda.*uses a layer or"),
    "assets": (
        lambda: beside(HalfAssets(name="half")),
        "cannot give its state to a copy, 'half' of class HalfAssets",
    ),
    "own variables": (
        lambda: beside(BrokenState(name="broken")),
        "cannot give its state to a copy, 'broken' .*factor",
    ),
    "layers": (late, "'late' of class LateLayer.*other layers inside"),
    "table": (table, "'table' of class Table.*table with other rows"),
    "vocabulary": (lines, "'lines' of class StringLookup.*other vocabulary"),
    "output": (lambda: beside(Widened(3)), "'widened'.*output of the copy"),
    "variables": (lambda: beside(Kernel(3)), "'kernel'.*variables of the"),
    "partial": (
        lambda: beside(layers.Lambda(functools.partial(ops.add, 1), name="p")),
        "cannot be copied from its config, 'p' of class Lambda",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    build, sentence = REFUSED[case]
    model = build()
    with pytest.raises(ValueError, match=sentence) as caught:
        inserted(model)
    assert "\n" not in str(caught.value)


def test_attention_has_to_keep_the_feature_map():
    with pytest.raises(ValueError, match="`attention` must keep the shape"):
        insert_attention(
            zoo.build("inside")[0],
            lambda name: layers.Conv2D(3, 1, name=name),
            where="here",
        )


@pytest.mark.parametrize("name", attribute_cases.CASES)
def test_attributes_of_any_type(name):
    model = attribute_cases.model(name, attribute_cases.CASES[name][0])
    copy = insert_attention(model, where="here", identity_start=True)
    images = np.ones((1, 8, 6, 3), "float32")
    expected = np.asarray(model(images))
    model.get_layer(name).state = None
    assert np.abs(np.asarray(model(images)) - expected).max() > 1e-2
    np.testing.assert_array_equal(copy(images), expected)


@pytest.mark.parametrize("name", attribute_cases.HIDDEN)
def test_variables_out_of_sight_are_refused(name):
    model = attribute_cases.model("layer", lambda: None)
    model.get_layer("layer").state = attribute_cases.HIDDEN[name]()
    with pytest.raises(InputError, match="'layer'.*holds variables of its own"):
        insert_attention(model, where="here")


class Doubling(keras.Model):
    factor = 1.0

    def call(self, inputs, training=None, mask=None):
        outputs = super().call(inputs, training=training, mask=mask)
        return self.factor * outputs


class DoublingSequential(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class Built(Doubling):
    def __init__(self, inputs, outputs, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)


def _doubling():
    image = keras.Input((8, 6, 3))
    model = Doubling(image, layers.Conv2D(4, 3, name="here")(image))
    model.factor = 2.0
    return model


def _doubling_sequential():
    return DoublingSequential(
        [keras.Input((8, 6, 3)), layers.Conv2D(4, 3, name="here")]
    )


@pytest.mark.parametrize("make", [_doubling, _doubling_sequential])
def test_what_the_class_of_a_model_does_is_kept(make):
    model = make()
    copy = insert_attention(model, where="here", identity_start=True)
    assert type(copy) is type(model)
    images = np.ones((1, 8, 6, 3), "float32")
    expected = np.asarray(model(images))
    once = np.asarray(model.get_layer("here")(images))
    np.testing.assert_allclose(expected, 2 * once)
    np.testing.assert_array_equal(copy(images), expected)


def test_what_the_class_of_a_model_does_is_refused_or_kept():
    image = keras.Input((8, 6, 3))
    model = Built(image, layers.Conv2D(4, 3, name="here")(image), name="mine")
    with pytest.raises(InputError, match="'call' of its own.*'mine' of class"):
        insert_attention(model, where="here")


def test_a_functional_model_in_a_wrapper():
    image = keras.Input((8, 8, 3))
    inner = keras.Model(
        image, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    )
    video = keras.Input((5, 8, 8, 3))
    x = layers.TimeDistributed(inner)(video)
    model = keras.Model(video, layers.Conv1D(6, 3, name="here")(x))
    copy = insert_attention(model, where="here", identity_start=True)
    videos = np.random.default_rng(0).normal(size=(2, 5, 8, 8, 3))
    expected = np.asarray(model(videos))
    assert np.ptp(expected) > 1e-3
    np.testing.assert_array_equal(copy(videos), expected)
