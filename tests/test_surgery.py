"""Attention in models that someone else built, one trait of models each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import randomised
from keras import layers
from keras import ops
from test_eca import numpy_eca

import eca_keras
from eca_keras import ECA
from eca_keras import insert_attention

RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.normal(size=(2, *(shape or (16, 16, 3)))).astype("float32")


def conv_bn(x, filters, name, **arguments):
    x = layers.Conv2D(filters, 3, padding="same", name=name, **arguments)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def block(x, name, filters=8, add=None, tail=(), strides=1):
    """A residual block; with strides, its shortcut is a projection."""
    shortcut = x
    if strides > 1:
        shortcut = conv_bn(x, filters, f"{name}_0", strides=strides)
    y = layers.ReLU()(conv_bn(x, filters, f"{name}_1", strides=strides))
    y = conv_bn(y, filters, f"{name}_2")
    for layer in tail:
        y = layer(y)
    add = add or layers.Add(name=f"{name}_add")
    return layers.ReLU(name=f"{name}_out")(add([shortcut, y]))


def net(build, shape=(16, 16, 3), top=True):
    inputs = keras.Input(shape)
    outputs = build(conv_bn(inputs, 8, "stem"))
    if top:
        outputs = layers.GlobalAveragePooling2D()(outputs)
        outputs = layers.Dense(5, name="top")(outputs)
    return randomised(keras.Model(inputs, outputs, name="net"))


def added(model, given):
    known = {id(layer) for layer in given._flatten_layers()}
    names = {layer.name for layer in given._flatten_layers()}
    fresh = [
        layer for layer in model._flatten_layers() if layer.name not in names
    ]
    assert not known & {id(layer) for layer in model._flatten_layers()}
    return sorted(layer.name for layer in fresh)


def check_same(given, where="residual", samples=None):
    """Inserts with `identity_start` and compares answers; returns both."""
    samples = images(*given.input_shape[1:]) if samples is None else samples
    before = given(samples)
    model = insert_attention(given, where=where, identity_start=True)
    for one, other in zip(
        keras.tree.flatten(before),
        keras.tree.flatten(model(samples)),
        strict=True,
    ):
        assert np.std(one) > 1e-3
        np.testing.assert_array_equal(one, other)
    return model


class ScaledSum(layers.Layer):
    """Not registered, and adds by itself."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs[0] + self.scale * inputs[1]

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


class StochasticDepth(layers.Layer):
    def call(self, inputs, training=None):
        return inputs


# What a residual sum can look like: the builder of a block and the layer
# that its attention follows.
SUMS = {
    "add": (lambda x: block(x, "b"), "b_2_bn"),
    "projection": (lambda x: block(x, "b", 12, strides=2), "b_2_bn"),
    "operator": (lambda x: block(x, "b", add=lambda v: v[0] + v[1]), "b_2_bn"),
    "ops": (lambda x: block(x, "b", add=lambda v: ops.add(*v)), "b_2_bn"),
    "custom": (lambda x: block(x, "b", add=ScaledSum(0.2)), "b_2_bn"),
    "swapped": (
        lambda x: block(x, "b", add=lambda v: layers.Add()(v[::-1])),
        "b_2_bn",
    ),
    "dropout": (lambda x: block(x, "b", tail=[layers.Dropout(0.2)]), "b_2_bn"),
    "drop path": (
        lambda x: block(
            x, "b", tail=[StochasticDepth(), layers.Activation("linear")]
        ),
        "b_2_bn",
    ),
    "activation": (
        lambda x: block(x, "b", tail=[layers.ReLU(name="act")]),
        "act",
    ),
}


@pytest.mark.parametrize("kind", SUMS)
def test_residual_sums(kind):
    build, behind = SUMS[kind]
    given = net(build)
    model = check_same(given)
    assert added(model, given) == [f"{behind}_eca"]


def gated(x, name):
    """Squeeze-and-excitation by hand, as a network of others has it."""
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name=name)(gate)
    return layers.Multiply()([x, gate])


def pyramid(x):
    fine = conv_bn(x, 8, "fine")
    coarse = conv_bn(layers.MaxPooling2D()(fine), 8, "coarse")
    lateral = layers.Conv2D(8, 1, name="lateral")(fine)
    return layers.Add()([lateral, layers.UpSampling2D()(coarse)])


def cell(x):
    """Two branches from one map, the shorter of which has other readers."""
    short = conv_bn(x, 8, "short")
    long = conv_bn(conv_bn(x, 8, "a"), 8, "b")
    return layers.Concatenate()([layers.Add()([short, long]), short])


NOT_RESIDUAL = {
    "cell": cell,
    "chain": lambda x: conv_bn(x, 8, "a"),
    "concatenation": lambda x: layers.Concatenate()([x, conv_bn(x, 8, "a")]),
    "twins": lambda x: layers.Add()([conv_bn(x, 8, "a"), conv_bn(x, 8, "b")]),
    "gate": lambda x: gated(x, "gate"),
    "average": lambda x: layers.Average()([x, conv_bn(x, 8, "a")]),
    "maximum": lambda x: ops.maximum(x, conv_bn(x, 8, "a")),
    "difference": lambda x: ops.subtract(conv_bn(x, 8, "a"), x),
    "no kernel": lambda x: layers.Add()([x, layers.ReLU()(x)]),
    "pyramid": pyramid,
}


@pytest.mark.parametrize("kind", NOT_RESIDUAL)
def test_no_residual_sum(kind):
    with pytest.raises(ValueError, match="There is no residual add"):
        insert_attention(net(NOT_RESIDUAL[kind]))


def test_a_gate_inside_a_branch_is_part_of_it():
    given = net(lambda x: layers.Add()([x, gated(conv_bn(x, 8, "a"), "gate")]))
    model = check_same(given)
    [name] = added(model, given)
    assert name.startswith("multiply")


def two_stages(x):
    x = block(x, "a")
    x = block(x, "b", 12, strides=2)
    x = layers.ZeroPadding2D(1, name="pad")(gated_block(x))
    return layers.Conv2D(12, 3, strides=2, name="last")(x)


def gated_block(x):
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Dense(12, activation="sigmoid")(gate)
    return layers.Multiply(name="gated")([x, layers.Reshape((1, 1, 12))(gate)])


@pytest.mark.parametrize("shape", [(16, 16, 3), (None, None, 3)])
def test_stages(shape):
    given = net(two_stages, shape)
    model = check_same(given, "stage", images(16, 16, 3))
    assert added(model, given) == ["a_out_eca", "gated_eca", "last_eca"]


def test_a_border_is_no_stage_end():
    """Not even one of minus infinity, which has no mean."""

    def build(x):
        border = [[0, 0], [1, 1], [1, 1], [0, 0]]
        x = ops.pad(x, border, constant_values=-np.inf)
        x = layers.MaxPooling2D(3, strides=2)(x)
        return layers.Conv2D(8, 3, name="last")(x)

    given = net(build)
    model = check_same(given, "stage")
    assert added(model, given) == ["last_eca", "stem_bn_eca"]


def test_regular_expression_and_predicate():
    given = net(lambda x: block(block(x, "a"), "b"))
    model = check_same(given, "[ab]_1_bn")
    assert added(model, given) == ["a_1_bn_eca", "b_1_bn_eca"]
    model = check_same(given, lambda layer: isinstance(layer, layers.Conv2D))
    assert len(added(model, given)) == 5
    # Behind a layer, everything that reads it has attention.
    model = insert_attention(given, where="a_out")
    assert model.get_layer("b_add").input[0] is not given.input
    readers = (model.get_layer("b_1").input, model.get_layer("b_add").input[0])
    assert {t._keras_history.operation.name for t in readers} == {"a_out_eca"}


def test_attention_as_in_the_paper():
    """Without `identity_start`: Eq. 9 on the branch, by NumPy."""
    given = net(lambda x: block(x, "b"), top=False)
    model = insert_attention(given, kernel_size=5, name="other")
    assert model.name == "other"
    layer = model.get_layer("b_2_bn_eca")
    assert layer.resolved_kernel_size == 5
    assert layer.gate_scale == 1
    parts = keras.Model(
        given.input,
        [given.get_layer(name).output for name in ("stem_bn", "b_2_bn")],
    )
    x = images(16, 16, 3)
    shortcut, branch = (np.float64(part) for part in parts(x))
    expected = shortcut + numpy_eca(branch, np.ravel(layer.kernel))
    np.testing.assert_allclose(model(x), np.maximum(expected, 0), atol=1e-5)


@pytest.mark.parametrize(
    ("attention", "suffix", "cls"),
    [
        ("se", "se", eca_keras.layers.SqueezeExcite),
        ("cbam", "cbam", eca_keras.layers.CBAM),
        ("GlobalContext", "gc", eca_keras.layers.GlobalContext),
    ],
)
def test_other_attention(attention, suffix, cls):
    given = net(lambda x: block(x, "b"))
    model = insert_attention(given, attention)
    assert type(model.get_layer(f"b_2_bn_{suffix}")) is cls
    x = images()
    assert not np.allclose(given(x), model(x))


def test_callable_attention():
    given = net(lambda x: block(x, "b"))
    model = insert_attention(given, lambda name: ECA(9, name=name + "_mine"))
    layer = model.get_layer("b_2_bn_attention_mine")
    assert layer.resolved_kernel_size == 9


def test_nested_models_are_recursed_into():
    inner = net(lambda x: block(block(x, "a"), "b"), (8, 8, 8), top=False)
    chain = keras.Sequential(
        [layers.Conv2D(8, 3, padding="same"), layers.Conv2D(8, 1)], name="seq"
    )

    def outer(x):
        x = layers.ReLU()(layers.MaxPooling2D()(x))
        return layers.Add()([x, chain(inner(x))])

    given = net(outer)
    model = check_same(given)
    assert added(model, given) == ["a_2_bn_eca", "b_2_bn_eca", "seq_eca"]
    assert "a_2_bn_eca" in [x.name for x in model.get_layer("net").layers]
    assert isinstance(model.get_layer("seq"), keras.Sequential)
    model = check_same(given, "conv2d.*|seq")
    assert {"seq_eca"} < set(added(model, given))
    assert len(added(model, given)) == 3


def test_stages_of_a_nested_model():
    inner = net(two_stages, top=False)
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalMaxPooling2D()(inner(layers.Rescaling(2.0)(inputs)))
    given = randomised(keras.Model(inputs, layers.Dense(3)(x)))
    model = check_same(given, "stage")
    assert added(model, given) == ["a_out_eca", "gated_eca", "net_eca"]


def test_sequential():
    given = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="images"),
            layers.Conv2D(8, 3, name="one"),
            layers.Conv2D(8, 3, name="two", strides=2),
            layers.Flatten(),
            layers.Dense(4),
        ],
        name="chain",
    )
    randomised(given)
    model = check_same(given, "stage")
    assert isinstance(model, keras.Sequential)
    assert model.name == "chain"
    names = [layer.name for layer in model.layers[:4]]
    assert names == ["one", "one_eca", "two", "two_eca"]


def test_shared_layers_stay_shared():
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    twice = net(lambda x: block(x, "b"), (16, 16, 8), top=False)
    relu = layers.ReLU(name="relu")

    def build(x):
        x = layers.Add()([x, relu(shared(relu(shared(x))))])
        wide = relu(layers.Conv2D(20, 3)(x))
        return layers.Concatenate()([twice(twice(x))[:, 1:-1, 1:-1], wide])

    given = net(build)
    model = check_same(given, "shared|relu|.*_2_bn")
    names = added(model, given)
    assert names == [
        *("b_2_bn_eca", "relu_2_eca", "relu_3_eca", "relu_eca", "shared_eca")
    ]
    assert len(model.get_layer("shared_eca")._inbound_nodes) == 2
    extra = model.count_params() - given.count_params()
    assert extra == 3 * 4 + 3  # 20 channels take 3 as well


def test_several_inputs_and_outputs():
    left = keras.Input((16, 16, 3), name="left")
    right = keras.Input((4,), name="right")
    x = block(conv_bn(left, 8, "stem"), "b")
    pooled = layers.GlobalAveragePooling2D()(x)
    joined = layers.Concatenate()([pooled, layers.Dense(3)(right)])
    given = keras.Model(
        {"left": left, "right": right},
        {"map": x, "classes": layers.Dense(3, name="classes")(joined)},
    )
    randomised(given)
    samples = {"left": images(16, 16, 3), "right": images(4)}
    model = check_same(given, samples=samples)
    assert set(model.output) == {"map", "classes"}
    assert [x.name for x in model.inputs] == ["left", "right"]
    assert added(model, given) == ["b_2_bn_eca"]


def test_what_is_kept():
    given = net(lambda x: block(block(x, "a"), "b"))
    given.get_layer("a_1").trainable = False
    given.get_layer("b_2_bn").trainable = False
    given.get_layer("b_1").bias.trainable = False
    weights = given.get_weights()
    nodes = {x.name: len(x._inbound_nodes) for x in given.layers}
    model = check_same(given)
    for layer in given.layers:
        copy = model.get_layer(layer.name)
        assert copy is not layer
        assert copy.trainable == layer.trainable
        assert copy.get_config() == layer.get_config()
        for one, other in zip(layer.weights, copy.weights, strict=True):
            assert one is not other
            assert one.trainable == other.trainable
            np.testing.assert_array_equal(one, other)
    # The given model is as it was, and stays so when the new one is trained.
    assert nodes == {x.name: len(x._inbound_nodes) for x in given.layers}
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.train_on_batch(images(), np.ones((2, 5)))
    for one, other in zip(weights, given.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_attention_of_a_frozen_model_can_be_trained():
    given = net(lambda x: block(x, "b"))
    for layer in given.layers:
        layer.trainable = False
    model = check_same(given)
    assert [w.path for w in model.trainable_weights] == ["b_2_bn_eca/kernel"]
    given.trainable = False
    given.get_layer("top").trainable = True
    model = check_same(given)
    assert not model.trainable
    assert [x.name for x in model.layers if x.trainable] == [
        *("b_2_bn_eca", "top")
    ]


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_dtype_policies(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        given = net(lambda x: block(x, "b"))
    finally:
        keras.config.set_dtype_policy(before)
    model = check_same(given)
    for layer in model.layers[1:]:
        assert layer.dtype_policy.name == policy, layer.name
    # A callable need not know about it.
    model = insert_attention(given, lambda name: ECA(name=name))
    layer = model.get_layer("b_2_bn_attention")
    assert layer.dtype_policy.name == policy


def test_channels_first():
    """In the data format of the model, whatever the current one is."""
    inputs = keras.Input((3, 12, 16))
    first = {"data_format": "channels_first"}
    x = layers.Conv2D(8, 3, name="a", strides=2, **first)(inputs)
    y = layers.Conv2D(8, 3, name="b", padding="same", **first)(x)
    given = keras.Model(inputs, layers.Add()([x, y]))
    model = insert_attention(given, kernel_size=3)
    layer = model.get_layer("b_eca")
    assert layer.data_format == "channels_first"
    assert keras.config.image_data_format() == "channels_last"
    model = insert_attention(given, where="stage")
    assert model.layers[-1].data_format == "channels_first"
    assert model.layers[-1].name.startswith("add")


class Net(keras.Model):
    """A functional model with a method of its own."""

    def hello(self):
        return self.name


class Backbone(keras.Model):
    """Built like KerasHub's: functional, with a constructor of its own."""

    def __init__(self, width, **kwargs):
        inputs = keras.Input((16, 16, 3))
        outputs = block(conv_bn(inputs, width, "stem"), "b", width)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.width = width

    def get_config(self):
        return {"name": self.name, "width": self.width}


def test_classes_of_models():
    plain = net(lambda x: block(x, "b"))
    given = Net(plain.input, plain.output, name="mine")
    assert check_same(given).hello() == "mine"
    backbone = Backbone(8, name="backbone")
    randomised(backbone)
    model = check_same(backbone)
    assert not isinstance(model, Backbone)
    assert added(model, backbone) == ["b_2_bn_eca"]


@keras.saving.register_keras_serializable("test_surgery")
class Doubled(layers.Layer):
    """A layer with a layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, name="inside")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return 2 * self.dense(inputs)


def test_layers_with_more_to_copy():
    """A Lambda with a closure, a layer of layers, adapted normalization."""
    shift = float(RNG.normal())
    normalization = layers.Normalization()
    normalization.adapt(images(16, 16, 3) * 3 + 1)

    def build(x):
        x = layers.Lambda(lambda value: value + shift)(normalization(x))
        return block(Doubled(name="doubled")(x), "b")

    inputs = keras.Input((16, 16, 3))
    given = keras.Model(inputs, build(inputs))
    given.get_layer("doubled").dense.trainable = False
    model = check_same(given)
    assert not model.get_layer("doubled").dense.trainable


class Renamed(layers.Layer):
    """Its config is no config of its name, as with some of KerasHub's."""

    def __init__(self, name, **kwargs):
        super().__init__(name=f"{name}_0", **kwargs)

    def call(self, inputs):
        return inputs


def test_names_are_kept():
    given = net(lambda x: block(Renamed("last")(x), "b"))
    model = check_same(given)
    names = {layer.name for layer in given.layers}
    assert "last_0" in names
    assert names < {layer.name for layer in model.layers}


def test_inserting_twice():
    given = net(lambda x: block(x, "b"))
    model = check_same(check_same(given))
    names = ["b_2_bn_eca", "b_2_bn_eca_eca"]
    assert added(model, given) == names


def outputs_as(mode, model, x):
    """Returns the outputs of a model called in one of the ways to call it."""
    if mode == "predict":
        return model.predict(x, verbose=0)
    if mode in ("call", "training"):
        return model(x, training=mode == "training")

    def call(x):
        return model(x, training=False)

    compiled = tf.function(call, jit_compile=mode == "jit_compile")
    return compiled(tf.constant(x))


MODES = ("call", "training", "predict", "tf.function", "jit_compile")


@pytest.mark.parametrize("mode", MODES)
def test_identity_start_in_each_mode(mode):
    """Bit for bit where layers are called one by one; else but rounding."""
    given = net(lambda x: block(block(x, "a"), "b", 16, strides=2))
    model = insert_attention(given, identity_start=True)
    x = images()
    outputs = outputs_as(mode, given, x), outputs_as(mode, model, x)
    assert np.std(outputs[0]) > 1e-3
    if mode in ("call", "training"):
        np.testing.assert_array_equal(*outputs)
    largest = np.abs(outputs[0]).max()
    np.testing.assert_allclose(*outputs, rtol=0, atol=1e-6 * largest)
    other = insert_attention(given)
    assert np.abs(outputs_as(mode, other, x) - outputs[0]).max() > 1e-2


def test_identity_start_in_evaluate():
    given = net(lambda x: block(x, "b"))
    model = insert_attention(given, identity_start=True)
    x, y = images(), np.ones((2, 5))
    losses = []
    for each in (given, model):
        each.compile("sgd", "mse")
        losses.append(each.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eca", "eca_circular"])
def test_identity_start_is_trained_at_once(attention):
    given = net(lambda x: block(block(x, "a"), "b", 16, strides=2))
    model = insert_attention(given, attention, identity_start=True)
    x = images()
    np.testing.assert_array_equal(given(x), model(x))
    new = [w for w in model.weights if attention in w.path]
    assert len(new) == 2
    before = [np.array(w) for w in new]
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.train_on_batch(x, np.ones((2, 5)))
    for old, weight in zip(before, new, strict=True):
        assert (np.array(weight) != old).all()


def test_identity_start_is_the_papers_form_after_a_scale():
    """The 2 goes into the normalization before, and halves the kernel."""
    given = net(lambda x: block(x, "b"))
    model = insert_attention(given, identity_start=True)
    kernel = RNG.normal(size=(3, 1, 1)).astype("float32")
    model.get_layer("b_2_bn_eca").kernel.assign(kernel)
    paper = insert_attention(given)
    paper.get_layer("b_2_bn_eca").kernel.assign(kernel / 2)
    for weight in paper.get_layer("b_2_bn").weights[:2]:  # gamma and beta
        weight.assign(2 * weight)
    x = images()
    assert not np.allclose(given(x), model(x), atol=1e-3)
    np.testing.assert_allclose(paper(x), model(x), atol=1e-6)


def test_gate_scale():
    layer = ECA(3, gate_scale=1.5)
    x = RNG.normal(size=(2, 5, 4, 8)).astype("float32")
    layer.build(x.shape)
    expected = 1.5 * numpy_eca(x, np.ravel(layer.kernel))
    np.testing.assert_allclose(layer(x), expected, atol=2e-6)
    assert ECA.from_config(layer.get_config()).gate_scale == 1.5
    mask = np.ones((2, 5), bool)
    mask[:, 3:] = False
    kept = numpy_eca(x[:, :3], np.ravel(layer.kernel))
    outputs = layer(x, mask=ops.convert_to_tensor(mask))
    np.testing.assert_allclose(outputs[:, :3], 1.5 * kept, atol=2e-6)


@pytest.mark.parametrize("gate_scale", [0, -1, float("nan"), "2", True, None])
def test_wrong_gate_scale(gate_scale):
    with pytest.raises(ValueError, match="`gate_scale` must be a positive"):
        ECA(gate_scale=gate_scale)


def test_saved_and_loaded(tmp_path):
    given = net(lambda x: block(x, "b"))
    model = insert_attention(given, identity_start=True)
    model.get_layer("b_2_bn_eca").kernel.assign(RNG.normal(size=(3, 1, 1)))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    x = images()
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.get_layer("b_2_bn_eca").gate_scale == 2


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class NoConfig(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def plain():
    return net(lambda x: block(x, "b"))


WRONG = {
    "subclassed": (Subclassed, {}, "must be a functional or Sequential"),
    "layer": (lambda: layers.Dense(3), {}, "must be a functional or Seq"),
    "unbuilt": (
        lambda: keras.Sequential([layers.Dense(3)]),
        {},
        "`model` must be built",
    ),
    "attention": (plain, {"attention": "ecaa"}, "`attention` must be .*'ecaa'"),
    "no attention": (plain, {"attention": None}, "`attention` must be .*None"),
    "class": (plain, {"attention": ECA}, "`attention` must be a callable"),
    "no layer": (
        plain,
        {"attention": lambda name: name},
        "must return a keras.layers.Layer",
    ),
    "kernel": (plain, {"kernel_size": 4}, "`kernel_size` must be .*=4"),
    "paper": (plain, {"kernel_size": "paper"}, "No kernel sizes were released"),
    "no kernel": (
        plain,
        {"attention": "se", "kernel_size": 3},
        "`kernel_size` only applies",
    ),
    "identity": (
        plain,
        {"attention": "se", "identity_start": True},
        "`identity_start=True` is for .*'se'",
    ),
    "expression": (plain, {"where": "b_(1"}, "is no regular expression"),
    "where": (plain, {"where": 3}, "`where` must be .*where=3"),
    "nothing": (plain, {"where": "b_3"}, "no layer that .*b_2_bn.*'b_3'"),
    "no stage": (
        lambda: net(lambda x: x, (1, 1, 3)),
        {"where": "stage"},
        "no feature map of several positions",
    ),
    "vector": (
        plain,
        {"where": "top"},
        r"rank 3, 4 or 5.*'top'.*\(None, 5\)",
    ),
    "no config": (
        lambda: net(lambda x: block(NoConfig(ops.relu)(x), "b")),
        {},
        "cannot be copied from its config.*NoConfig",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    build, arguments, sentence = WRONG[case]
    with pytest.raises(ValueError, match=sentence):
        insert_attention(build(), **arguments)
