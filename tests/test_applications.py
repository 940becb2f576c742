"""What the builders promise, most of it in the words of keras.applications."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from eca_keras import ECA
from eca_keras import applications
from eca_keras.applications import ECAMobileNetV2
from eca_keras.applications import ECAResNet18
from eca_keras.applications import ECAResNet20
from eca_keras.applications import ECAResNet50

# A small network of each family: builder and its smallest fast arguments.
SMALL = {
    "resnet": (ECAResNet20, {"input_shape": (16, 16, 3), "classes": 7}),
    "mobilenet": (
        ECAMobileNetV2,
        {"input_shape": (32, 32, 3), "classes": 7, "alpha": 0.35},
    ),
}


@pytest.fixture(params=SMALL)
def small(request):
    build, arguments = SMALL[request.param]

    def build_small(**changes):
        merged = {**arguments, **changes}
        return build(**{k: v for k, v in merged.items() if v is not ...})

    return build_small


def randomize(model, seed=0):
    """Gives every weight a value that matters; a new network is constant."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        values = rng.normal(size=variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            values = rng.uniform(0.5, 1.5, variable.shape)
        elif len(variable.shape) > 1:
            depthwise = "depthwise" in variable.path
            inputs = variable.shape[: 2 if depthwise else -1]
            values *= np.sqrt(2 / np.prod(inputs))
        variable.assign(values)


def test_arguments_of_numpy(small, tmp_path):
    """NumPy's numbers are numbers, in the file of the model as well."""
    shape = tuple(np.array(small().input_shape[1:]))
    stages = {"ecaresnet20": 3}.get(small().name, 7)
    for kernel_size in (np.int64(3), np.array([3] * stages)):
        model = small(
            classes=np.int64(4),
            input_shape=shape,
            kernel_size=kernel_size,
            dropout=np.float32(0.5),
        )
        randomize(model)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert set(kernels(loaded)) == {3}
        images = np.random.default_rng(0).normal(size=(2, *shape))
        expected = np.asarray(model(images))
        assert expected.shape == (2, 4)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_array_equal(loaded(images), expected)


def test_a_legacy_file(small, tmp_path):
    model = small()
    randomize(model)
    model.save(tmp_path / "model.h5")
    loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    images = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    expected = np.asarray(model(images))
    assert np.ptp(expected) > 1e-3
    np.testing.assert_array_equal(loaded(images), expected)


def kernels(model):
    """Kernel sizes of the ECA layers, in order."""
    return [
        layer.resolved_kernel_size
        for layer in model.layers
        if isinstance(layer, ECA)
    ]


COUNTS = {
    # builder: parameters, of them ECA, blocks per stage, released kernels
    "ECAResNet18": (11_689_556, 44, (2, 2, 2, 2), (3, 5, 7, 7)),
    "ECAResNet34": (21_797_744, 72, (3, 4, 6, 3), (3, 3, 5, 7)),
    "ECAResNet50": (25_557_112, 80, (3, 4, 6, 3), (3, 5, 5, 7)),
    "ECAResNet101": (44_549_317, 157, (3, 4, 23, 3), (3, 3, 5, 7)),
    "ECAResNet152": (60_193_042, 234, (3, 8, 36, 3), (3, 3, 5, 7)),
    "ECAMobileNetV2": (
        3_504_903,
        31,
        (1, 2, 3, 4, 3, 3, 1),
        (1, 1, 1, 1, 3, 3, 3),
    ),
}
SLOW = ("ECAResNet34", "ECAResNet101", "ECAResNet152")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n
        for n in COUNTS
    ],
)
def test_parameters_with_the_released_kernels(name):
    total, eca, blocks, released = COUNTS[name]
    model = getattr(applications, name)(kernel_size="paper")
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == total
    expected = [
        k for n, k in zip(blocks, released, strict=True) for _ in [0] * n
    ]
    assert kernels(model) == expected
    assert sum(kernels(model)) == eca


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ECAResNet18", (3, 5, 5, 5)),
        ("ECAResNet50", (5, 5, 5, 7)),
        ("ECAMobileNetV2", (3, 3, 3, 3, 3, 5, 5)),
    ],
)
def test_adaptive_kernels(name, expected):
    model = getattr(applications, name)(include_top=False)
    blocks = COUNTS[name][2]
    assert kernels(model) == [
        k for n, k in zip(blocks, expected, strict=True) for _ in range(n)
    ]


def test_kernel_size_as_integer_and_per_stage():
    model = ECAResNet20(kernel_size=9)
    assert kernels(model) == [9] * 9
    model = ECAResNet20(kernel_size=[1, 3, 5])
    assert kernels(model) == [1] * 3 + [3] * 3 + [5] * 3


@pytest.mark.slow
def test_plain_network_has_no_attention(small):
    plain, with_eca = small(attention=None), small()
    assert not kernels(plain)
    assert with_eca.count_params() - plain.count_params() == sum(
        kernels(with_eca)
    )
    plain_names = {layer.name for layer in plain.layers[1:]}
    names = {layer.name for layer in with_eca.layers[1:]}
    assert names - plain_names == {n for n in names if n.endswith("_eca")}


def test_attention_as_a_callable(small):
    made = []

    def attention(name):
        made.append(name)
        return keras.layers.Rescaling(0.5, name=name)

    model = small(attention=attention)
    assert made
    assert set(made) <= {layer.name for layer in model.layers}
    assert model.count_params() == small(attention=None).count_params()


def test_small_networks_are_those_of_he_et_al():
    # 0.27, 0.46 and 0.85 million, without attention and with BatchNorm's
    # moving statistics taken off.
    for depth, parameters in ((20, 269_722), (32, 464_154), (56, 853_018)):
        build = getattr(applications, f"ECAResNet{depth}")
        model = build(input_shape=(32, 32, 3), classes=10, attention=None)
        trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        assert trainable == parameters


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_signature_is_that_of_keras_applications(name):
    keras_name = name.removeprefix("ECA")
    reference = getattr(keras.applications, keras_name, None)
    reference = reference or keras.applications.ResNet50
    ours = inspect.signature(getattr(applications, name)).parameters
    theirs = list(inspect.signature(reference).parameters)
    assert list(ours)[: len(theirs)] == theirs
    rest = list(ours.values())[len(theirs) :]
    assert [p.name for p in rest[:2]] == ["kernel_size", "attention"]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)


@pytest.mark.slow
def test_names_of_layers_follow_keras_applications():
    ours = {layer.name for layer in ECAResNet50().layers}
    theirs = {
        layer.name
        for layer in keras.applications.ResNet50(weights=None).layers
        if layer.weights
    }
    assert theirs <= ours
    ours = {layer.name for layer in ECAMobileNetV2().layers}
    theirs = {
        layer.name
        for layer in keras.applications.MobileNetV2(weights=None).layers
        if layer.weights
    }
    assert theirs <= ours


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.35, 0.5, 0.75, 1.3, 1.4])
def test_widths_of_mobilenet_follow_keras_applications(alpha):
    ours = ECAMobileNetV2(alpha=alpha, attention=None)
    theirs = keras.applications.MobileNetV2(alpha=alpha, weights=None)
    assert ours.count_params() == theirs.count_params()


@pytest.mark.slow
def test_outputs(small):
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    full = {"input_shape": (32, 32, 3)}
    probabilities = np.asarray(small(**full)(x))
    assert probabilities.shape == (2, 7)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    logits = small(**full, classifier_activation=None)
    randomize(logits)
    values = np.asarray(logits(x))
    assert np.abs(values.sum(1) - 1).min() > 0.1
    assert np.ptp(values, axis=0).max() > 0.01
    features = small(**full, include_top=False)
    assert len(features.output_shape) == 4
    average = small(**full, include_top=False, pooling="avg")
    largest = small(**full, include_top=False, pooling="max")
    for model in (features, average, largest):
        randomize(model)
    maps = np.asarray(features(x))
    np.testing.assert_allclose(average(x), maps.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(largest(x), maps.max((1, 2)), atol=1e-5)


def test_size_may_vary_without_the_top(small):
    model = small(include_top=False, input_shape=None)
    assert model.input_shape == (None, None, None, 3)
    randomize(model)
    for height, width in ((32, 48), (57, 33)):
        x = np.ones((1, height, width, 3), "float32")
        assert np.isfinite(np.asarray(model(x))).all()


def test_input_tensor_keeps_what_comes_before_it(small):
    image = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(2.0)(image)
    model = small(input_tensor=scaled, input_shape=...)
    assert model.inputs[0] is image
    reference = small(input_shape=(32, 32, 3))
    randomize(model)
    randomize(reference)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model(x), reference(2 * x), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_from_a_file(small, tmp_path, suffix):
    model = small()
    randomize(model)
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    copy = small(weights=str(path))
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    np.testing.assert_array_equal(copy(x), model(x))
    if suffix == ".keras":
        loaded = keras.models.load_model(path)
        np.testing.assert_array_equal(loaded(x), model(x))
        assert kernels(loaded) == kernels(model)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(small, policy):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        model = small(classifier_activation=None)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output.dtype == "float32"
    half = policy.removeprefix("mixed_")
    for layer in model.layers:
        if layer.name not in ("avg_pool", "predictions"):
            assert layer.compute_dtype == half
    reference = small(classifier_activation=None)
    randomize(model)
    randomize(reference)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    expected = np.asarray(reference(x))
    error = np.abs(np.asarray(model(x)) - expected).max()
    # 8 or 11 bits of precision, over some 20 layers.
    assert error < {"float16": 0.02, "bfloat16": 0.2}[half] * np.ptp(expected)


def test_every_weight_gets_a_gradient(small):
    model = small(classifier_activation=None)
    randomize(model)
    x = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x, training=True) ** 2)
    variables = [v.value for v in model.trainable_variables]
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(
        model.trainable_variables, gradients, strict=True
    ):
        values = gradient.numpy()
        assert np.isfinite(values).all(), variable.path
        assert np.abs(values).max() > 0, variable.path


@pytest.mark.slow
def test_channels_first_builds_the_same_network(small):
    reference = small(classifier_activation=None)
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        h, w, c = reference.input_shape[1:]
        model = small(classifier_activation=None, input_shape=(c, h, w))
        randomize(model)
        x = np.random.default_rng(0).normal(size=(2, c, h, w))
        # TensorFlow's CPU kernels know channels_last only, XLA's know both.
        compiled = tf.function(model, jit_compile=True)
        logits = compiled(x.astype("float32")).numpy()
    finally:
        keras.config.set_image_data_format(before)
    randomize(reference)
    expected = reference(x.transpose(0, 2, 3, 1).astype("float32"))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_stage_outputs():
    stages = applications.stage_outputs(ECAResNet50(include_top=False))
    assert {k: v.shape[-1] for k, v in stages.items()} == {
        "C2": 256,
        "C3": 512,
        "C4": 1024,
        "C5": 2048,
    }
    model = ECAMobileNetV2(input_shape=(64, 96, 3))
    stages = applications.stage_outputs(model)
    assert {k: tuple(v.shape[1:]) for k, v in stages.items()} == {
        "C2": (16, 24, 24),
        "C3": (8, 12, 32),
        "C4": (4, 6, 96),
        "C5": (2, 3, 320),
    }
    pyramid = keras.Model(model.input, stages)
    maps = pyramid(np.zeros((1, 64, 96, 3), "float32"))
    assert maps["C5"].shape == (1, 2, 3, 320)
    with pytest.raises(ValueError, match="must be made by a builder"):
        applications.stage_outputs(keras.Sequential([keras.Input((3,))]))


BAD = [
    ({"pooling": "mean"}, "`pooling` must be None, 'avg' or 'max'"),
    ({"classes": 0}, "`classes` must be a positive integer"),
    ({"weights": "/no/such.h5"}, "`weights` argument should be"),
    ({"input_shape": (4, 4, 3)}, "Input size must be at least"),
    ({"input_shape": (32, 32)}, "`input_shape` must be a tuple of three"),
    ({"input_shape": (None, None, 3)}, "`include_top` is True, you should"),
    ({"input_tensor": np.zeros(3)}, "`input_tensor` must be a Keras tensor"),
    ({"attention": "foo"}, "`attention` must be None"),
    ({"attention": None, "kernel_size": 3}, "`kernel_size` only applies"),
    ({"kernel_size": 4}, "`kernel_size` must be 'adaptive'"),
    ({"kernel_size": (3, 3)}, "`kernel_size` must be 'adaptive'"),
    ({"kernel_size": "Paper"}, "`kernel_size` must be 'adaptive'"),
    ({"attention": ECA}, "must be a callable that makes a new layer"),
    ({"attention": lambda name: name}, "must return a keras.layers.Layer"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_bad_arguments(small, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_more_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="No kernel sizes were released for"):
        ECAResNet20(kernel_size="paper")
    with pytest.raises(ValueError, match="`alpha` must be a positive number"):
        ECAMobileNetV2(alpha=0)
    image = keras.Input((64, 64, 3))
    with pytest.raises(ValueError, match="must equal the shape of `input_t"):
        ECAResNet18(input_tensor=image, input_shape=(32, 32, 3))
    path = tmp_path / "w.weights.h5"
    ECAResNet20().save_weights(path)
    with pytest.raises(ValueError, match="Only `None` and `softmax` activa"):
        ECAResNet20(weights=path, classifier_activation="sigmoid")
    with pytest.warns(UserWarning, match="expects 1 or 3 input channels"):
        ECAResNet20(input_shape=(16, 16, 4))
