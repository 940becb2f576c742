"""Model cards: every figure on one is in the files of its run."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from eca_keras import cli
from eca_keras.training import Trained
from eca_keras.training import card


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "run"
    options = ["--epochs", "1", "--kernel-size", "5", "--export", "tflite"]
    options += ["--image-size", "8", "--batch-size", "128"]
    assert cli.main(["train", "--output", str(folder), *options]) == 0
    return folder


def test_the_interval_is_wilsons():
    # The roots of (p - share)^2 = Z^2 p (1 - p) / count.
    for share, count in ((0.938, 10000), (0.5, 4), (1.0, 359)):
        for root in card.interval(share, count):
            left = (root - share) ** 2
            right = card.Z**2 * root * (1 - root) / count
            assert left == pytest.approx(right, rel=1e-9, abs=1e-15)
    lower, upper = card.interval(0.5, 4)
    assert lower < 0.5 < upper


def test_ordinals():
    names = "1st 2nd 3rd 4th 10th 11th 12th 13th 20th 21st 101st 111th 122nd"
    for name in names.split():
        assert card.ordinal(int(name[:-2])) == name


@pytest.mark.slow
def test_a_card_has_the_figures_of_the_run(run):
    metrics = json.loads((run / "metrics.json").read_text())
    text = Trained.load(run).card()
    read = ModelCard(text)
    assert read.data.library_name == "keras"
    results = {
        result.metric_name: result.metric_value
        for result in read.data.eval_results
    }
    assert results == {"Top-1": metrics["top1"], "Top-5": metrics["top5"]}
    assert f"| Top-1 | {metrics['top1']:.2%} (" in text
    assert f"{metrics['loss']:.4f} nats" in text
    assert "eca, kernel sizes 5, 5, 5" in text
    # 9 blocks of one kernel of 5 weights.
    assert "of them 45 of attention" in text
    assert "| `kernel_size` | `5` |" in text
    assert "| Epochs | 1, the 1st kept |" in text
    assert "| `model.tflite` | TFLite file (float32) |" in text
    assert re.search(r"float32, of shape \(batch, \d+, \d+, 1\)", text)


@pytest.mark.slow
def test_command(run, tmp_path, capsys):
    path = tmp_path / "README.md"
    assert cli.main(["card", "--model", str(run), "--output", str(path)]) == 0
    assert cli.main(["card", "--model", str(run)]) == 0
    assert (
        capsys.readouterr().out == path.read_text() == Trained.load(run).card()
    )


@pytest.mark.slow
def test_a_run_that_is_not_done(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("model.keras", "preprocessing.json", "config.json"):
        (copy / name).write_bytes((run / name).read_bytes())
    assert cli.main(["card", "--model", str(copy)]) == 2
    assert "There is no" in capsys.readouterr().err
    (copy / "metrics.json").write_text("{")
    assert cli.main(["card", "--model", str(copy)]) == 2
    assert "metrics.json is damaged" in capsys.readouterr().err
    assert cli.main(["card", "--model", str(tmp_path / "no")]) == 2
