"""Recipes, the learning rate over a run, and what a run would do."""

import dataclasses
import json

import pytest

from eca_keras.cli import parse
from eca_keras.errors import InputError
from eca_keras.training import RECIPES
from eca_keras.training import TrainConfig
from eca_keras.training import plan
from eca_keras.training import recipe
from eca_keras.training.schedules import learning_rate


def rates(config, steps_per_epoch, steps):
    schedule = learning_rate(config, steps_per_epoch)
    return [float(schedule(step)) for step in steps]


def test_paper_resnet_divides_its_rate_by_ten_every_thirty_epochs():
    config = recipe("paper-resnet")
    epochs = (0, 29, 30, 59, 60, 89, 90, 99)
    first = rates(config, 5004, [5004 * epoch for epoch in epochs])
    last = rates(config, 5004, [5004 * epoch + 5003 for epoch in epochs])
    expected = [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    assert first == pytest.approx(expected, rel=1e-5)
    assert last == pytest.approx(expected, rel=1e-5)
    assert (config.epochs, config.batch_size) == (100, 256)
    assert (config.weight_decay, config.decayed) == (1e-4, "all")


def test_paper_mobilenet_multiplies_its_rate_by_0_98_every_epoch():
    config = recipe("paper-mobilenetv2")
    steps = 1281167 // 96
    epochs = (0, 1, 2, 100, 399)
    assert rates(config, steps, [steps * e for e in epochs]) == pytest.approx(
        [0.045 * 0.98**epoch for epoch in epochs], rel=1e-4
    )
    assert rates(config, steps, [steps - 1]) == pytest.approx([0.045])
    assert (config.epochs, config.dropout) == (400, 0.25)


def test_cosine_with_warmup():
    config = TrainConfig(epochs=10, warmup=0.2, learning_rate=0.4)
    assert rates(config, 10, [0, 10, 20, 60, 100]) == pytest.approx(
        [0.0, 0.2, 0.4, 0.2, 0.0], abs=1e-6
    )
    config = dataclasses.replace(config, warmup=0.0)
    assert rates(config, 10, [0, 50]) == pytest.approx([0.4, 0.2])


def test_the_rate_scales_with_the_batch():
    config = recipe("paper-resnet", batch_size=1024)
    assert config.peak_learning_rate == pytest.approx(0.4)
    assert rates(config, 10, [0]) == pytest.approx([0.4])
    assert TrainConfig(batch_size=512).peak_learning_rate == 0.1


def test_modern_uses_what_it_promises():
    config = RECIPES["modern"]
    for name in ("label_smoothing", "mixup", "cutmix", "randaugment", "ema"):
        assert getattr(config, name) > 0
    assert config.schedule == "cosine"
    assert config.warmup * config.epochs == 5


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_know_their_names(name):
    assert RECIPES[name].recipe == name
    assert recipe(name) == RECIPES[name]


def test_unknown_recipe():
    with pytest.raises(InputError, match="`recipe` must be one of small, "):
        recipe("papr")


def test_the_command_line_wins_over_the_file_over_the_recipe(tmp_path):
    command = parse(["train", "--recipe", "paper-resnet"])
    assert command.learning_rate == 0.1
    assert command.schedule == "steps"
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"recipe": "modern", "mixup": 0.5}))
    command = parse(["train", "--config", str(file), "--epochs", "7"])
    assert (command.epochs, command.mixup, command.ema) == (7, 0.5, 0.9999)
    command = parse(
        ["train", "--config", str(file), "--recipe", "paper-mobilenetv2"]
    )
    assert (command.model, command.mixup) == ("ECAMobileNetV2", 0.5)


def test_plan(tmp_path):
    config = recipe(
        "modern",
        data="digits",
        model="ECAResNet20",
        kernel_size="adaptive",
        batch_size=512,
        output=str(tmp_path / "run"),
    )
    rows = dict(plan(config))
    assert rows["learning_rate"] == (
        "0.2 (0.1 for 256 images a step, times 512 / 256)"
    )
    assert rows["images (train, validation, test)"] == "1,295, 143, 359"
    assert (rows["steps per epoch"], rows["steps"]) == ("2", "400")
    assert rows["parameters"] == "270,837"
    assert rows["augmentation"] == "shift"
    assert not list(tmp_path.iterdir())


def test_plan_estimates_memory(tmp_path):
    def gib(**changes):
        config = TrainConfig(output=str(tmp_path), **changes)
        text = dict(plan(config))["memory per replica, estimated"]
        return float(text.removesuffix(" GiB"))

    small, large = gib(batch_size=256), gib(batch_size=1024)
    assert large == pytest.approx(4 * small, rel=0.1)
    half = gib(batch_size=1024, precision="mixed_bfloat16")
    assert half == pytest.approx(large / 2, rel=0.1)
