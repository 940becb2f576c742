"""The rows of ResNet-D/T and ResNeXt."""

import keras
import numpy as np
import pytest
from cases import randomize
from keras import layers

from eca_keras import applications
from eca_keras.applications import resnet

# timm's own counts of these models.
PARAMETERS = {
    "ECAResNet26T": 16_011_916,
    "ECAResNetLight": 30_162_046,
    "ECAResNeXt26T": 15_406_220,
    "ECAResNet50T": 25_573_814,
    "ECAResNet50D": 25_576_350,
    "ECAResNeXt50T": 25_045_686,
    "ECAResNet101D": 44_568_563,
    "ECAResNet50DPruned": 19_939_713,
    "ECAResNet101DPruned": 24_876_040,
    "ECAResNet200D": 64_693_400,
    "ECAResNet269D": 102_093_077,
    # torchvision's resnext50_32x4d and resnext101_32x8d (25,028,904 and
    # 88,791,336) and one kernel of 5 or 7 weights per block.
    "ECAResNeXt50_32x4d": 25_028_904 + 5 * 13 + 7 * 3,
    "ECAResNeXt101_32x8d": 88_791_336 + 5 * 30 + 7 * 3,
}
FAST = ("ECAResNet26T", "ECAResNetLight", "ECAResNeXt26T")
WIDTHS = (8, 16, 24, 32)


def narrow(name, **arguments):
    """A network of the zoo with blocks of a few channels."""
    widths = [
        tuple((width, width + 2, 3 * width) for _ in stage)
        for width, stage in zip(
            WIDTHS, resnet.RESNETS[name].blocks, strict=True
        )
    ]
    return getattr(applications, name)(block_widths=widths, **arguments)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in PARAMETERS
    ],
)
def test_parameter_count(name):
    released = resnet.RESNETS[name].released  # Eq. 12 but where pruned
    model = getattr(applications, name)(
        input_shape=(64, 64, 3),
        kernel_size="paper" if released else "adaptive",
    )
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert count == PARAMETERS[name]
    assert model.name == name.lower()


def test_paper_kernels_are_the_adaptive_ones():
    adaptive, paper = (
        [
            layer.kernel.shape[0]
            for layer in applications.ECAResNet26T(
                include_top=False, kernel_size=kernel_size
            ).layers
            if layer.name.endswith("_eca")
        ]
        for kernel_size in ("adaptive", "paper")
    )
    assert adaptive == paper
    assert set(paper) == {5, 7}


def test_average_shortcut_ignores_padding():
    x = layers.Input((5, 5, 2))
    model = keras.Model(x, resnet.average_shortcut(x, 3, 2, "block"))
    pooled = model.get_layer("block_0_pool")
    image = np.arange(50, dtype="float32").reshape(1, 5, 5, 2)
    values = np.asarray(pooled(image))[0, :, :, 0]
    expected = [
        [image[0, i : i + 2, j : j + 2, 0].mean() for j in (0, 2, 4)]
        for i in (0, 2, 4)
    ]
    np.testing.assert_allclose(values, expected)


def test_average_shortcut_pools_only_where_the_size_changes():
    x = layers.Input((6, 6, 2))
    assert resnet.average_shortcut(x, 2, 1, "a") is x
    model = keras.Model(x, resnet.average_shortcut(x, 4, 1, "b"))
    assert model.output.shape == (None, 6, 6, 4)
    assert not any("pool" in layer.name for layer in model.layers)


@pytest.mark.parametrize("name", FAST)
def test_stages_have_the_strides_of_the_family(name):
    model = getattr(applications, name)(
        include_top=False, input_shape=(64, 64, 3)
    )
    stages = applications.stage_outputs(model)
    assert [tuple(stage.shape[1:]) for stage in stages.values()] == [
        (16, 16, 256),
        (8, 8, 512),
        (4, 4, 1024),
        (2, 2, 2048),
    ]


def test_grouped_convolutions_train():
    row = resnet.RESNETS["ECAResNeXt26T"]
    x = layers.Input((8, 8, 64))
    branch = resnet.bottleneck_branch(x, row, (128, 128, 256), 1, "block")
    model = keras.Model(x, branch)
    kernel = model.get_layer("block_2_conv").kernel
    assert tuple(kernel.shape) == (3, 3, 4, 128)
    before = np.asarray(kernel)
    rng = np.random.default_rng(0)
    model.compile("sgd", "mse")
    loss = model.train_on_batch(
        rng.normal(size=(2, 8, 8, 64)), rng.normal(size=(2, 8, 8, 256))
    )
    assert np.isfinite(loss)
    change = np.abs(np.asarray(kernel) - before)
    assert np.isfinite(change).all()
    assert change.min(axis=(0, 1, 2)).max() > 0


def test_widths_of_the_blocks_are_an_argument(tmp_path):
    model = narrow("ECAResNet50D", classes=3, input_shape=(32, 32, 3))
    for stage, width in enumerate(WIDTHS, 2):
        for part, expected in ((1, width), (2, width + 2), (3, 3 * width)):
            layer = model.get_layer(f"conv{stage}_block2_{part}_conv")
            assert layer.filters == expected
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    expected = model.predict(x, verbose=0)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    # No argument and no file of weights is needed to load it.
    model.save(tmp_path / "narrow.keras")
    loaded = keras.models.load_model(tmp_path / "narrow.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, 1e-5)
    default = applications.ECAResNet18(include_top=False)
    basic = [((w, w),) * 2 for w in (64, 128, 256, 512)]
    same = applications.ECAResNet18(include_top=False, block_widths=basic)
    shapes = [tuple(weight.shape) for weight in default.weights]
    assert [tuple(weight.shape) for weight in same.weights] == shapes


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("ECAResNet50D", 8),
        ("ECAResNet50D", ((8, 8, 8),) * 4),
        ("ECAResNet50D", [((8, 8, 8),) * 3] * 4),  # 3, 4, 6, 3 blocks
        ("ECAResNet50D", [((8, 8),) * n for n in (3, 4, 6, 3)]),
        ("ECAResNet50D", [((8, 0, 8),) * n for n in (3, 4, 6, 3)]),
        ("ECAResNet50D", [((8, 2.5, 8),) * n for n in (3, 4, 6, 3)]),
        ("ECAResNeXt50T", [((8, 8, 8),) * n for n in (3, 4, 6, 3)]),
    ],
)
def test_widths_that_fit_no_block(name, widths):
    sentence = "`block_widths` must have a tuple for each stage, .* 3, 4, 6, 3"
    with pytest.raises(ValueError, match=sentence):
        getattr(applications, name)(block_widths=widths)
