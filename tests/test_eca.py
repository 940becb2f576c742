"""The ECA layer against NumPy, and everything a Keras layer promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eca_keras import ECA
from eca_keras import adaptive_kernel_size
from eca_keras.layers import ECANS
from eca_keras.layers import ECASpatial

RNG = np.random.default_rng(0)


def numpy_eca(x, kernel, padding="zeros", axis=-1):
    """Eq. 9 of the paper, one channel and one tap at a time, in float64."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    channels, taps = x.shape[-1], len(kernel)
    means = x.reshape(len(x), -1, channels).mean(1)
    logits = np.zeros_like(means)
    for c in range(channels):
        for tap in range(taps):
            source = c + tap - taps // 2
            if padding == "circular":
                source %= channels
            if 0 <= source < channels:
                logits[:, c] += kernel[tap] * means[:, source]
    gate = 1 / (1 + np.exp(-logits))
    gate = gate.reshape(len(x), *[1] * (x.ndim - 2), channels)
    return np.moveaxis(x * gate, -1, axis)


def random_layer(channels, **arguments):
    """A layer on `channels` channels with a kernel that is not symmetric."""
    layer = ECA(**arguments)
    first = layer.data_format == "channels_first"
    layer.build((None, channels, 4) if first else (None, 4, channels))
    kernel = RNG.normal(size=layer.kernel.shape)
    layer.kernel.assign(kernel)
    return layer, kernel.ravel()


# 6, 7 and 12 channels do not fill blocks of 8; kernels reach over one, two
# and three blocks, and beyond the ends.
@pytest.mark.parametrize(
    ("channels", "kernel_size", "padding"),
    [
        (channels, kernel_size, padding)
        for channels in (1, 2, 6, 7, 8, 12, 16, 40, 256)
        for kernel_size in (None, 1, 3, 9, 25)
        for padding in ("zeros", "circular")
        if padding == "zeros" or (kernel_size or 1) <= channels
    ],
)
def test_numerics(channels, kernel_size, padding):
    layer = ECA(kernel_size, padding=padding)
    x = RNG.normal(size=(3, 5, 4, channels)).astype("float32")
    layer.build(x.shape)
    kernel = RNG.normal(size=layer.kernel.shape)
    layer.kernel.assign(kernel)
    expected = numpy_eca(x, kernel.ravel(), padding)
    np.testing.assert_allclose(layer(x), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [(2, 9), (2, 5, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_ranks_and_data_formats(shape, data_format):
    batch, *positions = shape
    first = data_format == "channels_first"
    full = (batch, 24, *positions) if first else (batch, *positions, 24)
    x = RNG.normal(size=full).astype("float32")
    layer = ECA(5, data_format=data_format)
    layer.build(full)
    kernel = RNG.normal(size=5)
    layer.kernel.assign(kernel.reshape(5, 1, 1))
    expected = numpy_eca(x, kernel, axis=1 if first else -1)
    np.testing.assert_allclose(layer(x), expected, atol=2e-6)
    assert layer.compute_output_shape(full) == full


def test_data_format_follows_keras_config():
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        assert ECA().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format(before)
    assert ECA().data_format == before


@pytest.mark.parametrize(
    ("channels", "size"),
    [(1, 1), (2, 1), (4, 1), (8, 3), (16, 3), (32, 3), (64, 3), (96, 3)]
    + [(128, 5), (160, 5), (256, 5), (320, 5), (512, 5), (1024, 5), (2048, 7)],
)
def test_adaptive_kernel_size(channels, size):
    assert adaptive_kernel_size(channels) == size
    layer = ECA()
    layer.build((None, 4, 4, channels))
    assert layer.resolved_kernel_size == size
    assert layer.kernel_size is None
    assert layer.count_params() == size


def test_gamma_and_b_change_the_kernel():
    assert adaptive_kernel_size(256, gamma=1) == 9
    assert adaptive_kernel_size(256, b=5) == 7
    layer = ECA(gamma=1, b=3)
    layer.build((None, 4, 4, 256))
    assert layer.resolved_kernel_size == 11


def test_unknown_batch_and_positions():
    inputs = keras.Input((None, None, 16))
    layer = ECA(3)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(RNG.normal(size=(3, 1, 1)))
    assert model.output_shape == (None, None, None, 16)
    for shape in ((1, 3, 5, 16), (4, 8, 2, 16)):
        x = RNG.normal(size=shape).astype("float32")
        expected = numpy_eca(x, np.ravel(layer.kernel))
        np.testing.assert_allclose(model(x), expected, atol=2e-6)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "float16", "mixed_bfloat16", "float64"]
)
def test_dtype_policies(policy):
    layer, kernel = random_layer(32, dtype=policy)
    dtype = layer.compute_dtype
    x = RNG.normal(size=(2, 6, 6, 32))
    layer = ECA.from_config(layer.get_config())
    layer.build(x.shape)
    layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    y = layer(keras.ops.cast(x, dtype))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    # Rounding of the input and the output: 8, 11 and 24 or more bits.
    tolerance = {"bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-6}[dtype]
    y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float64"))
    np.testing.assert_allclose(y, numpy_eca(x, kernel), atol=tolerance)


def test_float16_pooling_does_not_overflow():
    layer = ECA(3, dtype="mixed_float16")
    x = np.full((1, 112, 112, 16), 60_000, "float16")
    layer.build(x.shape)
    # inf - inf would be NaN, and a gate of 1 or 0 would hide an overflow.
    layer.kernel.assign(np.reshape([4e-5, -8e-5, 4e-5], (3, 1, 1)))
    y = keras.ops.convert_to_numpy(layer(x)).astype("float64")
    expected = numpy_eca(x, np.array([4e-5, -8e-5, 4e-5]))
    np.testing.assert_allclose(y, expected, rtol=2e-3)


def test_round_trip_of_every_argument():
    arguments = {
        "kernel_size": 7,
        "gamma": 3,
        "b": 2.5,
        "padding": "circular",
        "gate_scale": 1.5,
        "data_format": "channels_first",
        "kernel_initializer": keras.initializers.Constant(0.3),
        "kernel_regularizer": keras.regularizers.L2(0.01),
        "kernel_constraint": keras.constraints.MaxNorm(0.5),
        "name": "gate",
        "dtype": "float64",
        "trainable": False,
    }
    layer = ECA(**arguments)
    copy = ECA.from_config(layer.get_config())
    plain = ("kernel_size", "gamma", "b", "padding", "gate_scale")
    for name in (*plain, "data_format"):
        assert getattr(copy, name) == arguments[name]
    assert copy.kernel_initializer.value == 0.3
    assert copy.kernel_regularizer.l2 == pytest.approx(0.01)
    assert copy.kernel_constraint.max_value == 0.5
    assert (copy.name, copy.dtype, copy.trainable) == ("gate", "float64", False)
    x = RNG.normal(size=(2, 16, 5))
    np.testing.assert_array_equal(copy(x), layer(x))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files(tmp_path, suffix):
    def build():
        inputs = keras.Input((6, 6, 64))
        outputs = ECA(padding="circular", gamma=1)(inputs)
        return keras.Model(inputs, keras.layers.Flatten()(outputs))

    model = build()
    model.layers[1].kernel.assign(RNG.normal(size=(7, 1, 1)))
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        model.save(path)
        copy = keras.models.load_model(path)
    else:
        model.save_weights(path)
        copy = build()
        copy.load_weights(path)
    x = RNG.normal(size=(2, 6, 6, 64)).astype("float32")
    np.testing.assert_array_equal(copy(x), model(x))
    assert copy.layers[1].resolved_kernel_size == 7


def test_default_kernel_is_pytorchs():
    kernels = []
    for seed in range(200):
        keras.utils.set_random_seed(seed)
        layer = ECA(9)
        layer.build((None, 4, 4, 64))
        kernels.append(np.ravel(layer.kernel))
    kernels = np.concatenate(kernels)
    assert np.abs(kernels).max() <= 1 / 3
    assert np.abs(kernels).max() > 0.33
    # Uniform in +-1/3: variance 1/27; 1800 draws leave 3 % of noise.
    assert kernels.var() == pytest.approx(1 / 27, rel=0.1)


def test_initializer_regularizer_and_constraint_are_used():
    layer = ECA(
        5,
        kernel_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(0.1),
        kernel_constraint="non_neg",
    )
    layer.build((None, 4, 4, 64))
    np.testing.assert_array_equal(np.ravel(layer.kernel), np.ones(5))
    assert float(layer.losses[0]) == pytest.approx(0.5)
    assert layer.kernel.constraint is layer.kernel_constraint


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_gradients(padding):
    layer, kernel = random_layer(24, kernel_size=5, padding=padding)
    x = RNG.normal(size=(2, 3, 3, 24)).astype("float32")
    layer = ECA.from_config(layer.get_config())
    layer.build(x.shape)
    layer.kernel.assign(kernel.reshape(5, 1, 1))
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs) ** 2)
    by_kernel, by_input = tape.gradient(loss, [layer.kernel.value, inputs])

    def numpy_loss(x, kernel):
        return (numpy_eca(x, kernel, padding) ** 2).sum()

    step = 1e-6
    for tap in range(5):
        delta = step * np.eye(5)[tap]
        slope = numpy_loss(x, kernel + delta) - numpy_loss(x, kernel - delta)
        expected = slope / (2 * step)
        assert np.ravel(by_kernel)[tap] == pytest.approx(expected, rel=1e-4)
    for place in ((0, 0, 0, 0), (1, 2, 1, 23), (0, 1, 2, 11)):
        delta = np.zeros_like(x, "float64")
        delta[place] = step
        slope = numpy_loss(x + delta, kernel) - numpy_loss(x - delta, kernel)
        assert by_input.numpy()[place] == pytest.approx(
            slope / (2 * step), rel=1e-3, abs=1e-4
        )


def test_masked_steps_do_not_count():
    layer, kernel = random_layer(16, kernel_size=3)
    x = RNG.normal(size=(2, 6, 16)).astype("float32")
    x[0, 4:] = np.inf  # padding may hold anything
    mask = np.array([[True] * 4 + [False] * 2, [True] * 6])
    y = np.asarray(layer(x, mask=mask))
    np.testing.assert_allclose(
        y[0, :4], numpy_eca(x[:1, :4], kernel)[0], atol=2e-6
    )
    np.testing.assert_allclose(y[1], numpy_eca(x[1:], kernel)[0], atol=2e-6)


def test_mask_over_the_first_of_two_axes():
    layer = ECA(3)
    x = RNG.normal(size=(2, 6, 5, 16)).astype("float32")
    layer.build(x.shape)
    layer.kernel.assign(RNG.normal(size=(3, 1, 1)))
    mask = np.array([[True] * 4 + [False] * 2] * 2)
    y = np.asarray(layer(x, mask=mask))
    expected = numpy_eca(x[:, :4], np.ravel(layer.kernel))
    np.testing.assert_allclose(y[:, :4], expected, atol=2e-6)


def test_sample_that_is_all_padding_stays_finite():
    layer, _ = random_layer(16)
    y = layer(np.ones((1, 4, 16), "float32"), mask=np.zeros((1, 4), bool))
    np.testing.assert_allclose(y, 0.5)


def test_mask_is_passed_on():
    inputs = keras.Input((None,))
    x = keras.layers.Embedding(9, 16, mask_zero=True)(inputs)
    outputs = ECA()(x)
    assert outputs._keras_mask is not None


@pytest.mark.parametrize("value", [0, -3, 4, 2.0, "3", True])
def test_kernel_size_is_checked(value):
    rule = "`kernel_size` must be a positive odd integer, 'adaptive' or None"
    for layer in (ECA, ECANS, ECASpatial):
        with pytest.raises(ValueError, match=f"{rule}. Received"):
            layer(value)
        with pytest.raises(ValueError, match=f"{rule}; 'paper' is for netw"):
            layer("paper")


@pytest.mark.parametrize("kernel_size", [None, "adaptive"])
def test_adaptive_has_two_words(kernel_size):
    layer = ECA(kernel_size)
    assert layer.resolved_kernel_size is None
    copy = ECA.from_config(layer.get_config())
    assert copy.kernel_size == layer.kernel_size == kernel_size
    copy.build((None, 4, 4, 256))
    assert copy.resolved_kernel_size == 5


@pytest.mark.parametrize("gamma", [0, -1, float("inf"), "2", None])
def test_gamma_is_checked(gamma):
    with pytest.raises(ValueError, match="`gamma` must be a positive number"):
        ECA(gamma=gamma)
    with pytest.raises(ValueError, match="`gamma` must be a positive number"):
        adaptive_kernel_size(64, gamma=gamma)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="`b` must be a finite number"):
        ECA(b=float("nan"))
    with pytest.raises(
        ValueError, match="`padding` must be one of zeros, circ"
    ):
        ECA(padding="same")
    with pytest.raises(ValueError, match="`data_format` must be"):
        ECA(data_format="NHWC")
    with pytest.raises(ValueError, match="`channels` must be a positive int"):
        adaptive_kernel_size(0)


@pytest.mark.parametrize("shape", [(2, 8), (2, 3, 3, 3, 3, 8)])
def test_rank_is_checked(shape):
    with pytest.raises(ValueError, match="needs an input of rank 3, 4 or 5"):
        ECA()(np.zeros(shape, "float32"))


def test_integers_are_refused():
    with pytest.raises(ValueError, match="needs a floating-point input"):
        ECA()(np.ones((1, 4, 4, 8), "int32"))


def test_channels_must_be_known():
    with pytest.raises(ValueError, match="needs a known number of channels"):
        ECA()(keras.Input((8, 8, None)))


def test_circular_kernel_must_fit():
    with pytest.raises(ValueError, match="longer than the channel axis"):
        ECA(9, padding="circular").build((None, 4, 4, 8))


def test_other_number_of_channels_is_refused():
    layer, _ = random_layer(16)
    with pytest.raises(ValueError, match="expected axis"):
        layer(np.zeros((2, 4, 8), "float32"))
