"""Settings of detectors: what is refused, what the recipes come to."""

import dataclasses

import keras
import pytest

from eca_keras.errors import InputError
from eca_keras.training.detection import DETECT_RECIPES
from eca_keras.training.detection import DetectConfig
from eca_keras.training.detection import detect_recipe
from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD
from eca_keras.training.optimizers import make_optimizer
from eca_keras.training.schedules import describe_rate
from eca_keras.training.schedules import learning_rate


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"detector": "YOLO"}, "`detector` must be one of RetinaNet, Faster"),
        ({"backbone": "VGG16"}, "`backbone` must be one of ECAResNet18"),
        (
            {"backbone": "ECAResNet18", "alpha": 0.5},
            "`alpha` must be 1 for every backbone",
        ),
        ({"height": 16}, "`height` must be at least 32. Received: height=16"),
        ({"sync_batchnorm": True}, "must be False with frozen_batchnorm=True"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"optimizer": "lamb"}, "`optimizer` must be one of sgd, adam"),
        ({"weight_decay": 1e-4}, "`weight_decay` must be 0 with optimizer='a"),
        ({"learning_rate": 0.0}, "must be positive and finite, or None"),
        ({"learning_rate": None}, "`optimizer` must be 'sgd' with learning_r"),
        (
            {"learning_rate": None, "optimizer": "sgd"},
            "`base_batch_size` must be 16 with learning_rate=None",
        ),
        ({"schedule": "linear"}, "`schedule` must be one of cosine, steps"),
        ({"decay_epochs": [8]}, "must be empty with schedule='cosine'"),
        (
            {"schedule": "steps", "decay_epochs": [8, 12], "epochs": 12},
            "must rise, from 1 at least to below epochs=12. Received: decay_"
            r"epochs=\[8, 12\]",
        ),
        ({"schedule": "steps", "decay_epochs": [3, 3]}, "must rise"),
        ({"warmup_start": 1.0}, "`warmup_start` must be at least 0 and below"),
        ({"clip_norm": -1.0}, "`clip_norm` must be at least 0"),
        ({"frozen_stages": 5}, "`frozen_stages` must be from 0 to 4"),
        ({"max_objects": 0}, "`max_objects` must be at least 1"),
        ({"validation_every": 0}, "`validation_every` must be at least 1"),
        ({"head_initializer": "ones"}, "`head_initializer` must be one of"),
        ({"on_bad_annotation": "warn"}, "`on_bad_annotation` must be one of"),
        ({"on_bad_image": "warn"}, "`on_bad_image` must be one of fail, skip"),
        ({"precision": "float16"}, "`precision` must be one of float32, mix"),
        ({"strategy": "gpu"}, "`strategy` must be one of auto"),
        ({"export": ["coreml"]}, "`export` must be among saved_model, tflite"),
        ({"output": ""}, "`output` must name a folder"),
    ],
)
def test_config_is_checked(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        DetectConfig(**changes)


def test_warm_up_must_end():
    config = DetectConfig(epochs=2, warmup_steps=20)
    with pytest.raises(InputError, match="must be below the 20 steps of the"):
        learning_rate(config, steps_per_epoch=10)


def test_the_defaults_are_a_recipe():
    assert DETECT_RECIPES["shapes"] == DetectConfig()
    assert detect_recipe("shapes", seed=3).seed == 3
    with pytest.raises(InputError, match="`recipe` must be one of shapes, 1x"):
        detect_recipe("2x")


@pytest.mark.parametrize(
    ("detector", "batch_size", "rate", "said"),
    [
        ("RetinaNet", 16, 0.01, "0.01"),
        ("FasterRCNN", 16, 0.02, "0.02"),
        ("MaskRCNN", 8, 0.01, "0.01 (0.02 for 16 images a step, times 8 / 16)"),
    ],
)
def test_the_published_rate(detector, batch_size, rate, said):
    config = detect_recipe("1x", detector=detector, batch_size=batch_size)
    assert config.peak_learning_rate == pytest.approx(rate)
    assert describe_rate(config) == said


def test_the_published_schedule():
    """By hand: mmdet 1's linear warm-up, then steps at epochs 8 and 11."""
    config = detect_recipe("1x", learning_rate=0.02)
    schedule = learning_rate(config, steps_per_epoch=1000)
    expected = {
        0: 0.02 / 3,
        250: 0.02 * (1 - 0.5 * 2 / 3),
        500: 0.02,
        7999: 0.02,
        8000: 0.002,
        10_999: 0.002,
        11_000: 0.0002,
        11_999: 0.0002,
    }
    for step, rate in expected.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5), step
    again = type(schedule).from_config(schedule.get_config())
    assert float(again(250)) == float(schedule(250))


def test_the_cosine_rises_from_where_it_should():
    config = DetectConfig(
        epochs=2, warmup_steps=4, warmup_start=0.5, learning_rate=1.0
    )
    schedule = learning_rate(config, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in (0, 2, 4, 12, 20)]
    assert rates == pytest.approx([0.5, 0.75, 1.0, 0.5, 0.0], abs=1e-6)
    config = dataclasses.replace(config, warmup_steps=0)
    assert float(learning_rate(config, 10)(0)) == pytest.approx(1.0)


def test_optimizers():
    sgd = make_optimizer(detect_recipe("1x", momentum=0.8), 0.1, None)
    assert isinstance(sgd, TorchSGD)
    assert (sgd.momentum, sgd.weight_decay) == (0.8, 1e-4)
    adam = make_optimizer(DetectConfig(momentum=0.7), 0.1, None)
    assert isinstance(adam, keras.optimizers.Adam)
    assert adam.beta_1 == 0.7
    half = make_optimizer(DetectConfig(precision="mixed_float16"), 0.1, None)
    assert isinstance(half, DistributedLossScaleOptimizer)
