"""Runs of before the folders were redrawn: loaded, resumed, exported."""

import dataclasses
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from eca_keras.training import TrainConfig
from eca_keras.training import Trained
from eca_keras.training import train
from eca_keras.training.config import upgraded
from eca_keras.training.detection import DetectConfig

RUNS = pathlib.Path(__file__).parent / "old_runs"
CONFIGS = {"classifier": TrainConfig, "detector": DetectConfig}


@pytest.fixture(params=CONFIGS)
def run(request, tmp_path):
    """A copy of a stopped run, and its settings under today's names."""
    folder = tmp_path / request.param
    shutil.copytree(RUNS / request.param, folder)
    settings = upgraded(json.loads((folder / "config.json").read_text()))
    config = CONFIGS[request.param](**{**settings, "output": str(folder)})
    return folder, config


def test_it_loads(run):
    folder, config = run
    trained = Trained.load(folder)
    assert trained.kind == folder.name
    assert trained.config["data"] == config.data
    images = trained.samples(2)
    outputs = trained.model.predict(
        images if trained.kind == "classifier" else images[0], verbose=0
    )
    for values in keras.tree.flatten(outputs):
        assert np.isfinite(values).all()


@pytest.mark.slow
def test_it_is_resumed_and_exported(run, capsys):
    folder, config = run
    step = int(next((folder / "checkpoints").glob("*.npz")).stem[5:])
    metrics = train(config, resume=True, verbose=2)
    assert f"resumed at step {step}\n" in capsys.readouterr().out
    assert metrics["epochs"] == 3
    rows = (folder / "history.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == ["1", "2", "3"]
    # Hardly trained: what is exported answers all images nearly alike.
    report = Trained.load(folder).export(
        folder / "model.tflite", allow_constant=True
    )
    assert report.passed


def test_it_is_not_resumed_with_other_settings(run):
    folder, config = run
    other = dataclasses.replace(config, validation_every=2)
    with pytest.raises(ValueError, match="validation_every was 1 and is 2"):
        train(other, resume=True, verbose=0)
    other = dataclasses.replace(config, momentum=0.5)
    with pytest.raises(ValueError, match=r"momentum was 0\.9 and is 0\.5"):
        train(other, resume=True, verbose=0)
