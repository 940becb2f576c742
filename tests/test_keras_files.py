"""`eca_keras.load_model` takes what is plain, under any name, once."""

import importlib
import json
import os
import pathlib
import zipfile

import hostile_files
import hostile_keras
import keras
import numpy as np
import pytest
from export_models import randomised
from keras import layers
from keras import ops

import eca_keras
from eca_keras.applications import ECAResNet20
from eca_keras.weights import CheckpointError
from eca_keras.weights import keras_allowed as allowed
from eca_keras.weights import keras_archive
from eca_keras.weights import keras_config
from eca_keras.weights import keras_limits

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("module", allowed.KERAS)
def test_the_list_names_what_there_is(module):
    found = importlib.import_module(module)
    names = allowed.KERAS[module]
    assert not [name for name in names if not hasattr(found, name)]


def test_the_list_has_all_layers_of_ours():
    importlib.import_module("eca_keras.applications.detection.mask_rcnn")
    importlib.import_module("eca_keras.applications.detection.retinanet")
    registered = {
        name
        for name, kind in keras.saving.get_custom_objects().items()
        if name.startswith("eca_keras>")
        and isinstance(kind, type)
        and issubclass(kind, layers.Layer)
    }
    missing = {"eca_keras>ECABackbone"}  # where KerasHub is
    assert registered | missing == set(allowed.OWN) | (registered & missing)


def sequences():
    inputs = keras.Input((8, 4))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(inputs)
    x = layers.TimeDistributed(layers.Dense(3, activation="gelu"))(x)
    cells = [layers.GRUCell(2), layers.LSTMCell(2)]
    x = layers.RNN(layers.StackedRNNCells(cells), return_sequences=True)(x)
    x = ops.relu(x[:, 1:, ...]) + np.ones(2, "float32")
    return keras.Model(inputs, layers.Dropout(0.2, seed=1)(x))


def shared_and_nested():
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential(
        [layers.Conv2D(3, 3, padding="same"), layers.ReLU()]
    )
    x = inner(inner(inputs))
    x = eca_keras.layers.CBAM()(x)
    x = layers.Dense(
        4, kernel_regularizer="l2", kernel_constraint="max_norm", name="top"
    )(x)
    return keras.Model(inputs, {"out": x, "mean": ops.mean(x, axis=(1, 2))})


def half_precision():
    inputs = keras.Input((4,))
    outputs = layers.Dense(3, dtype="bfloat16")(inputs)
    return keras.Model(inputs, layers.Dense(2, dtype="mixed_float16")(outputs))


def operations():
    """Pure operations, a long kernel, and an image that is large."""
    inputs = keras.Input((2500, 4))
    x = layers.Conv1D(4, 2000)(inputs)
    x = ops.hypot(ops.real(ops.abs(x)), ops.nanmax(x, 1, keepdims=True))
    x = ops.segment_max(x[0], np.array([0, 1] * 250 + [1]), 2)
    x = ops.linalg.pinv(ops.quantile(x, 0.5, axis=0, keepdims=True))
    return keras.Model(inputs, x)


def patches():
    inputs = keras.Input((8, 8, 3))
    x = ops.image.extract_patches(inputs, 2)
    return keras.Model(inputs, ops.image.gaussian_blur(x[..., :3], (3, 3)))


def error(y, p):
    """A loss that no file can name."""
    return ops.mean(y - p)


def compiled():
    model = ECAResNet20(input_shape=(8, 8, 3), attention="se_gc")
    model.compile("adam", loss=error)
    return model


@pytest.mark.parametrize(
    "build",
    [
        sequences,
        shared_and_nested,
        half_precision,
        compiled,
        operations,
        patches,
    ],
)
def test_plain_models(build, tmp_path):
    model = randomised(build())
    path = tmp_path / "model.keras"
    model.save(path)
    path = path.rename(tmp_path / "renamed.ckpt")
    loaded = eca_keras.load_model(path)
    assert not loaded.compiled
    x = RNG.normal(size=(2, *model.input_shape[1:])).astype("float32")
    for ours, theirs in zip(
        keras.tree.flatten(model(x)),
        keras.tree.flatten(loaded(x)),
        strict=True,
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )


def test_vocabularies_come_from_the_archive(tmp_path):
    layer = layers.TextVectorization(max_tokens=10)
    layer.adapt(["a b c", "b c", "c"])
    model = keras.Sequential([layers.Input((), dtype="string"), layer])
    model.save(tmp_path / "model.keras")
    loaded = eca_keras.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_vocabulary() == ["", "[UNK]", "c", "b", "a"]


@pytest.mark.parametrize("build", [shared_and_nested, compiled])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_legacy_files(build, tmp_path):
    model = randomised(build())
    model.save(tmp_path / "model.h5")
    loaded = eca_keras.load_model(tmp_path / "model.h5")
    x = RNG.normal(size=(2, *model.input_shape[1:])).astype("float32")
    for ours, theirs in zip(
        keras.tree.flatten(model(x)),
        keras.tree.flatten(loaded(x)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_weights_alone_are_no_model(tmp_path):
    ECAResNet20().save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(CheckpointError, match="weights and no model: make"):
        eca_keras.load_model(tmp_path / "a.weights.h5")


class Mine(layers.Layer):
    def __init__(self, factor=2, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("mine")
class Registered(Mine):
    pass


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (Mine, "Mine"),
        (Registered, "Registered"),
        (Registered, "mine>Registered"),
    ],
)
def test_classes_of_the_user(tmp_path, kind, key):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, kind(3)(inputs))
    model.save(path := tmp_path / "model.keras")
    with pytest.raises(CheckpointError, match="a class of yours goes into cus"):
        eca_keras.load_model(path)
    loaded = eca_keras.load_model(path, custom_objects={key: kind})
    assert loaded.layers[-1].factor == 3
    with keras.saving.custom_object_scope({key: kind}):
        assert eca_keras.load_model(path).layers[-1].factor == 3
    assert eca_keras.load_model(path, trust=True, custom_objects={key: kind})


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    kinds = {
        tmp_path: "a folder",
        tmp_path / "pipe": "a pipe",
        pathlib.Path("/dev/zero"): "a device",
    }
    for path, kind in kinds.items():
        for trust in (False, True):
            with pytest.raises(CheckpointError, match=f"it is {kind} and not"):
                eca_keras.load_model(path, trust=trust)
    for name in ("dangling", "nothing"):
        with pytest.raises(OSError, match=f"Cannot load '.*{name}': No such"):
            eca_keras.load_model(tmp_path / name)


def test_links_of_the_user_are_followed(tmp_path):
    hostile_files.base_model().save(tmp_path / "blob.keras")
    (tmp_path / "link").symlink_to(tmp_path / "blob.keras")
    assert eca_keras.load_model(tmp_path / "link").name == "net"


def test_what_is_checked_is_what_is_loaded(tmp_path, monkeypatch):
    """Another file takes the place of the checked one before it is loaded."""
    path = tmp_path / "model.keras"
    hostile_files.base_model().save(path)
    admit = keras_config.admit

    def swap(config, custom):
        hostile_keras.CASES["CVE-2024-3660: code in a Lambda"](path, tmp_path)
        return admit(config, custom)

    monkeypatch.setattr(keras_config, "admit", swap)
    assert eca_keras.load_model(path).name == "net"
    assert not (tmp_path / hostile_keras.CANARY).exists()


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_archive.tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "model.keras"
    hostile_files.base_model().save(path)
    eca_keras.load_model(path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]


def test_weights_are_counted_before_they_are_made():
    before = layers.Layer.add_weight
    error = CheckpointError("too many")
    with keras_limits.limited_weights(100, error):
        layers.Dense(20).build((None, 4))
    with (
        keras_limits.limited_weights(99, error),
        pytest.raises(CheckpointError, match="too many"),
    ):
        layers.Dense(20).build((None, 4))
    assert layers.Layer.add_weight is before


def test_compiled_parts_are_not_made(tmp_path):
    """Also of a model inside: Keras leaves out only those outside."""

    def change(config):
        layer = config["config"]["layers"][-1]
        layer["compile_config"] = {"optimizer": {"class_name": "os.system"}}

    hostile_files.with_config(tmp_path / "a.keras", change)
    assert eca_keras.load_model(tmp_path / "a.keras").name == "net"


def test_a_member_may_be_compressed(tmp_path):
    members = hostile_files.base_members()
    options = {"compression": zipfile.ZIP_DEFLATED}
    hostile_files.write_zip(tmp_path / "a.keras", members, **options)
    assert eca_keras.load_model(tmp_path / "a.keras").name == "net"


def test_modules_are_filled_in_for_old_files():
    old = {"class_name": "GlorotUniform", "config": {}}
    config = {
        "class_name": "Dense",
        "config": {"kernel_initializer": old, "units": 3},
    }
    admitted, _ = keras_config.admit(json.loads(json.dumps(config)))
    assert admitted["module"] == "keras.layers"
    inner = admitted["config"]["kernel_initializer"]
    assert inner["module"] == "keras.initializers"


def test_large_images_are_symbolic(tmp_path):
    inputs = keras.Input((8192, 8192, 3))
    keras.Model(inputs, layers.ReLU()(inputs)).save(tmp_path / "a.keras")
    loaded = eca_keras.load_model(tmp_path / "a.keras")
    assert loaded.input_shape == (None, 8192, 8192, 3)


def test_the_cause_is_said(tmp_path):
    path = tmp_path / "a.keras"
    hostile_files.with_layer(path, "keras.layers", "Dense", {"units": -3})
    with pytest.raises(CheckpointError) as caught:
        eca_keras.load_model(path)
    assert "deserialized properly" not in str(caught.value)
    assert "-3" in str(caught.value)
