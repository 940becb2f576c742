"""`insert_attention` on KerasHub's networks, built without their weights."""

import dataclasses

import keras
import numpy as np
import pytest
from export_models import randomised
from test_surgery import images

from eca_keras import export_tflite
from eca_keras import insert_attention

SIZE = 32


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone of two or three stages, and where attention goes in it.

    Attributes:
        builder: Name of the class in `keras_hub.models`.
        arguments: Those of the class.
        residual: The layers that attention follows for `where="residual"`.
        stage: Those for `where="stage"`.
    """

    builder: str
    arguments: dict
    residual: tuple
    stage: tuple


RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_strides": [1, 2],
    "block_type": "basic_block",
    "image_shape": (SIZE, SIZE, 3),
}
EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 5],
    "stackwise_num_repeats": [2, 2],
    "stackwise_input_filters": [8, 8],
    "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 4],
    "stackwise_strides": [1, 2],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
    "stackwise_block_types": ["v1", "v1"],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "num_features": 32,
    "input_shape": (SIZE, SIZE, 3),
}
MOBILENET = {
    "stackwise_expansion": [[16, 24], [32, 48]],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_filters": [[16, 16], [24, 24]],
    "stackwise_kernel_size": [[3, 3], [5, 5]],
    "stackwise_num_strides": [[2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
    "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1, 1], [2, 2]],
    "output_num_filters": 32,
    "depthwise_filters": 8,
    "depthwise_stride": 1,
    "depthwise_residual": False,
    "last_layer_filter": 32,
    "image_shape": (SIZE, SIZE, 3),
}
BLOCKS = ("stack0_block0", "stack0_block1", "stack1_block0", "stack1_block1")

BACKBONES = {
    "resnet": Backbone(
        "ResNetBackbone",
        RESNET,
        tuple(f"{block}_2_bn" for block in BLOCKS),
        ("conv1_relu", "stack0_block1_out", "stack1_block1_out"),
    ),
    "resnet_vd": Backbone(
        "ResNetBackbone",
        {
            **RESNET,
            "input_conv_filters": [32, 32, 64],
            "input_conv_kernel_sizes": [3, 3, 3],
            "block_type": "bottleneck_block_vd",
            "image_shape": (None, None, 3),
        },
        tuple(f"{block}_3_bn" for block in BLOCKS),
        ("conv3_relu", "stack0_block1_out", "stack1_block1_out"),
    ),
    "resnet_v2": Backbone(
        "ResNetBackbone",
        {**RESNET, "use_pre_activation": True},
        tuple(f"{block}_2_conv" for block in BLOCKS),
        ("conv1_conv", "stack1_block0_pre_activation_relu", "post_relu"),
    ),
    "efficientnet": Backbone(
        "EfficientNetBackbone",
        EFFICIENTNET,
        (
            "block1a_project_bn",
            "block1b_project_bn",
            "block2b_project_bn",
        ),
        ("block2a_expand_activation", "top_activation"),
    ),
    # The sums of these two are inside layers of KerasHub's own.
    "efficientnet_v2": Backbone(
        "EfficientNetBackbone",
        {**EFFICIENTNET, "stackwise_block_types": ["fused", "unfused"]},
        (),
        ("block1b_", "top_activation"),
    ),
    "mobilenet": Backbone(
        "MobileNetBackbone",
        MOBILENET,
        (),
        ("block_0_0", "block_1_1", "block_3_0"),
    ),
}

FAST = ("resnet",)

every_backbone = pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in BACKBONES
    ],
)


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


def build(hub, name):
    """A backbone, and a classifier with it inside."""
    case = BACKBONES[name]
    backbone = getattr(hub.models, case.builder)(**case.arguments)
    task = hub.models.ImageClassifier(backbone=backbone, num_classes=5)
    return backbone, randomised(task)


def layers_of(model):
    """The layers of a model and of the models in it, by their names."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.update(layers_of(layer))
        else:
            found[layer.name] = layer
    return found


def check(given, where, places, file):
    """Inserts attention: the same answers, weights that train, a file."""
    x = images(SIZE, SIZE, 3)
    before = np.asarray(given(x))
    assert np.std(before) > 1e-3
    model = insert_attention(given, where=where, identity_start=True)
    np.testing.assert_array_equal(model(x), before)
    old, new = layers_of(given), layers_of(model)
    added = {f"{place}_eca" for place in places}
    assert set(new) == set(old) | added
    for name, layer in old.items():
        pairs = zip(layer.weights, new[name].weights, strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)
    model.compile(keras.optimizers.SGD(1e-4), "mse", run_eagerly=True)
    model.train_on_batch(x, np.ones_like(before))
    for name in added:
        [kernel] = new[name].get_weights()
        assert np.isfinite(kernel).all()
        assert (kernel != 0).all()
    model.save(file)
    loaded = keras.models.load_model(file)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(given(x), before)
    # A class of KerasHub's could not build what the model is now.
    assert type(given).__module__.startswith("keras_hub.")
    assert not type(model).__module__.startswith("keras_hub.")


@every_backbone
def test_stages(hub, name, tmp_path):
    backbone, task = build(hub, name)
    stage = BACKBONES[name].stage
    check(backbone, "stage", stage, tmp_path / "net.keras")
    # The backbone's last map is that of a stage that goes on outside.
    places = (*stage[:-1], backbone.name)
    check(task, "stage", places, tmp_path / "net.keras")


@every_backbone
def test_residual_sums(hub, name, tmp_path):
    places = BACKBONES[name].residual
    for given in build(hub, name):
        if places:
            check(given, "residual", places, tmp_path / "net.keras")
        else:
            with pytest.raises(ValueError, match="There is no residual add"):
                insert_attention(given)


@pytest.mark.slow
def test_blocks_of_kerashubs_own(hub, tmp_path):
    """Where a sum cannot be seen, attention can follow the block."""
    _, task = build(hub, "mobilenet")
    places = ("block_1_1", "block_2_1")
    check(task, "block_._1", places, tmp_path / "net.keras")


@pytest.mark.slow
def test_tflite(hub, tmp_path):
    _, task = build(hub, "resnet")
    model = insert_attention(task)
    file = tmp_path / "net.tflite"
    report = export_tflite(model, file, samples=images(SIZE, SIZE, 3))
    print(report)
    assert report.varies
