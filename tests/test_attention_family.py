"""Every attention layer against NumPy, its formula, and its formats."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import CASES
from cases import NETWORKS
from cases import expected
from cases import images
from cases import make_map
from cases import network
from cases import positions
from cases import randomize
from cases import slope
from cases import to_format

from eca_keras import applications
from eca_keras import layers
from eca_keras.applications import attention

FORMATS = ("channels_last", "channels_first")

every_case = pytest.mark.parametrize("name", CASES)
# Keras reads TensorFlow's variables in a way that NumPy 2 deprecates.
saving = pytest.mark.filterwarnings("ignore:__array__ implementation")
every_format = pytest.mark.parametrize("data_format", FORMATS)


def build(name, channels=32, rank=4, data_format="channels_last", **arguments):
    """A layer with weights that were not drawn by its initializers."""
    layer = CASES[name].make(data_format=data_format, **arguments)
    shape = to_format(
        np.empty((1, *positions(rank), channels)), data_format
    ).shape
    layer.build((None, *shape[1:]))
    randomize(layer)
    return layer


def apply(layer, x, mask=None):
    """Runs a layer on a channels_last array."""
    x = to_format(x, layer.data_format)
    outputs = np.asarray(layer(tf.constant(x, layer.dtype), mask=mask))
    if layer.data_format == "channels_first":
        return np.moveaxis(outputs, 1, -1)
    return outputs


def test_the_table_has_every_layer_and_every_name():
    classes = {
        value
        for value in map(layers.__dict__.get, layers.__all__)
        if isinstance(value, type)
    }
    assert {case.layer for case in CASES.values()} == classes
    assert set(CASES) == set(attention.ATTENTION)


@every_case
@every_format
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_outputs_equal_numpy(name, data_format, rank):
    x = make_map((3, *positions(rank), 32))
    layer = build(name, rank=rank, data_format=data_format)
    assert layer.compute_output_shape(x.shape) == x.shape
    # float32 against float64.
    np.testing.assert_allclose(
        apply(layer, x), expected(CASES[name], layer, x), rtol=1e-5, atol=1e-6
    )


@every_case
def test_numbers_of_numpy_are_saved(name, tmp_path):
    arguments = {k: np.int64(v) for k, v in CASES[name].arguments.items()}
    if name == "eca":
        arguments |= {"gate_scale": np.float32(2), "gamma": np.float64(2)}
    layer = CASES[name].make(**arguments)
    inputs = keras.Input((6, 5, 32))
    model = keras.Model(inputs, layer(inputs))
    randomize(model)
    x = make_map((2, 6, 5, 32)).astype("float32")
    for path in (tmp_path / "model.keras", tmp_path / "model.h5"):
        model.save(path)
        loaded = keras.models.load_model(path, compile=False)
        np.testing.assert_array_equal(loaded(x), model(x))
    model.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")


@every_case
@every_format
@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_an_empty_batch(name, data_format, rank, masked):
    x = make_map((0, *positions(rank), 32))
    layer = build(name, rank=rank, data_format=data_format)
    mask = tf.ones(x.shape[:-1], "bool") if masked else None
    assert apply(layer, x, mask).shape == x.shape
    # Not known to be empty while the graph is made.
    batch = tf.TensorSpec((None, *to_format(x, data_format).shape[1:]))
    compiled = tf.function(
        lambda x: layer(x, mask=mask), input_signature=[batch]
    )
    outputs = compiled(to_format(x, data_format).astype("float32"))
    assert outputs.shape == to_format(x, data_format).shape


@every_case
def test_a_map_may_have_a_single_position(name):
    x = make_map((3, 1, 1, 32))
    layer = build(name)
    np.testing.assert_allclose(
        apply(layer, x), expected(CASES[name], layer, x), rtol=1e-5, atol=1e-6
    )


@every_case
def test_outputs_equal_numpy_with_other_arguments(name):
    x = make_map((3, 6, 5, 24))
    arguments = CASES[name].arguments
    # Under a float64 policy the gate is float64 too.
    layer = build(name, channels=24, dtype="float64", **arguments)
    np.testing.assert_allclose(
        apply(layer, x),
        expected(CASES[name], layer, x, **arguments),
        rtol=1e-12,
        atol=1e-12,
    )


@every_case
@every_format
@pytest.mark.parametrize("leading", [1, 2])
def test_masked_positions_do_not_count(name, data_format, leading):
    x = make_map((3, 6, 5, 32))
    mask = np.ones((3, 6, 5)[: 1 + leading], bool)
    mask[0, 4:] = False
    mask[1] = False  # a sample without any position
    if leading == 2:
        mask[2, 3, 1:] = False
    kept = np.broadcast_to(
        mask.reshape(*mask.shape, *[1] * (2 - leading)), (3, 6, 5)
    )
    layer = build(name, data_format=data_format)
    padded = np.where(kept[..., None], x, np.nan)
    outputs = apply(layer, padded, tf.constant(mask))
    np.testing.assert_allclose(
        outputs[kept],
        expected(CASES[name], layer, x, kept)[kept],
        rtol=1e-5,
        atol=1e-6,
    )
    assert not np.allclose(apply(layer, x)[kept], outputs[kept], atol=1e-4)


@every_case
def test_a_mask_is_passed_on(name):
    inputs = keras.Input((6, 32))
    masked = keras.layers.Masking()(inputs)
    outputs = CASES[name].make(data_format="channels_last")(masked)
    assert outputs._keras_mask is not None


# All numbers of channels that the builders have, and an odd one.
CHANNELS = (7, 8, 16, 24, 32, 56, 64, 96, 112, 160, 256, 320)


@every_case
def test_parameters_follow_the_formula(name):
    case = CASES[name]
    for rank, channels in (*((4, c) for c in CHANNELS), (3, 32), (5, 32)):
        for arguments in ({}, case.arguments):
            layer = case.make(data_format="channels_last", **arguments)
            layer.build((None, *positions(rank), channels))
            count = case.count(channels, rank - 2, **arguments)
            assert layer.count_params() == count


@every_case
def test_every_weight_gets_the_right_gradient(name):
    # 16 channels: the narrowest of the networks, with one hidden unit.
    x = make_map((3, 6, 5, 16))
    layer = build(name, channels=16, dtype="float64")
    if not layer.weights:
        return
    assert len(layer.trainable_weights) == len(layer.weights)
    variables = [w.value for w in layer.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(x)) ** 2)
    gradients = [g.numpy() for g in tape.gradient(loss, variables)]
    rng = np.random.default_rng(1)
    for index, gradient in enumerate(gradients):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-3
        directions = [np.zeros(g.shape) for g in gradients]
        directions[index] = rng.normal(size=gradient.shape)
        np.testing.assert_allclose(
            np.sum(gradient * directions[index]),
            slope(CASES[name], layer, x, directions),
            rtol=1e-5,  # central differences
            atol=1e-6,
        )


@every_case
def test_a_fresh_layer_can_learn(name):
    keras.utils.set_random_seed(0)
    layer = CASES[name].make(data_format="channels_last")
    x = tf.constant(make_map((8, 6, 5, 64)), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    variables = [w.value for w in layer.trainable_weights]
    for gradient in tape.gradient(loss, variables):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


@every_case
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_gate_is_computed_in_float32(name, policy):
    # The sum over these positions is beyond the largest float16.
    x = np.float64(np.float16(make_map((1, 64, 64, 16)) + 40) * np.float16(0.5))
    layer = build(name, channels=16, dtype=policy)
    for weight in layer.weights:
        weight.assign(weight / 100)  # logits that do not saturate the gate
    outputs = layer(tf.constant(x, layer.compute_dtype))
    assert outputs.dtype == layer.compute_dtype
    assert all(weight.dtype == "float32" for weight in layer.weights)
    cast = np.asarray(tf.cast(tf.constant(x, layer.compute_dtype), "float64"))
    # The spacing of the dtype's numbers: two or three roundings.
    tolerance = 3 * float(tf.experimental.numpy.finfo("float16").eps)
    if policy == "mixed_bfloat16":
        tolerance *= 8
    np.testing.assert_allclose(
        np.asarray(tf.cast(outputs, "float64")),
        expected(CASES[name], layer, cast),
        rtol=tolerance,
        atol=tolerance,
    )


@saving
@every_case
@every_format
def test_a_saved_model_comes_back(name, data_format, tmp_path):
    case = CASES[name]
    arguments = {**case.arguments, "data_format": data_format}
    inputs = keras.Input((16, 16, 16))
    layer = case.make(**arguments, name="attention", dtype="mixed_float16")
    model = keras.Model(inputs, layer(inputs))
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.get_layer("attention")
    assert type(again) is case.layer
    assert again.dtype_policy.name == "mixed_float16"
    for argument, value in {**case.fixed, **arguments}.items():
        assert getattr(again, argument) == value
    x = to_format(make_map((2, 16, 16, 16)), data_format).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert np.ptp(np.asarray(model(x), "float32") / x) > 0.01


@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("eca")])
def test_the_cases_name_every_argument(name):
    signature = inspect.signature(CASES[name].layer)
    names = set(signature.parameters) - {"data_format", "kwargs"}
    assert set(CASES[name].arguments) == names
    for argument, value in CASES[name].arguments.items():
        assert value != signature.parameters[argument].default


@pytest.mark.parametrize(
    ("name", "argument"), [(n, a) for n in CASES for a in CASES[n].arguments]
)
def test_every_argument_has_an_effect(name, argument):
    value = CASES[name].arguments[argument]
    default, changed = build(name), build(name, **{argument: value})
    assert default.count_params() != changed.count_params()


@every_case
def test_the_data_format_has_an_effect(name):
    x = make_map((2, 8, 8, 8)).astype("float32")
    last, first = (
        build(name, channels=8, data_format=data_format)
        for data_format in FORMATS
    )
    for weights in zip(last.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)
    assert not np.allclose(last(x), first(x), atol=1e-3)


@pytest.mark.slow
@every_case
def test_tflite_needs_builtin_operations_only(name, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    inputs = keras.Input((None, None, 16))
    layer = CASES[name].make(data_format="channels_last")
    model = keras.Model(inputs, layer(inputs))
    randomize(model)
    model.export(tmp_path, format="tf_saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    for shape in ((1, 9, 8, 16), (3, 5, 11, 16)):
        x = make_map(shape).astype("float32")
        interpreter.resize_tensor_input(source, shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(target),
            expected(CASES[name], layer, np.float64(x)),
            rtol=1e-5,
            atol=1e-5,
        )


COUNT = "a positive integer"
ODD = "a positive odd integer"
SIZE = f"{ODD}, 'adaptive' or None"
REFUSED = [
    (layers.SqueezeExcite, "reduction", (0, -1, 2.5, True, None), COUNT),
    (layers.CBAM, "reduction", (0, "16"), COUNT),
    (layers.GlobalContext, "reduction", (0, 2.5), COUNT),
    (layers.SEGroupConv, "groups", (0, 2.5, True, None), COUNT),
    (layers.CBAM, "spatial_kernel_size", (0, 4, 7.0, None), ODD),
    (layers.ECASpatial, "spatial_kernel_size", (0, 4, None), ODD),
    (
        layers.ECASpatial,
        "kernel_size",
        (0, 4, 3.0),
        SIZE,
    ),
    (
        layers.ECANS,
        "kernel_size",
        (0, 4, 3.0, True),
        SIZE,
    ),
]


@pytest.mark.parametrize(("layer", "argument", "values", "rule"), REFUSED)
def test_arguments_out_of_range_are_refused(layer, argument, values, rule):
    for value in values:
        with pytest.raises(ValueError, match="must be") as caught:
            layer(**{argument: value})
        assert str(caught.value) == (
            f"`{argument}` must be {rule}. Received: {argument}={value!r}"
        )


@every_case
def test_inputs_out_of_range_are_refused(name):
    case = CASES[name]
    label = case.layer.__name__
    with pytest.raises(ValueError, match="`data_format` must be"):
        case.make(data_format="NHWC")
    with pytest.raises(ValueError, match=f"`{label}` needs an input of rank"):
        case.make().build((None, 16))
    with pytest.raises(ValueError, match=f"`{label}` needs a known number"):
        case.make(data_format="channels_first").build((None, None, 8, 16))
    layer = build(name)
    with pytest.raises(ValueError, match="expected axis -1|expected axis 3"):
        layer(np.zeros((1, 6, 5, 24), "float32"))


def test_groups_divide_any_number_of_channels():
    layer = layers.SEGroupConv()
    assert layer.resolved_groups is None
    for channels, groups in ((64, 16), (24, 8), (7, 1)):
        layer = layers.SEGroupConv(data_format="channels_last")
        layer.build((None, 6, channels))
        assert layer.groups == 16
        assert layer.resolved_groups == groups


def test_equal_kernels_make_eca_of_eca_ns():
    x = make_map((2, 6, 5, 64)).astype("float32")
    shared, own = build("eca", channels=64), build("eca_ns", channels=64)
    assert own.resolved_kernel_size == shared.resolved_kernel_size == 3
    own.set_weights([np.repeat(shared.get_weights()[0], 64, axis=2)])
    np.testing.assert_allclose(own(x), shared(x), rtol=1e-5, atol=1e-6)


# Builders.


@every_case
def test_builders_take_every_name(name):
    model = applications.ECAResNet20(input_shape=(16, 16, 3), attention=name)
    case = CASES[name]
    firsts = [m for m in model.layers if m.name.endswith(f"block1_{name}")]
    assert [layer.name for layer in firsts] == [
        f"conv{stage}_block1_{name}" for stage in (2, 3, 4)
    ]
    for channels, layer in zip((16, 32, 64), firsts, strict=True):
        assert type(layer) is case.layer
        assert layer.count_params() == case.count(channels, 2)
        for argument, value in case.fixed.items():
            assert getattr(layer, argument) == value


def test_class_names_are_names_too():
    plain = {n: case for n, case in CASES.items() if not case.fixed}
    for name, case in plain.items():
        resolved = attention.resolve(
            case.layer.__name__, "adaptive", released=None, stages=3, model=""
        )
        assert resolved.make is case.layer
        assert resolved.suffix == name
    model = applications.ECAResNet20(
        input_shape=(16, 16, 3), attention="SqueezeExcite"
    )
    assert type(model.get_layer("conv2_block1_se")) is layers.SqueezeExcite


@pytest.mark.parametrize("name", CASES)
def test_kernel_size_reaches_the_layers_that_have_one(name):
    arguments = {"input_shape": (16, 16, 3), "attention": name}
    if "kernel_size" in CASES[name].arguments:
        model = applications.ECAResNet20(kernel_size=(3, 5, 7), **arguments)
        assert [
            model.get_layer(f"conv{stage}_block2_{name}").kernel_size
            for stage in (2, 3, 4)
        ] == [3, 5, 7]
    else:
        with pytest.raises(ValueError, match="`kernel_size` only applies to"):
            applications.ECAResNet20(kernel_size=3, **arguments)


@pytest.mark.parametrize("name", ["SpatialGate", "ecans", "", 3])
def test_unknown_attention_is_refused(name):
    with pytest.raises(ValueError, match="`attention` must be None, one of"):
        applications.ECAResNet20(input_shape=(16, 16, 3), attention=name)


@pytest.mark.slow
@every_case
@pytest.mark.parametrize("model", NETWORKS)
def test_builders_answer_with_every_name(name, model):
    logits = np.asarray(network(model, name)(images(model)))
    assert np.isfinite(logits).all()
    distance = np.abs(logits[0] - logits[1]).max()
    assert distance > 0.05 * np.abs(logits).max()
