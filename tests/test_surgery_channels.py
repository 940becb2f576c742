"""The axis of the channels is that of each feature map, not of a model."""

import keras
import numpy as np
import pytest
from export_models import randomised
from keras import layers
from keras import ops
from test_surgery import images

from eca_keras import ECA
from eca_keras import insert_attention
from eca_keras.utils.channels import ChannelAxes
from eca_keras.utils.channels import image_axes
from eca_keras.visualize import grad_cam

FIRST = {"data_format": "channels_first"}
LAST = {"data_format": "channels_last"}


def stem(x, **arguments):
    arguments = {"padding": "same", **FIRST, **arguments}
    return layers.Conv2D(8, 3, name="stem", **arguments)(x)


def formats(model, where, **arguments):
    """Returns the data formats of the attention, by what it follows."""
    copy = insert_attention(model, where=where, **arguments)
    return {
        layer.name.removesuffix("_eca"): layer.data_format[9:]
        for layer in copy._flatten_layers()
        if isinstance(layer, ECA)
    }


def moved():
    """A channels-first stem before a channels-last backbone."""
    inputs = keras.Input((3, 12, 16))
    x = layers.BatchNormalization(axis=1, name="norm")(stem(inputs))
    x = layers.Permute((2, 3, 1), name="permute")(x)
    y = layers.Conv2D(8, 3, padding="same", name="conv", **LAST)(x)
    y = layers.BatchNormalization(name="bn")(y)
    return keras.Model(inputs, layers.Add(name="add")([x, y]))


def test_a_stem_of_another_format():
    model = moved()
    assert formats(model, "residual") == {"bn": "last"}
    assert formats(model, "stage") == {"add": "last"}
    assert formats(model, "stem|norm|permute|conv|bn|add") == {
        "stem": "first",
        "norm": "first",
        **dict.fromkeys(("permute", "conv", "bn", "add"), "last"),
    }


def test_the_gate_is_that_of_the_channels():
    """By NumPy, behind the `Permute`."""
    inputs = keras.Input((4, 6, 3))
    x = layers.Permute((3, 1, 2), name="permute")(
        layers.Conv2D(8, 3, name="conv", **LAST)(inputs)
    )
    model = keras.Model(inputs, layers.MaxPooling2D(1, **FIRST)(x))
    copy = insert_attention(model, where="permute", kernel_size=1)
    copy.get_layer("permute_eca").kernel.assign([[[0.7]]])
    x = images(4, 6, 3)
    before = np.asarray(
        keras.Model(inputs, model.get_layer("permute").output)(x)
    )
    means = before.mean((2, 3), keepdims=True)
    expected = before / (1 + np.exp(-0.7 * means))
    part = keras.Model(copy.input, copy.get_layer("permute_eca").output)
    np.testing.assert_allclose(part(x), expected, atol=1e-6)


TO_LAST = {
    "transpose": lambda x: ops.transpose(x, (0, 2, 3, 1)),
    "negative": lambda x: ops.transpose(x, (0, -2, -1, -3)),
    "moveaxis": lambda x: ops.moveaxis(x, 1, -1),
    "moveaxis of two": lambda x: ops.moveaxis(x, (2, 3), (1, 2)),
    "swapaxes": lambda x: ops.swapaxes(ops.swapaxes(x, 1, 2), -1, 2),
    "permute": layers.Permute((2, 3, 1)),
    "sequential": lambda x: keras.Sequential(
        [layers.Permute((2, 3, 1)), layers.ReLU()]
    )(x),
    "lambda, and who reads it": lambda x: layers.MaxPooling2D(1, **LAST)(
        layers.Lambda(lambda x: ops.transpose(x, (0, 2, 3, 1)))(x)
    ),
}


@pytest.mark.parametrize("case", TO_LAST)
def test_moving_axes(case):
    inputs = keras.Input((3, 12, 16))
    x = layers.ReLU(name="relu")(TO_LAST[case](stem(inputs)))
    model = keras.Model(inputs, x)
    assert formats(model, "stem|relu") == {"stem": "first", "relu": "last"}


def joined(x):
    y = layers.Conv2D(8, 1, **FIRST)(x)
    return layers.Concatenate(axis=1)([layers.Add()([x, y]), x, y * 2.0])


def gate(x):
    y = layers.GlobalAveragePooling2D(**FIRST)(x)
    y = layers.Reshape((8, 1, 1), name="reshape")(layers.Dense(8)(y))
    return layers.Multiply()([x, y])


class Double(layers.Layer):
    """Says nothing about axes."""

    def call(self, inputs):
        return 2 * inputs


class Convolutions(layers.Layer):
    """Has layers inside that tell."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(5, 3, **FIRST)

    def build(self, shape):
        self.conv.build(shape)

    def call(self, inputs):
        return self.conv(inputs)


class Between(layers.Layer):
    """Convolves channels-first, whatever it reads and makes.

    Args:
        before, after: Axes of the `ops.transpose` around the convolution.
        weightless: Whether there is a `data_format` of its own instead.
    """

    def __init__(self, before=None, after=(0, 2, 3, 1), weightless=False):
        super().__init__(name="between")
        self.config = {"before": before, "after": after}
        self.config["weightless"] = weightless
        if weightless:
            self.data_format = "channels_first"
        else:
            self.conv = layers.Conv2D(8, 3, padding="same", **FIRST)

    def build(self, shape):
        if not self.config["weightless"]:
            order = self.config["before"] or range(4)
            self.conv.build([shape[axis] for axis in order])

    def call(self, x):
        if self.config["before"] is not None:
            x = ops.transpose(x, self.config["before"])
        x = x if self.config["weightless"] else self.conv(x)
        return ops.transpose(x, self.config["after"])

    def get_config(self):
        return self.config


class Subclassed(keras.Model):
    """Its layers show, but not what is between them."""

    def __init__(self):
        super().__init__(name="between")
        self.conv = layers.Conv2D(8, 3, padding="same", **FIRST)
        self.permute = layers.Permute((2, 3, 1))

    def build(self, shape):
        self.conv.build(shape)

    def call(self, inputs):
        return self.permute(self.conv(inputs))

    def get_config(self):
        return {}


# From a channels-first stem on, to a feature map of the same format.
KEPT = {
    "pooling": layers.AveragePooling2D(2, **FIRST),
    "padding": layers.ZeroPadding2D(**FIRST),
    "upsampling": layers.UpSampling2D(**FIRST),
    "keepdims": layers.GlobalMaxPooling2D(keepdims=True, **FIRST),
    "normalization": layers.GroupNormalization(2, axis=1),
    "activation": layers.PReLU(shared_axes=(2, 3)),
    "operator": lambda x: ops.tanh(x) / 2 + 1,
    "joined": joined,
    "gate": gate,
    "ops.pad": lambda x: ops.pad(x, [[0, 0], [0, 0], [1, 1], [2, 2]]),
    "slices": lambda x: x[:, 2:, ::2, 1:-1],
    "split": lambda x: ops.split(x, 2, axis=1)[1],
    "mean": lambda x: ops.mean(x, 2, keepdims=True),
    "custom": Double(),
    "custom with layers": Convolutions(),
    "wrapper": layers.SpectralNormalization(layers.Conv2D(4, 3, **FIRST)),
    "to and fro": lambda x: layers.Permute((3, 1, 2))(
        layers.Dense(5)(layers.Permute((2, 3, 1))(x))
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_keeping_axes(case):
    inputs = keras.Input((3, 12, 16))
    x = layers.ReLU(name="relu")(KEPT[case](stem(inputs)))
    assert formats(keras.Model(inputs, x), "relu") == {"relu": "first"}


def test_inputs_are_told_by_what_reads_them():
    inputs = keras.Input((3, 12, 16))
    x = layers.Rescaling(0.1, name="scale")(inputs)
    model = keras.Model(inputs, stem(layers.ReLU(name="relu")(x)))
    assert formats(model, "scale|relu") == {"scale": "first", "relu": "first"}


def test_nested_models_are_told_by_what_is_outside():
    inner = keras.Input((12, 16, 8))
    x = layers.Add()([inner, layers.ReLU(name="relu")(inner)])
    nested = keras.Model(inner, x, name="nested")
    inputs = keras.Input((3, 12, 16))
    x = nested(layers.Permute((2, 3, 1))(stem(inputs)))
    model = keras.Model(inputs, layers.ReLU(name="last")(x))
    assert formats(model, "relu|nested|last") == dict.fromkeys(
        ("relu", "nested", "last"), "last"
    )


def test_a_nested_backbone_behind_a_permute():
    backbone = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25
    )
    inputs = keras.Input((3, 32, 32))
    x = backbone(layers.Permute((2, 3, 1), name="permute")(inputs))
    found = formats(keras.Model(inputs, x), "stage")
    assert len(found) > 3
    assert set(found.values()) == {"last"}


def test_transformers():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(12, 4, strides=4, **LAST)(inputs)
    x = layers.Reshape((16, 12), name="tokens")(x)
    y = layers.LayerNormalization()(x)
    x = layers.Add(name="add")([x, layers.MultiHeadAttention(2, 6)(y, y)])
    y = layers.Dense(24, "gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(12, name="narrow")(y)])
    model = keras.Model(inputs, x)
    found = formats(model, "tokens|add|narrow")
    assert found == dict.fromkeys(("tokens", "add", "narrow"), "last")
    assert len(formats(model, "residual")) == 2


def mixer():
    """`Dense` on the positions of channels-last tokens: `back` is known."""
    inputs = keras.Input((64, 3))
    x = layers.Dense(16)(inputs)
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(32, "gelu", name="mixing")(y)
    y = layers.Permute((2, 1), name="back")(layers.Dense(64)(y))
    return keras.Model(inputs, layers.Add(name="add")([x, y]))


def test_mixing_positions():
    assert formats(mixer(), "back|add") == {"back": "last", "add": "last"}
    assert formats(mixer(), "residual") == {"back": "last"}


def test_three_axes_and_five():
    inputs = keras.Input((64, 3))
    x = layers.Conv1D(8, 3, **LAST)(inputs)
    x = layers.Cropping1D(1)(layers.UpSampling1D(2, name="up")(x))
    assert formats(keras.Model(inputs, x), "up|crop.*") == {
        "up": "last",
        x._keras_history.operation.name: "last",
    }
    inputs = keras.Input((4, 3, 12, 16))
    conv = layers.Conv2D(8, 3, **FIRST)
    x = layers.TimeDistributed(conv, name="frames")(inputs)
    axes = ChannelAxes(model := keras.Model(inputs, x))
    assert axes.find(model.outputs[0]) == axes.find(model.inputs[0]) == 2
    x = layers.ConvLSTM2D(8, 3, name="state", **FIRST)(inputs)
    assert formats(keras.Model(inputs, x), "state") == {"state": "first"}


def test_the_stage_of_an_open_size():
    inputs = keras.Input((3, None, None))
    x = layers.Permute((2, 3, 1), name="permute")(stem(inputs))
    x = layers.Conv2D(8, 3, strides=2, name="conv", **LAST)(x)
    model = keras.Model(inputs, x)
    assert formats(model, "stage") == {"permute": "last", "conv": "last"}


def test_heat_maps_of_a_stem_of_another_format():
    """In the layout of the images, of the feature map that is looked at."""
    given = moved()
    x = layers.GlobalAveragePooling2D(**LAST)(given.output)
    model = randomised(keras.Model(given.input, layers.Dense(3)(x)))
    axis = image_axes(model)
    assert axis(model) == axis(model.get_layer("stem")) == 1
    assert axis(model.get_layer("conv")) == 3
    x = images(3, 12, 16)
    for layer in ("stem", "conv", None):
        assert grad_cam(model, x, layer=layer).shape == (2, 12, 16)


def shared_by_formats():
    """One nested model, called on feature maps of either format."""
    inner = keras.Input((8, 8, 8))
    nested = keras.Model(inner, layers.ReLU(name="relu")(inner), name="nested")
    inputs = keras.Input((3, 8, 8))
    x = stem(inputs)
    return keras.Model(
        inputs, [nested(x), nested(layers.Permute((2, 3, 1))(x))]
    )


def behind(*operations, shape=(3, 12, 16)):
    inputs = keras.Input(shape)
    x = stem(inputs)
    for operation in operations:
        x = operation(x)
    return keras.Model(inputs, x)


def custom(*behind):
    inputs = keras.Input((8, 8, 3))
    x = Double(name="relu")(inputs)
    for layer in behind:
        x = layer(x)
    return keras.Model(inputs, x)


RELU = layers.ReLU(name="relu")
UNCLEAR = {
    "middle": (
        lambda: behind(layers.Permute((2, 1, 3)), RELU),
        "'relu', they are axis 2",
    ),
    "normalization": (
        lambda: behind(layers.BatchNormalization(axis=3, name="bn"), RELU),
        "'relu', 'bn' has the channels in axis 3 but 'stem' .*axis 1",
    ),
    "pooling": (
        lambda: behind(layers.MaxPooling2D(name="pool", **LAST), RELU),
        "'relu', 'pool' has the channels in axis 3 but 'stem' .* 1",
    ),
    "sum": (
        lambda: behind(
            lambda x: layers.Add()([x, layers.Permute((2, 3, 1))(x)]),
            RELU,
            shape=(8, 8, 8),
        ),
        "'relu', 'stem' has the channels in axis [13] but",
    ),
    "lambda": (
        lambda: behind(layers.Lambda(lambda x: ops.flip(x, 1)[:, 1:]), RELU),
        "`data_format` must tell .* 'relu', no layer that makes or reads",
    ),
    "cube": (
        lambda: behind(Double(), RELU, shape=(3, 8, 8)),
        "'relu', no layer",
    ),
    "reshape": (
        lambda: behind(layers.Reshape((12, 16, 8)), RELU),
        "'relu', no layer",
    ),
    "index": (lambda: behind(lambda x: x[:, 0], RELU), "'relu', no layer"),
    "custom": (custom, "'relu', no layer .*shape=.None, 8, 8, 3."),
    "flatten": (lambda: custom(layers.Flatten()), "'relu', no layer"),
    "nested twice": (shared_by_formats, "'relu', .*axis [13] but.*axis [13]"),
}


def chain(shape, *operations):
    x = inputs = keras.Input(shape)
    for operation in operations:
        x = operation(x)
    return keras.Model(inputs, x)


class Transposing(keras.Model):
    """A functional model with more around its graph."""

    def call(self, inputs, training=None, mask=None):
        return ops.transpose(super().call(inputs), (0, 3, 1, 2))


def transposing(x):
    inner = keras.Input((8, 8, 3))
    return Transposing(inner, conv()(inner), name="between")(x)


def conv(data_format="channels_last"):
    return layers.Conv2D(8, 3, padding="same", data_format=data_format)


def frames(layer, name=None):
    return layers.TimeDistributed(layer, name=name)


AROUND = (0, 3, 1, 2)

# What is inside somebody else's layer is a claim: (shape, operations, axes).
CLAIMS = {
    "both sides": ((16, 16, 3), [conv(), Between(AROUND), conv()], "31"),
    "before it": ((16, 16, 3), [conv(), Between(AROUND)], "31"),
    "cube": ((8, 8, 3), [conv(), Between(AROUND)], "31"),
    "dense": ((16, 16, 3), [Between(AROUND), layers.Dense(3)], "31"),
    "behind it": ((3, 8, 8), [conv("channels_first"), Between(), conv()], "13"),
    "model": ((3, 8, 8), [Subclassed(), layers.Dense(3)], "13"),
    "own": ((3, 8, 9), [stem, Between(weightless=True), layers.Dense(3)], "13"),
    "own cube": (
        *((3, 8, 8), [stem, Between(weightless=True), layers.Dense(3)]),
        "13",
    ),
    "graph": ((8, 8, 3), [transposing, conv("channels_first")], "13"),
    "own, by sizes": ((3, 12, 16), [stem, Between(weightless=True)], "13"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_what_is_inside_must_not_contradict(case):
    shape, operations, axes = CLAIMS[case]
    found = f"'between', .* axis [{axes}] but '.*' has .* axis [{axes}]"
    with pytest.raises(ValueError, match=found):
        insert_attention(chain(shape, *operations), where="between")


def test_what_is_inside_tells_where_nothing_else_does():
    model = chain((3, 8, 9), Convolutions(name="inside"), layers.Flatten())
    assert formats(model, "inside") == {"inside": "first"}
    model = chain((16, 16, 3), RELU, Between(AROUND), conv())
    with pytest.raises(ValueError, match="'relu', no layer"):
        insert_attention(model, where="relu")


def test_wrappers_are_what_is_inside():
    """Around models and layers that move axes; each `x` is channels-last."""
    shape, first = (2, 3, 18, 18), layers.Conv2D(12, 3, **FIRST)
    move, tokens = layers.Permute((2, 3, 1)), layers.Reshape((12, 256))
    dense, back = layers.Dense(5), layers.Permute((2, 1))
    pool = layers.GlobalAveragePooling2D(**FIRST)
    for inside in ([first, move], [first, tokens, back, dense], [first, pool]):
        x = frames(keras.Sequential(inside), name="x")
        assert formats(chain(shape, x), "x") == {"x": "last"}
    x = frames(move, name="x")
    assert formats(chain(shape, frames(first), x), "x") == {"x": "last"}
    x = frames(layers.Reshape((8, 8, 8)), name="x")
    cube = chain((2, 8, 8, 3), frames(conv()), x, frames(conv()))
    assert formats(cube, "x") == {"x": "last"}


MOVED = {
    "permute": ([frames(layers.Permute((3, 1, 2)))], "they are axis 2"),
    "sequential": (
        [frames(keras.Sequential([layers.Permute((3, 1, 2))]))],
        "they are axis 2",
    ),
    "reshape": ([frames(layers.Reshape((8, 8, 8)))], "no layer"),
    "lambda": (
        [frames(layers.Lambda(lambda x: ops.transpose(x, AROUND)))],
        "no layer",
    ),
    "pipeline": ([layers.Pipeline([layers.Permute((4, 2, 3, 1))])], "no layer"),
    "map": (
        [lambda x: ops.map(lambda v: ops.transpose(v, (0, 3, 1, 2)), x)],
        "no layer",
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_axes_that_a_layer_inside_moves(case):
    operations, sentence = MOVED[case]
    model = chain((2, 8, 8, 3), frames(conv()), *operations, RELU)
    with pytest.raises(ValueError, match=f"'relu', {sentence}"):
        insert_attention(model, where="relu")


def test_both_directions_of_time():
    def both(data_format, steps=True, **arguments):
        inner = layers.ConvLSTM2D(
            *(4, 3), return_sequences=steps, data_format=data_format
        )
        return layers.Bidirectional(inner, name="both", **arguments)

    model = chain((4, 3, 8, 9), both("channels_first"))
    with pytest.raises(ValueError, match="'both', they are axis 2"):
        insert_attention(model, where="both")
    model = chain((4, 3, 8, 9), both("channels_first", steps=False))
    assert formats(model, "both") == {"both": "first"}
    model = chain((4, 8, 9, 3), both("channels_last"))
    assert formats(model, "both") == {"both": "last"}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_is_unclear_is_refused_by_name(case):
    build, sentence = UNCLEAR[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        insert_attention(build(), where="relu")
    assert "\n" not in str(caught.value)


def test_positions_that_are_mixed_are_refused():
    sentence = "'mixing' has the channels in axis 2 but 'dense.* axis 1"
    with pytest.raises(ValueError, match=sentence):
        insert_attention(mixer(), where="mixing")


def test_stages_need_what_is_known():
    def build():
        inputs = keras.Input((8, 8, 3))
        x = layers.EinsumDense("abcd,de->abce", (8, 8, 5), name="mix")(inputs)
        return keras.Model(inputs, x)

    with pytest.raises(ValueError, match="the output of 'mix', no layer"):
        insert_attention(build(), where="stage")
    found = formats(build(), "stage", data_format="channels_last")
    assert found == {"mix": "last"}


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_data_format(data_format):
    """Where the model does not tell, and nowhere else."""
    found = formats(custom(), "relu", data_format=data_format)
    assert found == {"relu": data_format[9:]}
    found = formats(moved(), "stem|add", data_format=data_format)
    assert found == {"stem": "first", "add": "last"}


def test_wrong_data_format():
    with pytest.raises(ValueError, match="`data_format` must be .*'first'"):
        insert_attention(moved(), data_format="first")


def test_shared_layers_of_two_formats():
    """One attention layer each: its data format is that of one of them."""
    norm = layers.GroupNormalization(2, axis=1, name="norm")
    scale = layers.PReLU(name="scale", shared_axes=(1, 2, 3))
    inputs = keras.Input((3, 8, 8))
    x = stem(inputs)
    y = layers.Permute((2, 3, 1))(x)
    model = keras.Model(inputs, [norm(x), scale(x), scale(y)])
    copy = insert_attention(model, where="scale")
    made = [x for x in copy.layers if isinstance(x, ECA)]
    assert sorted(x.data_format for x in made) == [
        *("channels_first", "channels_last")
    ]
