"""What a detector's backbone starts from."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import torch_writer
from detection_cases import randomize
from reference import golden_state

from eca_keras import applications
from eca_keras.applications import preprocess_input
from eca_keras.applications.features import stage_outputs
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.errors import InputError
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.classification.model import normalization
from eca_keras.training.detection import DetectConfig
from eca_keras.training.detection.model import build_detector
from eca_keras.training.detection.model import make_backbone

SETTINGS = Preprocessing(("a", "b"), 32, 3, 1.0)
RESNET = DetectConfig(backbone="ECAResNet20", alpha=1.0)


@pytest.fixture(scope="module")
def classifier():
    """As `eca-keras train` makes it, normalization in front."""
    model, _ = build_classifier("ECAResNet20", preprocessing=SETTINGS)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def bare(classifier):
    """The network alone, as `eca-keras convert` makes it; same weights."""
    network = applications.ECAResNet20(input_shape=(32, 32, 3), classes=2)
    network.set_weights(classifier.get_weights())
    return network


@pytest.fixture(scope="module")
def saved(classifier, bare, tmp_path_factory):
    """The same weights in every way that Keras has files for."""
    folder = tmp_path_factory.mktemp("saved")
    paths = {
        "run": folder / "run",
        "converted": folder / "converted.keras",
        "without settings": folder / "alone" / "network.keras",
        "weights": folder / "model.weights.h5",
    }
    for path in (paths["run"], paths["without settings"].parent):
        path.mkdir()
    classifier.save(paths["run"] / "model.keras")
    SETTINGS.save(paths["run"])
    bare.save(paths["converted"])
    bare.save(paths["without settings"])
    settings = dataclasses.replace(
        SETTINGS, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    Preprocessing.path(paths["converted"]).write_text(settings.text())
    classifier.save_weights(paths["weights"])
    return paths


@pytest.fixture(scope="module")
def expected(classifier):
    """Images, and what the stages of the classifier answer for them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    # It takes pixels, and normalizes them once.
    return pixels, stages(classifier, pixels)


def stages(network, images):
    answers = keras.Model(network.input, stage_outputs(network))(images)
    return {name: np.asarray(values) for name, values in answers.items()}


@pytest.mark.parametrize(
    "kind", ["run", "converted", "without settings", "weights"]
)
def test_a_backbone_answers_what_the_classifier_answers(saved, expected, kind):
    path = str(saved[kind])
    config = dataclasses.replace(RESNET, backbone_weights=path)
    pixels, answers = expected
    found = stages(make_backbone(config), preprocess_input(pixels))
    for name, ours in answers.items():
        scale = np.abs(ours).max()
        assert ours.std() > 1e-3 * scale
        np.testing.assert_allclose(found[name], ours, atol=1e-4 * scale)


def test_a_pytorch_checkpoint(tmp_path):
    state = golden_state("eca_mobilenetv2_k13")
    path = tmp_path / "released.pth.tar"
    torch_writer.save({"state_dict": state}, path, legacy=True)
    config = DetectConfig(
        alpha=1.0,
        kernel_size=[1, 1, 1, 1, 3, 3, 3],
        backbone_weights=str(path),
    )
    stem = make_backbone(config).get_layer("Conv1")
    kernel = np.transpose(state["features.0.0.weight"], (2, 3, 1, 0))
    np.testing.assert_array_equal(stem.kernel.numpy(), kernel)
    config = dataclasses.replace(config, kernel_size="adaptive")
    with pytest.raises(InputError, match="Pass kernel_size="):
        make_backbone(config)


@pytest.mark.slow
def test_the_backbone_of_a_detector(tmp_path):
    config = DetectConfig(height=64, width=64, filters=8)
    detector = build_detector(config, make_backbone(config), 3)
    randomize(detector)
    detector.save(tmp_path / "model.keras")
    config = dataclasses.replace(config, backbone_weights=str(tmp_path))
    again = make_backbone(config)
    for layer in detector.backbone.layers:
        for ours, theirs in zip(
            again.get_layer(layer.name).weights if layer.weights else [],
            layer.weights,
            strict=True,
        ):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"kernel_size": 5},
            "must be of the same network, with the same kernel sizes and atten"
            "tion. .* has another or no layer conv2_block1_eca, and 8 more of ",
        ),
        ({"attention": "se"}, "has another or no layer conv2_block1_se"),
        (
            {"backbone": "ECAResNet18"},
            "has another or no layer conv1_conv, and 45 more of 48 differ",
        ),
    ],
)
def test_weights_of_another_network(saved, changes, sentence):
    changes = {**changes, "backbone_weights": str(saved["run"])}
    with pytest.raises(InputError, match=sentence):
        make_backbone(dataclasses.replace(RESNET, **changes))


def test_weights_for_other_images(saved, tmp_path):
    path = shutil.copy(saved["converted"], tmp_path)
    settings = dataclasses.replace(
        SETTINGS, mean=(0.5, 0.5, 0.5), std=IMAGENET_STD
    )
    Preprocessing.path(path).write_text(settings.text())
    with pytest.raises(InputError, match=r"has the mean 0\.500, 0\.500, 0\."):
        make_backbone(dataclasses.replace(RESNET, backbone_weights=path))
    grey = keras.Sequential(
        [keras.Input((32, 32, 1)), normalization([0.45], [0.22])]
    )
    grey.save(tmp_path / "grey.keras")
    path = str(tmp_path / "grey.keras")
    with pytest.raises(InputError, match="must be of a network for colour im"):
        make_backbone(dataclasses.replace(RESNET, backbone_weights=path))


def test_files_that_are_no_weights(tmp_path):
    def refused(path, sentence):
        config = dataclasses.replace(RESNET, backbone_weights=str(path))
        with pytest.raises(InputError, match=sentence):
            make_backbone(config)

    refused(tmp_path, "must be the folder of a run with a model.keras")
    (tmp_path / "model.keras").write_text("no model")
    refused(tmp_path, "neither a .keras archive nor")
    refused("/no/such.pth", "or an existing file. Received: /no/such.pth")
    refused("imagenet", "no ImageNet weights are hosted for this model")
    (tmp_path / "a.weights.h5").write_text("no weights")
    refused(tmp_path / "a.weights.h5", "neither a file of torch.save nor")
    (tmp_path / "a.pth").write_text("no weights")
    refused(tmp_path / "a.pth", "a.pth")


def test_the_paper_kernels_are_those_of_the_detector():
    config = DetectConfig(
        detector="FasterRCNN",
        backbone="ECAResNet50",
        alpha=1.0,
        kernel_size="paper",
    )
    model = make_backbone(config)
    sizes = {
        layer.resolved_kernel_size
        for layer in model.layers
        if hasattr(layer, "resolved_kernel_size")
    }
    assert sizes == {5}  # 3, 5, 5, 7 is the classifier's
