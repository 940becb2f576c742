"""This library's networks inside KerasHub."""

import functools
import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys

import detection_cases
import keras
import numpy as np
import pytest

from eca_keras.applications import stage_outputs
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.layers import ECA

MODULE = "eca_keras.interop.keras_hub"
PAGE = pathlib.Path(__file__).parent.parent / "docs" / "keras-hub.md"
SHAPE = (64, 96, 3)
OBJECTS = {
    "boxes": np.array(
        [[[5, 5, 40, 50]], [[30, 10, 90, 60]], [[-1, -1, -1, -1]]], "float32"
    ),
    "labels": np.array([[1], [0], [-1]]),
}


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def interop(hub):
    return importlib.import_module(MODULE)


def images(shape=SHAPE):
    return detection_cases.images(shape=shape)


def trained_backbone(**arguments):
    model = detection_cases.tiny_backbone(**arguments)
    detection_cases.randomize(model)
    return model


def weights(model):
    return [np.array(weight) for weight in model.weights]


def paths(variables):
    return [variable.path for variable in variables]


def assert_same(ours, theirs):
    keras.tree.map_structure(np.testing.assert_array_equal, ours, theirs)
    assert min(np.std(x) for x in keras.tree.flatten(ours)) > 1e-3


def test_without_keras_hub_there_is_one_sentence(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "keras_hub" else find(name, *rest),
    )
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    sentence = (
        rf"{MODULE} needs keras_hub: pip install 'eca-keras\[keras-hub\]'"
    )
    with pytest.raises(ImportError, match=sentence):
        importlib.import_module(MODULE)


def test_the_levels_are_the_stages_of_the_network(hub, interop):
    network = trained_backbone()
    before = weights(network)
    backbone = interop.ECABackbone(network)
    assert isinstance(backbone, hub.models.FeaturePyramidBackbone)
    assert list(backbone.pyramid_outputs) == ["P2", "P3", "P4", "P5"]
    levels = keras.Model(backbone.input, backbone.pyramid_outputs)
    stages = keras.Model(network.input, stage_outputs(network))
    for shape in ((64, 96, 3), (70, 50, 3)):  # height and width are free
        batch = images(shape)
        ours, theirs = levels(batch), stages(batch)
        assert_same(list(ours.values()), list(theirs.values()))
        np.testing.assert_array_equal(backbone(batch), theirs["C5"])
    assert_same(before, weights(network))
    assert all(layer.trainable for layer in network.layers)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_frozen_stages(interop, count):
    backbone = interop.ECABackbone(trained_backbone(), frozen_stages=count)
    still = {
        path.split("/")[0]
        for path in paths(backbone.weights)
        if path not in paths(backbone.trainable_weights)
        and "moving" not in path
    }
    prefixes = {name.split("_")[0] for name in still}
    stages = ["conv1", "conv2", "conv3", "conv4"][: count + 1]
    assert prefixes == set(stages if count else [])


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "backbone": "ECAResNet18",
            "kernel_size": (3, 5, 7, 9),
            "attention": "eca_circular",
        },
        {"backbone": "ECAResNet18", "attention": lambda name: ECA(name=name)},
        {"backbone": functools.partial(trained_backbone, kind="se")},
    ],
    ids=["name", "function", "model"],
)
def test_the_config_makes_the_same_network(interop, arguments):
    if callable(arguments["backbone"]):  # makes a model
        arguments = {"backbone": arguments["backbone"]()}
    arguments = {
        **arguments,
        "image_shape": (None, 96, 3),
        "frozen_stages": 2,
        "frozen_batchnorm": False,
        "name": "trunk",
    }
    model = interop.ECABackbone(**arguments)
    detection_cases.randomize(model)
    config = keras.saving.serialize_keras_object(model)
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(model.get_weights())
    assert type(copy) is type(model)
    assert copy.get_config() == model.get_config()
    assert_same([model(images())], [copy(images())])
    for name in ("image_shape", "frozen_stages", "frozen_batchnorm", "name"):
        assert getattr(copy, name) == arguments[name]
    assert paths(copy.trainable_weights) == paths(model.trainable_weights)
    assert len(model.trainable_weights) < len(model.weights)
    if "kernel_size" in arguments:
        sizes = [
            layer.resolved_kernel_size
            for layer in copy.layers
            if isinstance(layer, ECA)
        ]
        assert sizes == [3, 3, 5, 5, 7, 7, 9, 9]
        assert (copy.kernel_size, copy.attention) == (
            (3, 5, 7, 9),
            "eca_circular",
        )


def test_statistics_are_fixed_unless_they_should_not_be(interop):
    network = trained_backbone()
    for fixed in (True, False):
        backbone = interop.ECABackbone(network, frozen_batchnorm=fixed)
        before = {w.path: np.array(w) for w in backbone.weights}
        backbone(images(), training=True)
        moved = [
            w.path
            for w in backbone.weights
            if not np.array_equal(before[w.path], w)
        ]
        assert all("moving" in path for path in moved)
        assert bool(moved) != fixed
        kinds = {type(layer) for layer in backbone.layers}
        assert (FixedBatchNormalization in kinds) == fixed


def test_data_types_survive(interop):
    backbone = interop.ECABackbone(trained_backbone(), dtype="mixed_bfloat16")
    copy = interop.ECABackbone.from_config(backbone.get_config())
    for model in (backbone, copy):
        assert model.dtype_policy.name == "mixed_bfloat16"
        policies = {layer.dtype_policy.name for layer in model.layers[1:]}
        assert policies == {"mixed_bfloat16"}
        assert model.pyramid_outputs["P2"].dtype == "bfloat16"
    # A model keeps its own.
    assert interop.ECABackbone(backbone).dtype_policy.name == "mixed_bfloat16"


def test_all_that_is_not_trainable(interop):
    backbone = interop.ECABackbone(trained_backbone(), trainable=False)
    copy = interop.ECABackbone.from_config(backbone.get_config())
    assert not backbone.trainable_weights
    assert not copy.trainable
    assert not copy.trainable_weights


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"backbone": "ResNet50"}, "`backbone` must be a model of eca_keras"),
        ({"frozen_stages": 5}, "`frozen_stages` must be an integer from 0 to"),
        (
            {"kernel_size": 5},
            "`kernel_size` and `attention` only apply to a backbone that is",
        ),
    ],
)
def test_refusals(interop, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        interop.ECABackbone(
            **{"backbone": detection_cases.tiny_backbone(), **arguments}
        )


def retinanet(hub, backbone):
    pyramid = hub.models.RetinaNetBackbone(
        image_encoder=backbone,
        min_level=3,
        max_level=7,
        use_p5=True,
        image_shape=SHAPE,
    )
    return hub.models.RetinaNetObjectDetector(
        backbone=pyramid,
        num_classes=2,
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )


@pytest.mark.slow
# `shuffle` and what `compile` does not write are KerasHub's own warnings.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
@pytest.mark.filterwarnings("ignore:`compile:UserWarning")
def test_a_retinanet_trains_and_survives_its_file(hub, interop, tmp_path):
    backbone = interop.ECABackbone(trained_backbone(), frozen_stages=2)
    model = retinanet(hub, backbone)
    before = {w.path: np.array(w) for w in backbone.weights}
    still = {w.path for w in backbone.non_trainable_weights}
    model.compile(optimizer=keras.optimizers.SGD(1e-3))
    model.fit(images(), OBJECTS, batch_size=3, verbose=0)
    unmoved = {
        w.path for w in backbone.weights if np.array_equal(before[w.path], w)
    }
    assert unmoved == still
    assert len(still) > 20

    detection_cases.randomize(model)
    model.save(tmp_path / "detector.keras")
    model.save_to_preset(tmp_path / "preset")
    for other in (
        keras.saving.load_model(tmp_path / "detector.keras"),
        type(model).from_preset(str(tmp_path / "preset")),
    ):
        assert_same(model(images()), other(images()))
        again = other.backbone.image_encoder
        assert isinstance(again, interop.ECABackbone)
        assert again.frozen_stages == 2
        assert len(other.trainable_weights) == len(model.trainable_weights)
        assert paths(again.trainable_weights) == paths(
            backbone.trainable_weights
        )
        # The frozen layers are those that the detector itself calls.
        frozen = {w.path for w in other.non_trainable_weights}
        assert {w.path for w in again.non_trainable_weights} <= frozen


@pytest.mark.slow
def test_the_page(hub, tmp_path):
    [code] = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
