"""Weights from files of Keras are judged as strictly as PyTorch's."""

import pathlib

import h5py
import keras
import numpy as np
import pytest
import torch_writer
from export_models import randomised
from keras import layers
from reference import golden_state

import eca_keras
from eca_keras.applications import ECAMobileNetV2
from eca_keras.applications import ECAResNet20
from eca_keras.weights import CheckpointError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
]

RNG = np.random.default_rng(0)
# What each format is called, and by whom it is written.
FORMATS = (".keras", ".weights.h5", ".h5", "-old.weights.h5")


def network(attention="eca", **options):
    shape = options.pop("input_shape", (8, 8, 3))
    return ECAResNet20(input_shape=shape, attention=attention, **options)


def save(model, path):
    """Save a model by the suffix of a path, and give it a neutral name."""
    if path.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    if "-old" in path:
        strip(path)
    return pathlib.Path(path).rename(f"{path}.ckpt")


def strip(path):
    """Leave out what older versions of Keras and of this library did."""
    with h5py.File(path, "r+") as file:
        found = []
        file.visititems(lambda name, each: found.append((name, each)))
        for name, each in found:
            if name.endswith("/settings"):
                del file[name]
            elif "name" in each.attrs:
                del each.attrs["name"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network with weights that are not fresh, and its files by format."""
    model = randomised(network())
    folder = tmp_path_factory.mktemp("saved")
    return model, {
        suffix: save(model, str(folder / f"model{suffix}"))
        for suffix in FORMATS
    }


def images(shape=(2, 8, 8, 3)):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_network(saved, suffix):
    model, files = saved
    copy = network(weights=files[suffix])
    x = images()
    np.testing.assert_array_equal(copy(x), model(x))


@pytest.mark.parametrize("suffix", FORMATS[:3])
def test_what_may_differ(saved, suffix):
    """The size of the image, the head's activation, the head itself."""
    model, files = saved
    x = images((2, 16, 16, 3))
    logits = keras.Model(model.input, model.get_layer("avg_pool").output)
    larger = network(
        weights=files[suffix],
        input_shape=(16, 16, 3),
        classifier_activation=None,
    )
    bare = network(
        weights=files[suffix], include_top=False, pooling="avg", dropout=0
    )
    x = images()
    np.testing.assert_array_equal(bare(x), logits(x))
    kernel, bias = model.get_layer("predictions").get_weights()
    np.testing.assert_array_equal(
        larger.get_layer("predictions").get_weights()[0], kernel
    )
    dropped = network(weights=files[suffix], dropout=0.5)
    np.testing.assert_array_equal(dropped(x), model(x))


def mine(**options):
    return lambda name: eca_keras.ECA(name=name, **options)


DIFFERENT = {
    "attention=None": {"attention": None},
    "attention='eca_circular'": {"attention": "eca_circular"},
    "attention='se_var1'": {"attention": "se_var1"},
    "attention='se'": {"attention": "se"},
    "(3, 1, 1) for (5, 1, 1)": {"kernel_size": 5},
    "predictions": {"classes": 4},
}


CASES = [
    *((suffix, word) for suffix in FORMATS[:2] for word in DIFFERENT),
    *((suffix, word) for suffix in FORMATS[2:] for word in [*DIFFERENT][::4]),
]


@pytest.mark.parametrize(("suffix", "word"), CASES)
def test_other_networks_are_refused(saved, suffix, word):
    _, files = saved
    with pytest.raises(CheckpointError) as caught:
        network(weights=files[suffix], **DIFFERENT[word])
    message = str(caught.value)
    assert "\n" not in message
    if "old" not in suffix:
        assert word in message
        if word.startswith("attention"):
            assert "it has attention='eca', but the model has" in message


@pytest.mark.parametrize("suffix", FORMATS[:2])
@pytest.mark.parametrize(
    ("inside", "asked", "word"),
    [
        (
            {"gate_scale": 2},
            {},
            "has gate_scale=2, but the model's has g",
        ),
        (
            {},
            {"padding": "circular"},
            "padding='zeros', but the model's has p",
        ),
        (
            {},
            {"gate_scale": 0.5},
            "gate_scale=1, but the model's has g",
        ),
    ],
)
def test_settings_of_attention(tmp_path, suffix, inside, asked, word):
    model = randomised(network(mine(**inside)))
    path = save(model, str(tmp_path / f"model{suffix}"))
    x = images()
    same = network(mine(**inside), weights=path)
    np.testing.assert_array_equal(same(x), model(x))
    with pytest.raises(CheckpointError, match=word):
        network(mine(**asked), weights=path)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_keras_itself_minds_the_settings(tmp_path):
    path = tmp_path / "model.weights.h5"
    network(mine(gate_scale=2)).save_weights(path)
    # Some versions of Keras say why, others what is left over by then.
    with pytest.raises(ValueError, match="objects could not be loaded"):
        network(mine()).load_weights(path)


@pytest.mark.parametrize("suffix", FORMATS[:3])
def test_a_network_without_its_classifier(saved, tmp_path, suffix):
    """A file without one does not fill a model with one."""
    model = network(include_top=False)
    path = save(model, str(tmp_path / f"model{suffix}"))
    network(include_top=False, weights=path)
    with pytest.raises(CheckpointError, match="missing predictions"):
        network(weights=path)


@pytest.mark.parametrize("suffix", FORMATS[:2])
def test_the_order_of_the_axes_is_none_of_the_file(saved, suffix):
    model, files = saved
    keras.config.set_image_data_format("channels_first")
    try:
        copy = network(weights=files[suffix], input_shape=(3, 8, 8))
    finally:
        keras.config.set_image_data_format("channels_last")
    for ours, theirs in zip(
        copy.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("suffix", FORMATS[:2])
def test_normalization_before_the_network(saved, tmp_path, suffix):
    model, files = saved
    image = keras.Input((8, 8, 3))
    scaled = layers.Normalization(name="normalization")
    scaled.adapt(images())
    normalized = network(input_tensor=scaled(image), weights=files[suffix])
    x = images()
    np.testing.assert_allclose(normalized(x), model(scaled(x)), atol=1e-6)
    path = save(normalized, str(tmp_path / f"model{suffix}"))
    np.testing.assert_array_equal(network(weights=path)(x), model(x))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_precision(saved, tmp_path, policy):
    model, files = saved
    keras.config.set_dtype_policy(policy)
    try:
        half = network(weights=files[".keras"])
        path = save(half, str(tmp_path / "model.weights.h5"))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(
        network(weights=path)(x := images()), model(x)
    )


def test_a_refused_file_leaves_the_model(saved):
    _, files = saved
    model = network("eca_circular")
    before = model.get_weights()
    with pytest.raises(CheckpointError):
        eca_keras.weights.load_into(model, files[".keras"])
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_epsilon_and_strides_count(tmp_path):
    def build(**options):
        inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(3, 3, name="conv", **options.get("conv", {}))(inputs)
        x = layers.BatchNormalization(name="bn", **options.get("bn", {}))(x)
        return keras.Model(inputs, x)

    build().save(path := tmp_path / "model.keras")
    eca_keras.weights.load_into(build(bn={"momentum": 0.5}), path)
    for options, word in (
        ({"bn": {"epsilon": 1e-5}}, "'?bn'? has epsilon=0.001, but"),
        ({"conv": {"strides": 2}}, r"conv'? has strides=\[1, 1\], but"),
        ({"conv": {"activation": "relu"}}, "activation='linear', but"),
    ):
        with pytest.raises(CheckpointError, match=word):
            eca_keras.weights.load_into(build(**options), path)


@pytest.mark.parametrize("name", ["a.ckpt", "a.keras"])
def test_files_of_pytorch_under_any_name(tmp_path, name):
    state = golden_state("eca_mobilenetv2_k13")
    torch_writer.save({"state_dict": state}, tmp_path / name)
    model = ECAMobileNetV2(
        kernel_size="paper", input_shape=(32, 32, 3), weights=tmp_path / name
    )
    np.testing.assert_array_equal(
        model.get_layer("predictions").get_weights()[1],
        state["classifier.1.bias"],
    )
    with pytest.raises(CheckpointError, match="kernel_size="):
        ECAMobileNetV2(input_shape=(32, 32, 3), weights=tmp_path / name)


def wrapped(model, way):
    image = keras.Input(model.input_shape[1:])
    if way == "Sequential":
        return keras.Sequential([image, model])
    return keras.Model(image, model(layers.Rescaling(0.5)(image)))


@pytest.mark.parametrize("way", ["Sequential", "Rescaling"])
@pytest.mark.parametrize("suffix", FORMATS[:2])
def test_a_network_inside_a_model(saved, tmp_path, way, suffix):
    model, _ = saved
    path = save(wrapped(model, way), str(tmp_path / f"model{suffix}"))
    x = images()
    np.testing.assert_array_equal(network(weights=path)(x), model(x))
    with pytest.raises(CheckpointError, match="attention='eca'"):
        network("eca_circular", weights=path)


@pytest.mark.parametrize("suffix", FORMATS[:2])
def test_two_networks_inside_a_model(saved, tmp_path, suffix):
    """There is no telling which is meant."""
    image = keras.Input((8, 8, 3))
    both = [keras.models.clone_model(saved[0]) for _ in range(2)]
    both[1].name = "other"
    double = keras.Model(image, layers.Add()([each(image) for each in both]))
    path = save(double, str(tmp_path / f"model{suffix}"))
    with pytest.raises(CheckpointError, match="unexpected"):
        network(weights=path)


@pytest.mark.parametrize("suffix", FORMATS[:2])
def test_any_classifier_is_left_out(saved, tmp_path, suffix):
    bare = randomised(network(include_top=False, pooling="avg"))
    mine = keras.Model(bare.input, layers.Dense(5, name="mine")(bare.output))
    path = save(mine, str(tmp_path / f"model{suffix}"))
    copy = network(include_top=False, pooling="avg", weights=path)
    x = images()
    np.testing.assert_array_equal(copy(x), bare(x))
    with pytest.raises(CheckpointError):
        network(weights=path)


def plain(named=True, activation="relu", merge=layers.Add, pool="Max", **also):
    """A small network with layers that have no weights."""

    def name(word):
        return {"name": word} if named else {}

    image = keras.Input((8, 8, 3))
    x = image
    if "scale" in also:
        x = layers.Rescaling(also["scale"], **name("scale"))(x)
    x = layers.Conv2D(3, 3, padding="same", **name("conv"))(x)
    y = layers.Activation(activation, **name("act"))(x)
    pooling = getattr(layers, f"{pool}Pooling2D")
    y = pooling(3, 1, padding="same", **name("pool"))(y)
    x = merge(**name("merge"))([x, y])
    x = layers.Dropout(also.get("dropout", 0.1), **name("drop"))(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("inside", "asked"),
    [
        ({"activation": "tanh"}, {}),
        ({"activation": "tanh", "named": False}, {"named": False}),
        ({"merge": layers.Multiply}, {}),
        ({"pool": "Average"}, {}),
        ({"scale": 0.5}, {"scale": 2.0}),
    ],
)
def test_layers_without_weights_count(tmp_path, suffix, inside, asked):
    path = save(plain(**inside), str(tmp_path / f"model{suffix}"))
    with pytest.raises(CheckpointError, match=r"its layer .* but the model's"):
        eca_keras.weights.load_into(plain(**asked), path)
    if suffix == ".h5" and "named" in asked:
        return  # the older format has names alone
    for legit in ({"scale": 0.5}, {"dropout": 0.4}):
        eca_keras.weights.load_into(plain(**{**inside, **legit}), path)
