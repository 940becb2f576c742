"""The loop with detectors: the same weights again, the best epoch."""

import csv
import os
import signal

import keras
import numpy as np
import pytest
from detect_runs import coco_folder
from detect_runs import quick
from detect_runs import tiny_backbones
from test_distributed import assert_same_end
from test_distributed import final_arrays

from eca_keras.training import Interrupted
from eca_keras.training import train
from eca_keras.training.detection.task import make_task
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.curves import Panel
from eca_keras.training.run.curves import write_curves
from eca_keras.training.run.history import History
from eca_keras.training.run.step import Trainer

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("coco"))


@pytest.fixture
def tiny():
    with tiny_backbones():
        yield


def test_only_measured_epochs_can_be_the_best(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    results = History(
        tmp_path,
        lambda row: None if row["val_AP"] is None else (row["val_AP"],),
    )
    for epoch, ap in enumerate([None, 0.4, None, 0.3]):
        model.layers[0].bias.assign([float(epoch)])
        results.add({"epoch": epoch + 1, "val_AP": ap}, model)
        assert (tmp_path / "model.keras").exists() == (epoch > 0)
    best = keras.models.load_model(tmp_path / "model.keras")
    assert float(best.layers[0].bias[0]) == 1
    assert results.best_row["epoch"] == 2
    panels = [Panel("a", {"val_AP": "b"}), Panel("c", {"epoch": None})]
    write_curves(tmp_path / "history.csv", tmp_path / "a.png", panels)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_clipped_gradients():
    """Against NumPy: all gradients together are shortened, none is grown."""

    class Task:
        names = ("loss",)

        def __init__(self):
            self.model = keras.Sequential(
                [
                    keras.Input((2,)),
                    keras.layers.Dense(1),
                    keras.layers.Dense(1),
                ]
            )

        def train_step(self, x):
            return {"loss": keras.ops.sum(self.model(x))}

    x = np.array([[3.0, 4.0], [1.0, -2.0]], "float32")
    for clip_norm in (0.1, 1e6, 0.0):
        keras.utils.set_random_seed(0)
        with Cluster("one-device") as cluster:
            task = Task()
            trainer = Trainer(
                cluster,
                task,
                keras.optimizers.SGD(1.0),
                batch_size=2,
                clip_norm=clip_norm,
            )
            before = [v.numpy() for v in trainer.trainable]
            trainer.train((x,))
        kernel, bias, last, _ = before
        gradients = [
            x.mean(0)[:, None] * last[0],
            last[0],
            (x @ kernel + bias).mean(0)[:, None],
            np.ones(1),
        ]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = min(1, clip_norm / norm) if clip_norm else 1
        for old, new, gradient in zip(
            before, trainer.trainable, gradients, strict=True
        ):
            moved = old - new.numpy()
            np.testing.assert_allclose(moved, factor * gradient, atol=1e-5)


def rows_of(output):
    """What history.csv says, without what the clock says."""
    with (output / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


CLOCK = ("images_per_second", "seconds")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("detector", "changes"),
    [
        ("RetinaNet", {"optimizer": "sgd", "precision": "mixed_float16"}),
        # Draws of its regions, and statistics that move.
        ("MaskRCNN", {"frozen_batchnorm": False}),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    data, tmp_path, monkeypatch, detector, changes
):
    def settings(name):
        return quick(
            data, tmp_path / name, detector=detector, epochs=3, **changes
        )

    metrics = train(settings("whole"), verbose=0)
    train_step = Trainer.train
    left = [4]

    def train_and_stop(self, *arguments):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, *arguments)

    monkeypatch.setattr(Trainer, "train", train_and_stop)
    with pytest.raises(Interrupted, match="SIGTERM after step 4, which is"):
        train(settings("torn"), verbose=0)
    again = train(settings("torn"), resume=True, verbose=0)
    assert_same_end(tmp_path / "torn", tmp_path / "whole")
    assert rows_of(tmp_path / "torn") == rows_of(tmp_path / "whole")
    for name in set(metrics) - {*CLOCK}:
        assert again[name] == metrics[name], name


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_another_seed_is_another_run(data, tmp_path):
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        train(quick(data, folder, seed=seed, validation_every=2), verbose=0)
    ours, others = final_arrays(tmp_path / "0"), final_arrays(tmp_path / "1")
    assert any(np.abs(ours[x] - others[x]).max() > 0.01 for x in ours)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_compiled_or_in_half_precision(data, tmp_path):
    def after_two_steps(**changes):
        config = quick(data, tmp_path, optimizer="sgd", **changes)
        with Cluster("one-device") as cluster:
            task = make_task(config, cluster)
            trainer = Trainer(
                cluster,
                task.objective,
                task.optimizer,
                2,
                config.xla,
                task.config.clip_norm,
            )
            for batch, _ in zip(
                task.feed("training").batches(), range(2), strict=False
            ):
                trainer.train(batch)
            weights = [v.numpy().ravel() for v in trainer.trainable]
            return np.concatenate(weights), trainer.means()

    weights, means = after_two_steps()
    compiled, compiled_means = after_two_steps(xla=True)
    np.testing.assert_allclose(compiled, weights, atol=1e-5)
    assert compiled_means == pytest.approx(means, rel=1e-4)
    half, half_means = after_two_steps(precision="mixed_bfloat16")
    assert half.dtype == "float32"
    assert half_means == pytest.approx(means, rel=2e-2)
    assert half_means != means
