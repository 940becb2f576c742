import keras
import pytest
from keras import layers

import eca_keras
from eca_keras import applications
from eca_keras.layers import CBAM
from eca_keras.layers import ECANS
from eca_keras.layers import ECASpatial
from eca_keras.layers import GlobalContext
from eca_keras.layers import SEGroupConv
from eca_keras.layers import SEVar1
from eca_keras.layers import SEVar2
from eca_keras.layers import SEVar3
from eca_keras.layers import SqueezeExcite
from eca_keras.profiling.counts import CallCost
from eca_keras.profiling.counts import profile

# Trainable parameters, of them ECA, and the authors' multiply-accumulates at
# 224 x 224 with the released kernels. 101 and 152 take seconds to build.
PUBLISHED = {
    "ECAResNet18": (11_689_556, 44, 1_824_800_768),
    "ECAResNet34": (21_797_744, 72, 3_680_143_616),
    "ECAResNet50": (25_557_112, 80, 4_139_363_328),
    "ECAResNet101": (44_549_317, 157, 7_875_568_640),
    "ECAResNet152": (60_193_042, 234, 11_617_381_376),
    "ECAMobileNetV2": (3_504_903, 31, 328_064_224),
}
LARGE = ("ECAResNet101", "ECAResNet152")


def functional(shape, *stack, batch_size=None):
    x = image = keras.Input(shape, batch_size=batch_size)
    for layer in stack:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in PUBLISHED
    ],
)
def test_published_numbers(name):
    model = getattr(applications, name)(kernel_size="paper")
    counted = eca_keras.profile(model)
    parameters, attention, macs = PUBLISHED[name]
    assert counted.trainable_parameters == parameters
    assert counted.attention_parameters == attention
    assert counted.parameters == model.count_params()
    assert counted.uncounted == ()
    costs = {call.name: call for call in counted.calls}
    if name == "ECAMobileNetV2":
        # A function call in the authors' code, which thop does not see.
        macs += costs["avg_pool"].thop_macs
        assert costs["avg_pool"].thop_macs == 1280 * (7 * 7 + 1)
    assert counted.thop_macs == macs


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # The plain networks as torchvision's documentation has them:
        # 1.81, 4.09 and 0.30 G.
        ("ECAResNet18", 1_814_073_344),
        ("ECAResNet50", 4_089_184_256),
        ("ECAMobileNetV2", 300_774_272),
    ],
)
def test_plain_networks(name, macs):
    model = getattr(applications, name)(attention=None)
    assert profile(model).macs == macs


def test_units():
    counted = profile(applications.ECAResNet18(kernel_size="paper"))
    assert f"{counted.trainable_parameters_mebi:.2f}" == "11.15"  # as printed
    assert f"{counted.thop_macs_gibi:.2f}" == "1.70"  # as printed
    assert f"{counted.thop_macs_mebi:.1f}" == "1740.3"
    assert f"{counted.trainable_parameters_millions:.3f}" == "11.690"
    assert f"{counted.macs_millions:.3f}" == "1814.086"


def test_without_attention_only_the_attention_is_missing():
    arguments = {"input_shape": (32, 32, 3), "classes": 10}
    eca = profile(applications.ECAResNet18(kernel_size=3, **arguments))
    plain = profile(applications.ECAResNet18(attention=None, **arguments))
    own = [call for call in eca.calls if call.layer == "ECA"]
    assert len(own) == 8
    assert plain.attention_parameters == 0
    assert plain.parameters == eca.parameters - 8 * 3
    assert plain.macs == eca.macs - sum(call.macs for call in own)
    assert set(eca.calls) - set(plain.calls) == set(own)
    # Two blocks per stage; maps of 8, 4, 2 and 1 positions square.
    stages = ((64, 64), (128, 16), (256, 4), (512, 1))
    assert sum(call.macs for call in own) == 2 * 3 * (64 + 128 + 256 + 512)
    assert sum(call.thop_macs for call in own) == 2 * sum(
        channels * (3 + positions + 1) for channels, positions in stages
    )


# Input shape, layer, multiply-accumulates, what the authors' counting adds.
BY_HAND = {
    "conv1d": ((10, 3), layers.Conv1D(4, 5), 6 * 4 * 5 * 3, 0),
    "conv2d": (
        (8, 8, 3),
        layers.Conv2D(5, 3, strides=2, padding="same"),
        4 * 4 * 5 * 9 * 3,
        0,
    ),
    "conv2d_grouped": (
        (8, 8, 6),
        layers.Conv2D(4, (3, 1), groups=2, use_bias=False),
        6 * 8 * 4 * 3 * 3,
        0,
    ),
    "conv2d_dilated": (
        (9, 9, 2),
        layers.Conv2D(4, 3, dilation_rate=2),
        5 * 5 * 4 * 9 * 2,
        0,
    ),
    "conv3d": ((4, 4, 4, 2), layers.Conv3D(3, 2), 27 * 3 * 8 * 2, 0),
    "depthwise1d": (
        (6, 3),
        layers.DepthwiseConv1D(3, depth_multiplier=2),
        4 * 6 * 3,
        0,
    ),
    "depthwise2d": (
        (6, 6, 3),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        4 * 4 * 6 * 9,
        0,
    ),
    "separable": (
        (6, 6, 3),
        layers.SeparableConv2D(5, 3, depth_multiplier=2),
        4 * 4 * (6 * 9 + 6 * 5),
        0,
    ),
    "transposed": (
        (4, 4, 3),
        layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
        4 * 4 * 3 * 9 * 5,
        0,
    ),
    "dense": ((7,), layers.Dense(4), 7 * 4, 0),
    "dense_on_positions": ((5, 7), layers.Dense(4), 5 * 7 * 4, 0),
    "batch_normalization": ((5, 5, 2), layers.BatchNormalization(), 0, 4 * 50),
    "global_average": (
        (5, 6, 2),
        layers.GlobalAveragePooling2D(),
        0,
        2 * (30 + 1),
    ),
    "average": ((6, 6, 2), layers.AveragePooling2D(2), 0, 9 * 2 * (4 + 1)),
    "max": ((6, 6, 2), layers.MaxPooling2D(2), 0, 0),
    "relu": ((6, 6, 2), layers.ReLU(), 0, 0),
    "layer_normalization": ((6, 2), layers.LayerNormalization(), 0, 0),
    "eca": ((5, 6, 16), eca_keras.ECA(5), 16 * 5, 16 * (30 + 1)),
    "eca_first": (
        (16, 5, 6),
        eca_keras.ECA(5, data_format="channels_first"),
        16 * 5,
        16 * (30 + 1),
    ),
    "eca1d": ((9, 8), eca_keras.ECA(3), 8 * 3, 8 * (9 + 1)),
    "eca_ns": ((5, 6, 16), ECANS(5), 16 * 5, 16 * (30 + 1)),
    "se_var1": ((5, 6, 16), SEVar1(), 0, 16 * (30 + 1)),
    "se_var2": ((5, 6, 16), SEVar2(), 16, 16 * (30 + 1)),
    "se_var3": ((5, 6, 16), SEVar3(), 16 * 16, 16 * (30 + 1)),
    "se_gc": ((5, 6, 16), SEGroupConv(4), 4 * 4 * 4, 16 * (30 + 1)),
    "se": ((5, 6, 16), SqueezeExcite(4), 2 * 16 * 4, 16 * (30 + 1)),
    "cbam": (
        (5, 6, 16),
        CBAM(4, spatial_kernel_size=3),
        2 * (2 * 16 * 4) + 30 * 9 * 2,
        16 * (30 + 1),
    ),
    "eca_spatial": (
        (16, 5, 6),
        ECASpatial(5, 3, data_format="channels_first"),
        16 * 5 + 30 * 9 * 2,
        16 * (30 + 1),
    ),
    "global_context": (
        (5, 6, 16),
        GlobalContext(2),
        30 * 16 + 2 * 16 * 8,
        0,
    ),
}


ATTENTION = tuple(BY_HAND)[tuple(BY_HAND).index("eca") :]


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_by_hand(name):
    shape, layer, macs, more = BY_HAND[name]
    counted = profile(functional(shape, layer))
    assert (counted.macs, counted.thop_macs) == (macs, macs + more)
    assert counted.parameters == layer.count_params()
    of_attention = layer.count_params() if name in ATTENTION else 0
    assert counted.attention_parameters == of_attention
    assert counted.uncounted == ()


def test_sequential_equals_functional():
    stack = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    sequential = keras.Sequential([keras.Input((6, 6, 3)), *stack])
    counted = profile(sequential)
    assert counted == profile(functional((6, 6, 3), *stack))
    assert counted.macs == 16 * 4 * 27 + 16 * 4 * 2


def test_shared_layers_count_per_call_and_nested_models_are_opened():
    dense = layers.Dense(4, name="dense")
    inner = keras.Sequential([keras.Input((4,)), dense], name="inner")
    outer = functional((4,), inner, inner, dense)
    counted = profile(outer)
    assert counted.macs == 3 * 16
    assert counted.parameters == 4 * 4 + 4
    assert [call.name for call in counted.calls] == [
        "inner/dense",
        "inner/dense",
        "dense",
    ]


def test_attention_in_a_nested_model_counts_as_attention():
    inner = functional((4, 4, 8), ECASpatial(3, 5))
    counted = profile(functional((4, 4, 8), inner, inner))
    assert counted.attention_parameters == 3 + 2 * 25
    assert counted.macs == 2 * (8 * 3 + 16 * 2 * 25)


def test_counting_leaves_the_model_alone():
    model = functional((None, None, 3), layers.Conv2D(4, 3), eca_keras.ECA())
    before = [len(layer._inbound_nodes) for layer in model.layers]
    profile(model, input_shape=(8, 8, 3))
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_input_shape_of_a_dynamic_model():
    model = functional((None, None, 3), layers.Conv2D(4, 3, padding="same"))
    assert profile(model, input_shape=(8, 6, 3)).macs == 48 * 4 * 27
    with pytest.raises(ValueError, match="`input_shape` must be a tuple of p"):
        profile(model)


def test_input_shape_replaces_a_static_one():
    stack = layers.Conv2D(4, 3, padding="same"), layers.MaxPooling2D(2)
    inner = functional((4, 4, 3), *stack)
    model = functional((4, 4, 3), inner)
    assert profile(model).macs == 16 * 4 * 27
    assert profile(model, input_shape=(8, 8, 3)).macs == 64 * 4 * 27


def test_a_fixed_batch_counts_per_sample():
    free = functional((8, 8, 3), layers.Conv2D(4, 3), eca_keras.ECA())
    fixed = functional(
        (8, 8, 3), layers.Conv2D(4, 3), eca_keras.ECA(), batch_size=5
    )
    assert profile(fixed).macs == profile(free).macs
    assert profile(fixed).thop_macs == profile(free).thop_macs


def test_several_inputs():
    a, b = keras.Input((4,)), keras.Input((None, 3))
    dense = layers.Dense(2)
    model = keras.Model([a, b], [dense(inputs=a), layers.Dense(5)(b)])
    counted = profile(model, input_shape=[(4,), (7, 3)])
    assert counted.macs == 4 * 2 + 7 * 3 * 5


@pytest.mark.parametrize(
    "input_shape", [(8, 8), (8, 8, 3, 1), (8, None, 3), (8, 0, 3), (8, 8.5, 3)]
)
def test_input_shape_is_checked(input_shape):
    model = functional((None, None, 3), layers.Conv2D(4, 3))
    with pytest.raises(ValueError, match="`input_shape` must be a tuple of p"):
        profile(model, input_shape=input_shape)


@pytest.mark.parametrize("input_shape", [(8, 8, 3), (4, 4, 6)])
def test_input_shape_that_the_layers_refuse(input_shape):
    model = functional(
        (4, 4, 3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)
    )
    with pytest.raises(ValueError, match="incompatible with the layer"):
        profile(model, input_shape=input_shape)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_other_models_are_refused():
    subclassed = Subclassed()
    subclassed(keras.ops.ones((1, 4)))
    unbuilt = keras.Sequential([layers.Dense(2)])
    for model in (subclassed, unbuilt, layers.Dense(2)):
        with pytest.raises(ValueError, match="`model` must be a functional"):
            profile(model)


def test_layers_without_a_rule_are_named():
    inner = Subclassed()
    wrapper = layers.TimeDistributed(layers.Dense(3))
    counted = profile(functional((5, 4), wrapper, layers.Dense(2), inner))
    assert counted.uncounted == ("Subclassed", "TimeDistributed")
    assert counted.macs == 5 * 3 * 2


class Fast(layers.Conv2D):
    pass


class Gated(layers.Layer):
    is_attention = True

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, inputs):
        return inputs * self.scale

    def count_macs(self, input_shape):
        return input_shape[-1], 2 * input_shape[-1]


def test_own_layers():
    model = functional((4, 4, 2), Fast(3, 1), Gated(name="gated"))
    counted = profile(model)
    assert counted.calls[0].macs == 16 * 2 * 3
    assert counted.calls[1] == CallCost("gated", "Gated", 3, 6)
    assert counted.attention_parameters == 3
    assert counted.uncounted == ()
