"""Detectors learn: shapes, judged by pycocotools; on two replicas, too."""

import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from detection_cases import pad_objects
from detection_cases import tiny_backbone
from shapes_data import average_precision
from shapes_data import shapes

from eca_keras.applications.detection import RetinaNet

BATCH, WARM_UP = 8, 40


def targets_of(boxes, labels, masks):
    """Padded targets of a batch, with masks of the size of the images."""
    targets = pad_objects(boxes, labels, 3)
    targets["masks"] = np.zeros((len(masks), 3, *masks[0].shape[1:]), "uint8")
    for i, areas in enumerate(masks):
        targets["masks"][i, : len(areas)] = areas
    return targets


def learn(model, steps):
    """Trains a model on 64 pictures and says how it did.

    Returns:
        AP of the boxes in these pictures and in 64 others, and the same of
        the masks if there are any.
    """
    images, *objects = shapes(64, seed=0)
    targets = targets_of(*objects)
    has_masks = "mask_loss" in model.LOSSES
    if not has_masks:
        del targets["masks"]
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - WARM_UP, warmup_target=2e-3, warmup_steps=WARM_UP
    )
    model.compile(keras.optimizers.Adam(schedule, clipnorm=10.0))
    start = time.monotonic()
    history = model.fit(
        images,
        targets,
        batch_size=BATCH,
        epochs=steps * BATCH // len(images),
        verbose=0,
    ).history
    seconds = time.monotonic() - start
    answers = []
    for pictures, boxes, labels, masks in (
        (images, *objects),
        shapes(64, seed=1),
    ):
        found = model.predict(pictures, batch_size=BATCH, verbose=0)
        answers.append(average_precision(found, boxes, labels))
        if has_masks:
            answers.append(average_precision(found, boxes, labels, masks))
    losses = {name: round(v[-1], 4) for name, v in history.items()}
    numbers = " ".join(f"{answer:.3f}" for answer in answers)
    print(f"{steps} steps in {seconds:.0f} s, {losses}, AP {numbers}")
    return answers


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
def test_retinanet_learns_shapes():
    keras.utils.set_random_seed(0)
    model = RetinaNet(
        tiny_backbone((16, 32, 64, 128)),
        num_classes=3,
        frozen_stages=0,
        input_shape=(128, 128, 3),
        filters=64,
        head_initializer="he_normal",
    )
    ap, held_out = learn(model, steps=640)
    # 0.900 and 0.535 when this was written, with one seed; threads add in any
    # order.
    assert ap >= 0.75
    assert held_out >= 0.25


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
