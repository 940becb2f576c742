"""The judge of the shapes; training on two replicas."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from detection_cases import pad_objects
from shapes_data import average_precision
from shapes_data import shapes


def test_the_judge_knows_right_from_wrong():
    _, boxes, labels, masks = shapes(6, seed=3)
    targets = pad_objects(boxes, labels, 3)
    counts = np.array([len(b) for b in boxes])
    found = {**targets, "scores": np.ones((6, 3)), "count": counts}
    assert average_precision(found, boxes, labels) == pytest.approx(1)
    wrong = {**found, "labels": (targets["labels"] + 1) % 3}
    assert average_precision(wrong, boxes, labels) < 0.1
    moved = {**found, "boxes": targets["boxes"] + 4.0}
    assert 0.1 < average_precision(moved, boxes, labels) < 0.9
    # A mask of its whole box is right for a square, and for nothing else.
    found["masks"] = np.ones((6, 3, 28, 28))
    squares = [np.asarray(n) == 1 for n in labels]
    only = [
        [x[keep] for x, keep in zip(values, squares, strict=True)]
        for values in (boxes, labels, masks)
    ]
    found["labels"] = np.where(targets["labels"] == 1, 1, -1)
    assert average_precision(found, *only) == pytest.approx(1)
    found["labels"] = targets["labels"]
    assert average_precision(found, boxes, labels, masks) < 0.8


@pytest.mark.slow
def test_two_replicas_train_like_one_device():
    script = pathlib.Path(__file__).with_name("detector_replicas.py")
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for result in json.loads(run.stdout.splitlines()[-1]).values():
        assert result["largest"] > 0.1
        assert result["difference"] < 1e-5
        assert result["counts"][0] == result["counts"][1]
