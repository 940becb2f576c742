"""The training run: results, determinism, several replicas."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.training import Interrupted
from eca_keras.training import TrainConfig
from eca_keras.training import train
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.classification.task import best_top1
from eca_keras.training.optimizers import make_optimizer
from eca_keras.training.optimizers import synchronize
from eca_keras.training.run import loop
from eca_keras.training.run.checkpoints import Checkpoints
from eca_keras.training.run.history import History
from eca_keras.training.run.step import Trainer
from eca_keras.training.run.task import Task
from eca_keras.training.trained import Trained

TESTS = pathlib.Path(__file__).parent
QUICK = {"epochs": 2, "batch_size": 128, "image_size": 8, "export": ()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training run on digits and its metrics."""
    output = tmp_path_factory.mktemp("runs") / "digits"
    metrics = train(TrainConfig(**QUICK, output=str(output)), verbose=0)
    return output, metrics


def test_a_run_leaves_its_results(run):
    output, metrics = run
    assert {path.name for path in output.iterdir()} == {
        "checkpoints",
        "config.json",
        "curves.png",
        "history.csv",
        "last.keras",
        "metrics.json",
        "model.keras",
        "preprocessing.json",
        "tensorboard",
    }
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert metrics["evaluated_on"] == "test"
    assert metrics["images"] == 359
    assert metrics["top1"] > 0.15  # two short epochs; chance is 0.1
    with (output / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert {"top1", "top5", "val_loss", "val_top1", "val_top5"} <= set(rows[0])
    config = TrainConfig(**json.loads((output / "config.json").read_text()))
    assert config.epochs == 2
    with Image.open(output / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10  # not blank
    assert list(output.glob("tensorboard/**/events*"))


def test_the_model_takes_pixels_and_evaluates_as_recorded(run):
    output, metrics = run
    trained = Trained.load(output)
    again = trained.evaluate(batch_size=100)
    for name in ("loss", "top1", "top5"):
        assert again[name] == pytest.approx(metrics[name], abs=1e-6)
    assert trained.model.input_shape == (None, 8, 8, 1)
    assert trained.samples(5).shape == (5, 8, 8, 1)
    assert trained.evaluate(split="validation")["images"] == 143


def test_predict(run, tmp_path):
    trained = Trained.load(run[0])
    sample = trained.samples(1)[0]
    Image.fromarray(sample[..., 0].astype("uint8")).save(tmp_path / "a.png")
    ranking = trained.predict(tmp_path / "a.png")
    shares = np.asarray(trained.model(sample[None]))[0]
    assert ranking[0][0] == str(shares.argmax())
    assert ranking[0][1] == pytest.approx(shares.max(), abs=1e-5)
    assert sorted(name for name, _ in ranking) == list("0123456789")
    with pytest.raises(InputError, match="no image file"):
        trained.predict(tmp_path / "b.png")


@pytest.mark.parametrize(("decayed", "count"), [("kernels", 20), ("all", 77)])
def test_what_decays(decayed, count):
    preprocessing = Preprocessing(("a", "b"), 8, 1, 1.0)
    config = TrainConfig(decayed=decayed)
    model, _ = build_classifier(
        "ECAResNet20", preprocessing=preprocessing, attention="se"
    )
    optimizer = make_optimizer(config, 0.1, model)
    optimizer.build(model.trainable_variables)
    decaying = {
        variable.path
        for variable in model.trainable_variables
        if optimizer._use_weight_decay(variable)
    }
    kernels = {
        variable.path
        for variable in model.trainable_variables
        if variable.path.endswith(("_conv/kernel", "predictions/kernel"))
    }
    assert kernels <= decaying
    assert len(decaying) == count


def weights_of(path):
    model = keras.models.load_model(path, compile=False)
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def rows_of(output):
    """What history.csv says, without what the clock says."""
    with (output / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["images_per_second"], row["seconds"]
    return rows


def stop_at(monkeypatch, *steps):
    """Sends this process SIGTERM while it trains each of the steps."""
    train_step = Trainer.train
    left = list(steps)

    def train_and_stop(self, *arguments):
        if left and self.step + 1 == left[0]:
            del left[0]
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, *arguments)

    monkeypatch.setattr(Trainer, "train", train_and_stop)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(
    run, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "run"
    config = TrainConfig(**QUICK, output=str(output))
    stop_at(monkeypatch, 4)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM after step 4, which is sa"):
        train(config, verbose=0)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (output / "history.csv").exists()
    with pytest.raises(InputError, match="or resume its run by --resume"):
        train(config, verbose=0)
    other = dataclasses.replace(config, learning_rate=0.2, epochs=3)
    sentence = (
        "`resume` needs the settings that the run in .* began with: "
        "epochs was 2 and is 3; learning_rate was 0.1 and is 0.2"
    )
    with pytest.raises(InputError, match=sentence):
        train(other, resume=True, verbose=0)
    metrics = train(config, resume=True, verbose=2)
    assert "resumed at step 4\n" in capsys.readouterr().out
    assert rows_of(output) == rows_of(run[0])
    for name in ("last.keras", "model.keras"):
        reference = weights_of(run[0] / name)
        np.testing.assert_array_equal(weights_of(output / name), reference)
    for name in ("loss", "top1", "top5", "best_epoch"):
        assert metrics[name] == run[1][name]


@pytest.mark.slow
@pytest.mark.parametrize(("unsaved", "saved"), [(-1.0, True), (600.0, False)])
def test_what_is_saved_before_an_evaluation(
    tmp_path, monkeypatch, unsaved, saved
):
    class Killed(Exception):
        pass

    def evaluate(*_):
        raise Killed

    monkeypatch.setattr(loop, "UNSAVED", unsaved)
    monkeypatch.setattr(Task, "evaluate", evaluate)
    with pytest.raises(Killed):
        train(TrainConfig(**QUICK, output=str(tmp_path / "run")), verbose=0)
    _, facts, _ = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert (facts is not None) == saved
    if saved:
        assert facts["step"] > 0
        assert facts["rows"] == []


def test_resume_needs_a_run(tmp_path):
    (tmp_path / "holiday.jpg").write_text("precious")
    config = TrainConfig(**QUICK, output=str(tmp_path))
    with pytest.raises(InputError, match="has no config.json that can be read"):
        train(config, resume=True, verbose=0)


@pytest.mark.slow
def test_the_seed_decides(run, tmp_path):
    def weights(name, **changes):
        config = TrainConfig(**QUICK, output=str(tmp_path / name), **changes)
        train(config, verbose=0)
        return weights_of(tmp_path / name / "last.keras")

    reference = weights_of(run[0] / "last.keras")
    np.testing.assert_array_equal(weights("same"), reference)
    assert np.abs(weights("other", seed=1) - reference).max() > 0.01


@pytest.mark.slow
def test_settings_reach_the_model(tmp_path):
    config = TrainConfig(
        **{**QUICK, "epochs": 1},
        kernel_size=[1, 3, 9],
        output=str(tmp_path / "run"),
    )
    train(config, verbose=0)
    trained = Trained.load(tmp_path / "run")
    sizes = [
        layer.resolved_kernel_size
        for layer in trained.model.layers
        if layer.name.endswith("_eca")
    ]
    assert sizes == [1] * 3 + [3] * 3 + [9] * 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "ResNet99"}, "`model` must be one of ECA"),
        ({"data": "mnist"}, "`data` must be 'digits'"),
        ({"batch_size": 4096}, "`batch_size` must not exceed the number of"),
        ({"kernel_size": 4}, "`kernel_size` must be 'adaptive'"),
        ({"attention": "none", "kernel_size": 3}, "only applies to"),
    ],
)
def test_bad_settings_are_found_before_anything_is_written(
    tmp_path, changes, sentence
):
    output = tmp_path / "run"
    config = TrainConfig(**{**QUICK, **changes}, output=str(output))
    with pytest.raises(InputError, match=sentence):
        train(config, verbose=0)
    assert not output.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1. Received: epochs=0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"warmup": 1.0}, "`warmup` must be at least 0 and below 1"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be positive"),
        ({"validation_fraction": 0.0}, "must be between 0 and 1"),
        ({"output": ""}, "`output` must name a folder"),
        ({"momentum": 1.0}, "`momentum` must be at least 0 and below 1"),
        ({"image_size": 4}, "`image_size` must be at least 8"),
        (
            {"augmentation": "mixup"},
            "`augmentation` must be one of None, none, flip",
        ),
        ({"strategy": "gpu"}, "`strategy` must be one of auto"),
        ({"schedule": "linear"}, "`schedule` must be one of cosine, steps"),
        ({"precision": "float16"}, "`precision` must be one of float32"),
        ({"on_bad_image": "warn"}, "`on_bad_image` must be one of fail, skip"),
        (
            {"schedule": "steps"},
            "`decay_epochs` must be given with sched",
        ),
        (
            {"learning_rate": None},
            "`learning_rate` must be positive and finite",
        ),
        ({"alpha": None}, "`alpha` must be positive and finite. Received"),
        ({"mixup": 2.0}, "`mixup` must be from 0 to 1. Received: mixup=2.0"),
        ({"decay_every": 30}, "`decay_every` must be None with schedule='cos"),
        (
            {"schedule": "steps", "decay_every": 2, "decay_epochs": [3]},
            "or `decay_epochs`. Received: decay_every=2",
        ),
        ({"optimizer": "adam"}, "`weight_decay` must be 0 with optimizer='a"),
        ({"validation_every": 0}, "`validation_every` must be at least 1"),
        ({"clip_norm": -1.0}, "`clip_norm` must be at least 0"),
        ({"momentum": 0.0}, "`momentum` must be positive with nesterov=True"),
        ({"alpha": 0.5}, "`alpha` must be 1 for every model but ECAMobileN"),
        ({"ema": 1.0}, "`ema` must be at least 0 and below 1"),
        ({"decay_every": 0}, "`decay_every` must be at least 1"),
        ({"base_batch_size": 0}, "`base_batch_size` must be at least 1"),
        ({"worker_timeout": 0.0}, "`worker_timeout` must be positive"),
        ({"export": ["coreml"]}, "`export` must be among saved_model, tflite"),
        ({"seed": -1}, "`seed` must be at least 0"),
    ],
)
def test_config_is_checked(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        TrainConfig(**changes)


@pytest.mark.slow
def test_a_run_that_diverges_is_no_result(tmp_path):
    output = tmp_path / "run"
    config = TrainConfig(
        **QUICK, warmup=0.0, learning_rate=1e30, output=str(output)
    )
    with pytest.raises(Diverged) as caught:
        train(config, verbose=0)
    assert re.search(
        r"the loss became nan in step \d, with a learning rate of 9\.\d+e\+29; "
        "there is no checkpoint yet",
        str(caught.value),
    )
    assert not (output / "metrics.json").exists()


def test_output_must_not_hold_results(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.keras").write_text("precious")
    config = TrainConfig(**QUICK, output=str(tmp_path / "run"))
    with pytest.raises(InputError, match="must be a new or empty folder"):
        train(config, verbose=0)
    assert (tmp_path / "run" / "model.keras").read_text() == "precious"
    config = TrainConfig(**QUICK, output=str(tmp_path / "run" / "model.keras"))
    with pytest.raises(InputError, match="there is a file at"):
        train(config, verbose=0)
    config = TrainConfig(**QUICK, output="/proc/no/such")
    with pytest.raises(InputError, match="that can be written: No such file"):
        train(config, verbose=0)


def test_best_model_has_highest_top1_then_lowest_loss(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    results = History(tmp_path, best_top1)

    def bias(name):
        saved = keras.models.load_model(tmp_path / name)
        return float(saved.layers[0].bias[0])

    saved = []
    epochs = [(0.5, 1.0), (0.9, 0.7), (0.9, 0.4), (0.9, 0.6), (0.8, 0.1)]
    for epoch, (top1, loss) in enumerate(epochs):
        model.layers[0].bias.assign([float(epoch)])
        row = {"epoch": epoch + 1, "val_top1": top1, "val_loss": loss}
        results.add(row, model, final=epoch == 4)
        saved.append(bias("last.keras"))
    assert bias("model.keras") == 2
    # The fourth epoch was neither the best nor the last, and soon over.
    assert saved == [0, 1, 2, 2, 4]
    assert results.best == (0.9, -0.4)


def test_synchronization_is_not_saved(tmp_path):
    x = inputs = keras.Input((4, 4, 1))
    x = keras.layers.BatchNormalization()(x)
    model = keras.Model(inputs, x)
    synchronize(model)
    History(tmp_path, best_top1).add(
        {"epoch": 1, "val_top1": 1.0, "val_loss": 0.0}, model
    )
    assert model.layers[1].synchronized
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert not saved.layers[1].synchronized


@pytest.mark.slow
def test_two_replicas_measure_what_one_device_measures(tmp_path):
    process = subprocess.run(
        [sys.executable, TESTS / "two_replicas.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    results = json.loads(process.stdout.splitlines()[-1])
    assert results["one-device"]["replicas"] == 1
    assert results["mirrored"]["replicas"] == 2
    one, two = results["evaluate one-device"], results["evaluate mirrored"]
    for name in ("loss", "top1", "top5"):
        assert two[name] == pytest.approx(one[name], abs=1e-6)
        assert one[name] == pytest.approx(results["by hand"][name], abs=1e-5)
        assert results["mirrored"][name] == pytest.approx(two[name], abs=1e-5)


def test_missing_and_damaged_runs(run, tmp_path):
    with pytest.raises(InputError, match="no trained model"):
        Trained.load(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"There is no .*preprocessing\.json"):
        Trained.load(tmp_path)
    text = (run[0] / "preprocessing.json").read_text()
    (tmp_path / "preprocessing.json").write_text(text)
    with pytest.raises(InputError, match="is neither a .keras archive nor"):
        Trained.load(tmp_path)
    (tmp_path / "preprocessing.json").write_text(text[:30])
    with pytest.raises(InputError, match=r"preprocessing\.json is damaged"):
        Trained.load(tmp_path)
    trained = Trained.load(run[0])
    with pytest.raises(InputError, match="no part 'test'|must name an exist"):
        trained.evaluate(data="folder:/no/such")
