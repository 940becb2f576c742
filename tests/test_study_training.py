"""Studies that train: 2 networks x 2 seeds on digits, stopped and resumed."""

import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from eca_keras import cli
from eca_keras.training import train
from eca_keras.training.run.step import Trainer
from eca_keras.training.study import find_study
from eca_keras.training.study import queue
from eca_keras.training.study.settings import settings_for

pytestmark = pytest.mark.slow

STUDY = ["study", "backbones", "--model", "ECAResNet20", "--data", "digits"]
STUDY += ["--epochs", "1", "--batch-size", "64", "--image-size", "8"]


def run_study(output, *more, seeds=2):
    arguments = [*STUDY, "--seeds", str(seeds), "--output", str(output)]
    return cli.main([*arguments, *more])


def runs(seeds=2):
    study = find_study("backbones", ["ECAResNet20"])
    changes = {"epochs": 1, "batch_size": 64, "image_size": 8}
    base = settings_for(study, "digits", **changes)
    return queue([(study, base)], range(seeds))


def results(output):
    """What the runs gave, without what the clock says."""
    found = {}
    for path in sorted((output / "results").iterdir()):
        values = json.loads(path.read_text())
        del values["seconds"]
        for row in values["history"]:
            del row["seconds"], row["images_per_second"]
        found[path.stem] = values
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that nothing stopped."""
    output = tmp_path_factory.mktemp("study") / "whole"
    assert run_study(output) == 0
    return output


def test_a_study_leaves_results_and_a_report(finished):
    assert set(results(finished)) == set(runs())
    assert {path.name for path in finished.iterdir()} == {
        "results",
        "backbones",
    }
    text = (finished / "backbones" / "report.md").read_text()
    assert "not complete" not in text
    assert "| ResNet20 + ECA |" in text
    for values in results(finished).values():
        attention = values["settings"]["attention"]
        assert values["kernel_sizes"] == ([3] * 9 if attention == "eca" else [])
        # He et al.'s 269,722, with 288 for two colours less in the stem.
        assert values["parameters"] == 269_434 + 27 * (attention == "eca")
        assert values["attention_parameters"] == 27 * (attention == "eca")
        assert values["images"] == 359
        assert len(values["history"]) == 1
        assert values["versions"]["keras"]


def test_a_run_gives_what_it_gives_on_its_own(finished, tmp_path):
    # The last of the study, after three others in the same process.
    name, config = list(runs().items())[-1]
    config = dataclasses.replace(config, output=str(tmp_path / "run"))
    metrics = train(config, verbose=0)
    assert metrics["loss"] == results(finished)[name]["loss"]
    assert metrics["top1"] == results(finished)[name]["top1"]


def test_the_seed_decides(finished):
    losses = [values["loss"] for values in results(finished).values()]
    assert len(set(losses)) == 4


def expected(finished, seeds):
    """The results of a study with fewer seeds."""
    return {name: results(finished)[name] for name in runs(seeds)}


def test_stopped_between_runs(finished, tmp_path, capsys):
    assert run_study(tmp_path, "--limit-runs", "1", seeds=1) == 0
    assert "1 of 2 runs is missing: the same" in capsys.readouterr().out
    assert list(results(tmp_path)) == [next(iter(runs()))]
    text = (tmp_path / "backbones" / "report.md").read_text()
    assert "1 of 2 runs is missing (seed 0: ResNet20 + ECA)" in text
    [path] = (tmp_path / "results").iterdir()
    before = path.stat().st_mtime_ns
    assert run_study(tmp_path, "--minutes", "0", seeds=1) == 0
    assert len(results(tmp_path)) == 1
    assert run_study(tmp_path, seeds=1) == 0
    assert path.stat().st_mtime_ns == before  # not trained again
    assert results(tmp_path) == expected(finished, seeds=1)
    assert not (tmp_path / "work").exists()


def test_stopped_in_the_middle_of_a_run(
    finished, tmp_path, capsys, monkeypatch
):
    train_step = Trainer.train
    left = [30]  # steps until the signal: the second run, of 20 steps each

    def train_and_stop(self, *arguments):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, *arguments)

    monkeypatch.setattr(Trainer, "train", train_and_stop)
    assert run_study(tmp_path, seeds=1) == 75
    said = capsys.readouterr().err
    assert "SIGTERM stopped ECAResNet20 eca, seed 0, which is saved" in said
    assert len(results(tmp_path)) == 1
    assert list(tmp_path.glob("work/*/checkpoints/step-*.npz"))
    assert (tmp_path / "backbones" / "report.md").exists()
    assert run_study(tmp_path, seeds=1) == 0
    assert results(tmp_path) == expected(finished, seeds=1)
    assert not (tmp_path / "work").exists()


def test_killed_in_the_middle_of_a_run(finished, tmp_path):
    config = tmp_path / "config.json"
    base = next(iter(runs().values()))
    values = dataclasses.asdict(base)
    config.write_text(json.dumps({**values, "checkpoint_seconds": 0.01}))
    output = tmp_path / "study"
    process = subprocess.Popen(
        [sys.executable, "-m", "eca_keras", *STUDY, "--seeds", "1"]
        + ["--config", str(config), "--output", str(output)],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not list(output.glob("work/*/checkpoints/step-*.npz")):
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert not (output / "results").exists()
    # What a kill before the first line of a run would leave.
    names = list(runs(1))
    (output / "work" / names[1]).mkdir()
    (output / "work" / names[1] / ".writable").touch()
    assert run_study(output, seeds=1) == 0
    assert results(output) == expected(finished, seeds=1)
    assert not (output / "work").exists()


def test_what_a_kill_after_the_result_leaves_goes(finished, tmp_path):
    output = tmp_path / "study"
    (output / "results").mkdir(parents=True)
    for path in (finished / "results").iterdir():
        (output / "results" / path.name).write_bytes(path.read_bytes())
    work = output / "work" / next(iter(runs()))
    (work / "checkpoints").mkdir(parents=True)
    assert run_study(output) == 0
    assert not (output / "work").exists()


def test_a_run_of_another_process_is_left_to_it(tmp_path, capsys):
    names = list(runs(1))
    (tmp_path / "work").mkdir()
    with (tmp_path / "work" / f"{names[0]}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run_study(tmp_path, seeds=1) == 0
    assert set(results(tmp_path)) == {names[1]}
    said = capsys.readouterr().out
    assert "1 of 2 runs was left to another process" in said


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, capsys):
    assert run_study(tmp_path, "--learning-rate", "1e30", seeds=1) == 0
    said = capsys.readouterr().out
    assert said.count("diverged") == 2
    assert "backbones: no run has ended well yet, no report" in said
    for values in results(tmp_path).values():
        assert "the loss became nan in step" in values["diverged"]
        assert values["top1"] is None


def test_a_damaged_result_is_named_before_anything_is_trained(
    finished, tmp_path, capsys
):
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / f"{list(runs())[-1]}.json"
    path.write_text("{")
    assert run_study(tmp_path) == 2
    assert f"{path} is damaged" in capsys.readouterr().err
    assert [x.name for x in pathlib.Path(tmp_path).iterdir()] == ["results"]
