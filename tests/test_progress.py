"""The lines of a run: short enough, and with the time that is left."""

import re

import pytest

from eca_keras.training.classification import task as classification
from eca_keras.training.detection import task as detection
from eca_keras.training.run import progress
from eca_keras.training.run.progress import Progress
from eca_keras.training.run.progress import duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def metrics(names, prefix=""):
    return {f"{prefix}{name}": 0.98765 for name in names}


@pytest.mark.parametrize(
    ("shown", "trained", "validated"),
    [
        (classification.SHOWN, ("loss", "top1"), ("loss", "top1")),
        (detection.SHOWN, ("loss",), ("AP", "AP50", "mask_AP")),
    ],
    ids=["classifier", "detector"],
)
def test_a_line_fits_a_terminal(shown, trained, validated, clock, capsys):
    lines = Progress(2, 400, 10, 64, shown)
    for step in range(1, 11):
        clock.now += 1000
        lines.step(step, dict)
    row = {
        "epoch": 100,
        "seconds": 1234.5,
        **metrics(trained),
        **metrics(validated, "val_"),
    }
    row["loss"] = 12.3456
    lines.epoch(10, row)
    line = capsys.readouterr().out.rstrip("\n")
    assert len(line) <= 80, line
    assert line.startswith("epoch 100/400: loss 12.346")
    assert re.search(r", \d+\.\d d left$", line)


def test_an_epoch_that_was_not_evaluated(capsys):
    lines = Progress(2, 3, 1, 1, classification.SHOWN)
    row = {"epoch": 1, "seconds": 1.0, "loss": 0.5, "top1": 0.25}
    lines.epoch(1, {**row, "val_loss": None, "val_top1": None})
    expected = "epoch 1/3: loss 0.500, top-1 25.00%\n"
    assert capsys.readouterr().out == expected


def test_compilation_does_not_count_in_the_time_left(clock, capsys):
    """The first step takes 60 s, each other one 1 s, an evaluation 10 s."""
    lines = Progress(2, 3, 10, 1, {})

    def epoch(number):
        for step in range(10 * number - 9, 10 * number + 1):
            clock.now += 60 if step == 1 else 1
            lines.step(step, dict)
        clock.now += 10
        lines.epoch(10 * number, {"epoch": number, "seconds": 0})
        return capsys.readouterr().out

    assert epoch(1).endswith(" 20 s left\n")  # no evaluation is known yet
    assert epoch(2).endswith(" 20 s left\n")
    assert epoch(3).endswith(" 0 s left\n")


def test_durations():
    said = [duration(x) for x in (0, 59.4, 60, 3599, 3600, 90000, 5e6)]
    assert said == [
        *("0 s", "59 s", "1 min", "60 min", "1.0 h", "25.0 h", "57.9 d")
    ]
