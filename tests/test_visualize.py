"""Channel weights and heat maps against NumPy and closed forms."""

import attention_numpy
import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import CASES
from cases import expected
from cases import make_map
from cases import network
from cases import randomize
from cases import to_format
from cases import values_of
from keras import layers
from PIL import Image
from surgery_families import FAMILIES
from surgery_families import build
from surgery_families import images as family_images

import eca_keras
from eca_keras import visualize
from eca_keras.visualize import channel_kernels
from eca_keras.visualize import channel_weights
from eca_keras.visualize import grad_cam

FORMATS = ("channels_last", "channels_first")
GATED = sorted(set(CASES) - {"gc"})
CHANNELS = 16
SHAPE = (6, 5, CHANNELS)


def gates_by_hand(name, layer, x):
    """The channel gates of a layer by NumPy, `(images, channels)`."""
    weights, kept = values_of(layer), np.ones(x.shape[:-1], bool)
    if name == "cbam":
        w1, w2, _ = weights
        return attention_numpy.sigmoid(
            sum(
                attention_numpy.relu(attention_numpy.pool(x, kept, reduce) @ w1)
                @ w2
                for reduce in (np.mean, np.max)
            )
        )
    if name == "eca_spatial":
        gated = attention_numpy.eca(x, weights[:1], kept)
    else:
        gated = expected(CASES[name], layer, x)
    return (gated / x)[:, 0, 0]


def nested(name, data_format="channels_last", **arguments):
    """Attention on twice the input, in a model in a Sequential model."""
    shape = to_format(np.empty((1, *SHAPE)), data_format).shape[1:]
    inputs = keras.Input(shape)
    layer = CASES[name].make(data_format=data_format, name="gate", **arguments)
    inner = keras.Model(inputs, layer(inputs), name="inner")
    model = keras.Sequential(
        [keras.Input(shape), layers.Rescaling(2.0), inner, layers.ReLU()]
    )
    randomize(layer)
    return model, layer


@pytest.mark.slow
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", GATED)
def test_gates_in_a_nested_model_equal_numpy(name, data_format):
    # One hidden unit would be dead for half of the images.
    hidden = {"reduction": 2} if name in ("se", "cbam") else {}
    model, layer = nested(name, data_format, **hidden)
    x = make_map((5, *SHAPE))
    given = to_format(x, data_format)
    # In batches of unequal size.
    [weights] = channel_weights(model, given, batch_size=2)
    assert weights.name == "inner/gate"
    assert weights.layer == type(layer).__name__
    assert weights.positions == (6, 5)
    by_hand = gates_by_hand(name, layer, 2 * x)
    assert by_hand.std(axis=0).min() > 1e-4  # images differ, so do channels
    assert by_hand.std(axis=1).min() > 1e-2
    np.testing.assert_allclose(weights.gates, by_hand, rtol=1e-4, atol=1e-6)


def test_the_scale_of_a_gate_counts():
    inputs = keras.Input(SHAPE)
    layer = eca_keras.ECA(kernel_size=3, gate_scale=2)
    model = keras.Model(inputs, layer(inputs))
    randomize(layer)
    x = make_map((3, *SHAPE))
    [weights] = channel_weights(model, x)
    np.testing.assert_allclose(
        weights.gates, (model(x).numpy() / x)[:, 0, 0], rtol=1e-4
    )
    assert weights.gates.max() > 1


def test_a_layer_that_is_called_twice_has_two_entries():
    inputs = keras.Input(SHAPE)
    layer = eca_keras.ECA(name="gate")
    once = layer(inputs)
    model = keras.Model(inputs, layer(once))
    randomize(layer)
    x = make_map((3, *SHAPE))
    first, second = channel_weights(model, x, batch_size=2)
    assert (first.name, second.name) == ("gate", "gate#2")
    after = x * first.gates[:, None, None]
    np.testing.assert_allclose(
        second.gates, gates_by_hand("eca", layer, after), rtol=1e-5
    )


class Block(layers.Layer):
    """Not registered, and attention is a part of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = eca_keras.layers.SEVar2(name="attention")

    def call(self, inputs):
        return inputs + self.attention(inputs)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block(name="block")

    def call(self, inputs):
        return self.block(inputs)


def test_attention_in_a_layer_of_a_subclassed_model():
    model, x = Subclass(), make_map((3, *SHAPE)).astype("float32")
    model(x)
    randomize(model)
    [weights] = channel_weights(model, x)
    assert weights.name == "block/attention"
    np.testing.assert_allclose(
        weights.gates,
        gates_by_hand("se_var2", model.block.attention, x),
        rtol=1e-5,
    )


def test_several_inputs():
    ones = keras.Input(SHAPE, name="one")
    others = keras.Input((CHANNELS,), name="other")
    layer = eca_keras.ECA()
    x = layers.Reshape((1, 1, CHANNELS))(others)
    model = keras.Model(
        {"one": ones, "other": others}, layer(layers.Multiply()([ones, x]))
    )
    randomize(layer)
    one, other = make_map((3, *SHAPE)), make_map((3, CHANNELS), seed=1)
    [weights] = channel_weights(model, {"one": one, "other": other}, 2)
    np.testing.assert_allclose(
        weights.gates,
        gates_by_hand("eca", layer, one * other[:, None, None]),
        rtol=1e-4,
    )


def test_a_model_is_left_as_it_was():
    model, layer = nested("cbam")
    x = make_map((2, *SHAPE)).astype("float32")
    before = model(x).numpy()
    channel_weights(model, x)
    assert "call" not in vars(layer.channel_gate)
    np.testing.assert_array_equal(model(x), before)
    with pytest.raises((ValueError, tf.errors.OpError)):
        channel_weights(model, x[..., :3])
    assert "call" not in vars(layer.channel_gate)


def plain_net(*, data_format="channels_last", shape=(6, 5, 3), strides=1):
    """A network whose Grad-CAM has a closed form: conv, mean, dense."""
    inputs = keras.Input(
        to_format(np.empty((1, *shape)), data_format).shape[1:]
    )
    x = layers.Conv2D(
        8,
        3,
        strides,
        padding="same",
        activation="relu",
        data_format=data_format,
        name="conv",
    )(inputs)
    x = layers.GlobalAveragePooling2D(data_format=data_format)(x)
    outputs = layers.Dense(4, activation="softmax", name="top")(x)
    model = keras.Model(inputs, outputs, name="net")
    randomize(model)
    return model


def closed_form(model, images, classes=None):
    """`relu(sum_c w_c A_c)`, divided by the largest value of each image."""
    conv, top = model.get_layer("conv"), model.get_layer("top")
    config = {**conv.get_config(), "data_format": "channels_last"}
    again = layers.Conv2D.from_config(config)
    again.build((None, *images.shape[1:]))
    again.set_weights(conv.get_weights())
    maps = np.float64(again(images.astype("float32")))
    kernel, bias = map(np.float64, top.get_weights())
    if classes is None:
        classes = np.argmax(maps.mean(axis=(1, 2)) @ kernel + bias, axis=1)
        assert len(set(classes)) > 1
    classes = np.broadcast_to(classes, len(images))
    heat = np.einsum("bhwc,cb->bhw", maps, kernel[:, classes])
    heat = np.maximum(heat, 0)
    largest = heat.max(axis=(1, 2), keepdims=True)
    assert (largest > 0).sum() > 1
    assert (heat.min(axis=(1, 2)) == 0).any()
    return heat / np.where(largest > 0, largest, 1)


@pytest.mark.parametrize("data_format", FORMATS)
def test_grad_cam_has_its_closed_form(data_format):
    model = plain_net(data_format=data_format)
    x = make_map((5, 6, 5, 3))
    given = to_format(x, data_format)
    heat = grad_cam(model, given, batch_size=2)
    assert heat.shape == (5, 6, 5)
    assert heat.dtype == np.float32
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(heat, closed_form(model, x), **close)
    # One class for all images, and one for each.
    for classes in (2, [3, 1, 2, 0, 1]):
        heat = grad_cam(model, given, class_index=classes)
        np.testing.assert_allclose(
            heat, closed_form(model, x, classes), **close
        )


def test_grad_cam_of_a_model_that_is_sure():
    model = plain_net()
    x = make_map((5, 6, 5, 3))
    top = model.get_layer("top")
    kernel, bias = top.get_weights()
    top.set_weights([1e4 * kernel, bias])
    shares = model(x).numpy()
    assert set(shares.max(axis=1)) == {1}  # no gradient behind the softmax
    np.testing.assert_allclose(
        grad_cam(model, x),
        closed_form(model, x, shares.argmax(axis=1)),
        rtol=1e-4,
        atol=1e-5,
    )
    assert model(x).numpy().max() == 1  # the softmax is back


@pytest.mark.parametrize(
    "top",
    [
        [layers.Dense(4, name="top"), layers.Softmax()],
        [layers.Dense(4, name="top"), layers.Activation("softmax")],
        [layers.Dense(4, name="top"), keras.ops.softmax],
        [layers.Dense(4, name="top"), keras.ops.log_softmax],
        [layers.Dense(4, name="top", activation="sigmoid")],
        [layers.Dense(4, name="top")],
    ],
)
def test_grad_cam_looks_before_what_makes_probabilities(top):
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="conv")(
        inputs
    )
    x = layers.GlobalAveragePooling2D()(x)
    for layer in top:
        x = layer(x)
    model = keras.Model(inputs, x)
    randomize(model)
    x = make_map((3, 6, 5, 3))
    np.testing.assert_allclose(
        grad_cam(model, x, class_index=1),
        closed_form(model, x, 1),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_heat_map_has_the_size_of_its_image():
    model = plain_net(shape=(8, 12, 3), strides=2)
    x = make_map((3, 8, 12, 3))
    small = closed_form(model, x, 1)
    assert small.shape == (3, 4, 6)
    large = np.stack(
        [
            Image.fromarray(np.float32(each)).resize(
                (12, 8), Image.Resampling.BILINEAR
            )
            for each in small
        ]
    )
    large /= large.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        grad_cam(model, x, class_index=1), large, rtol=1e-4, atol=1e-5
    )


def test_grad_cam_where_nothing_speaks_for_the_class():
    model = plain_net()
    top = model.get_layer("top")
    kernel, bias = top.get_weights()
    top.set_weights([-np.abs(kernel), bias])
    assert not grad_cam(model, make_map((2, 6, 5, 3))).any()


def test_grad_cam_of_nested_and_sequential_models():
    flat = network("ECAResNet20", "eca")
    shape = flat.input_shape[1:]
    x = make_map((3, *shape)).astype("float32")
    inputs = keras.Input(shape)
    twice = keras.Model(
        inputs, flat(layers.Rescaling(0.5)(inputs)), name="twice"
    )
    deep = keras.Sequential([keras.Input(shape), twice, layers.Softmax()])
    for arguments in (
        {},
        {"class_index": 3},
        {"layer": "conv3_block1_out"},
    ):
        heat = grad_cam(flat, x, **arguments)
        assert heat.std() > 0.01
        np.testing.assert_allclose(
            grad_cam(deep, 2 * x, **arguments), heat, rtol=1e-3, atol=1e-4
        )
    by_path = grad_cam(deep, 2 * x, layer=f"twice/{flat.name}/conv3_block1_out")
    np.testing.assert_allclose(by_path, heat, rtol=1e-3, atol=1e-4)
    before = grad_cam(flat, x)
    last = next(
        layer for layer in reversed(flat.layers) if len(layer.output.shape) == 4
    )
    np.testing.assert_array_equal(grad_cam(flat, x, layer=last.name), before)


def test_inserted_attention_that_is_1_changes_no_heat_map():
    given = network("ECAResNet20", None)
    model = eca_keras.insert_attention(given, identity_start=True)
    x = make_map((2, *given.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(
        grad_cam(model, x), grad_cam(given, x), rtol=1e-5, atol=1e-6
    )
    for weights in channel_weights(model, x):
        np.testing.assert_array_equal(weights.gates, 1)


def check_against_a_model_of_two_outputs(model, x, index):
    """The usual way, which works where no model is inside the model."""
    layer = next(
        layer
        for layer in reversed(model.layers)
        if len(layer.output.shape) == 4 and layer.output.shape[1] > 1
    )
    both = keras.Model(model.input, [layer.output, model.output])
    with tf.GradientTape() as tape:
        maps, scores = both(x, training=False)
        score = scores[:, index]
    weights = np.mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat = np.maximum(np.sum(weights * maps, axis=-1), 0)
    heat = tf.image.resize(heat[..., None], x.shape[1:3]).numpy()[..., 0]
    largest = heat.max(axis=(1, 2), keepdims=True)
    assert (largest > 0).any()
    heat = heat / np.where(largest > 0, largest, 1)
    np.testing.assert_allclose(
        grad_cam(model, x, class_index=index), heat, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        if name == "MobileNetV2"
        else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
        # A layer normalization behind its mean makes the heat add up to 0
        # before the rectifier: on noise, what is left is rounding.
        if name != "ConvNeXtTiny"
    ],
)
def test_grad_cam_of_keras_applications(name):
    model = build(name)
    # Of random weights, not every class has something that speaks for it.
    index = 5 if name == "EfficientNetB0" else 3
    check_against_a_model_of_two_outputs(model, family_images(name), index)


def test_class_means_and_their_spread():
    gates = np.float32([[0, 1], [2, 1], [4, 5], [6, 9]])
    means = visualize.class_means(gates, [7, 7, 3, 7], [3, 7])
    np.testing.assert_allclose(means, [[4, 5], [8 / 3, 11 / 3]])
    # Half of the difference of two, and the mean of two channels.
    assert visualize.class_spread(means) == pytest.approx(2 / 3)
    assert visualize.class_spread(np.ones((3, 4))) == 0
    with pytest.raises(ValueError, match=r"Received: classes=\[5\]"):
        visualize.class_means(gates, [7, 7, 3, 7], [5])
    with pytest.raises(ValueError, match="must be one per image"):
        visualize.class_means(gates, [7, 7, 3], [7])


def test_stages_are_maps_of_one_size():
    model = network("ECAResNet20", "eca")
    x = make_map((2, *model.input_shape[1:]))
    stages = visualize.by_stage(channel_weights(model, x))
    assert {size: len(found) for size, found in stages.items()} == {
        (16, 16): 3,
        (8, 8): 3,
        (4, 4): 3,
    }
    assert stages[8, 8][0].name == "conv3_block1_eca"
    assert stages[8, 8][0].gates.shape == (2, 32)


def test_kernels_along_the_channels():
    model, layer = nested("eca")
    [(name, kernel)] = channel_kernels(model).items()
    assert name == "inner/gate"
    np.testing.assert_array_equal(kernel, layer.get_weights()[0].ravel())
    model, layer = nested("eca_ns")
    kernel = channel_kernels(model)["inner/gate"]
    assert kernel.shape == (3, CHANNELS)
    np.testing.assert_array_equal(kernel, layer.get_weights()[0][:, 0])
    model, layer = nested("eca_spatial")
    kernel = channel_kernels(model)["inner/gate"]
    np.testing.assert_array_equal(kernel, layer.get_weights()[0].ravel())
    assert channel_kernels(nested("se")[0]) == {}


def named_twice():
    """Two models, each with a layer "conv"."""
    x = inputs = keras.Input((6, 5, 3))
    for name in ("one", "other"):
        again = keras.Input((6, 5, 3))
        conv = layers.Conv2D(3, 3, padding="same", name="conv")
        x = keras.Model(again, conv(again), name=name)(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def unused_branch():
    """A classifier in which one layer does not lead to the scores."""
    inputs = keras.Input((6, 5, 3))
    side = layers.Conv2D(2, 3, name="side")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(inputs))
    mean = layers.GlobalAveragePooling2D()(side)
    still = layers.Lambda(lambda x: tf.stop_gradient(x[:, :1]))(mean)
    return keras.Model(inputs, layers.Add()([x, still]))


IMAGES = np.ones((2, 6, 5, 3), "float32")


@pytest.mark.parametrize(
    ("make", "images", "arguments", "sentence"),
    [
        (plain_net, IMAGES, {"layer": "con"}, "such as conv, "),
        (
            plain_net,
            IMAGES,
            {"layer": "top"},
            "must give a feature map: im",
        ),
        (named_twice, IMAGES, {"layer": "conv"}, "name: one/conv, other/conv"),
        (unused_branch, IMAGES, {"layer": "side"}, "must lead to the scores"),
        (plain_net, IMAGES, {"class_index": 4}, "must be below 4"),
        (plain_net, IMAGES, {"class_index": -1}, "an index from 0"),
        (plain_net, IMAGES, {"class_index": [1]}, "or one per image"),
        (plain_net, IMAGES, {"class_index": 1.0}, "or one per image"),
        (plain_net, IMAGES[0], {}, "must have rank 4"),
        (plain_net, IMAGES[:0], {}, "at least one image"),
        (plain_net, IMAGES, {"batch_size": 0}, "`batch_size` must be a"),
        (lambda: nested("eca")[0], np.ones((2, *SHAPE)), {}, "a classifier"),
        (
            lambda: keras.Sequential(
                [keras.Input((6, 5, 3)), layers.Flatten(), layers.Dense(2)]
            ),
            IMAGES,
            {},
            "a feature map of several positions",
        ),
    ],
)
def test_what_grad_cam_refuses(make, images, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        grad_cam(make(), images, **arguments)


def test_what_channel_weights_refuses():
    with pytest.raises(ValueError, match="must have channel attention"):
        channel_weights(plain_net(), IMAGES)
    model, _ = nested("gc")
    with pytest.raises(ValueError, match="GlobalContext adds to channels"):
        channel_weights(model, np.ones((2, *SHAPE)))
    model, _ = nested("eca")
    with pytest.raises(ValueError, match="at least one image"):
        channel_weights(model, np.ones((0, *SHAPE)))
    with pytest.raises(ValueError, match="must be an array"):
        channel_weights(model, None)
