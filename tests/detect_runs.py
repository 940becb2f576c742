"""Short runs of detectors on a few small files, for tests."""

import contextlib
import dataclasses
import pathlib

import pytest
from coco_files import write_parts
from detection_cases import randomize
from detection_cases import tiny_backbone

from eca_keras.training.detection import DetectConfig
from eca_keras.training.detection import task as detection_task
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.folder import write_json

# As few layers and steps as there can be.
QUICK = {
    "epochs": 2,
    "batch_size": 2,
    "height": 64,
    "width": 96,
    "filters": 8,
    "units": 8,
    "anchor_size": 16,
    "anchor_samples": 16,
    "proposal_samples": 16,
    "train_proposals": 20,
    "proposals": 10,
    "warmup_steps": 1,
    "keep_empty": True,
    "validation_every": 1,
}


def coco_folder(root):
    """Writes four images to learn from and the same for validation."""
    write_parts(root)
    return f"coco:{root}"


def quick(data, output, **changes):
    """Settings of a run of two steps per epoch on `coco_folder`'s files."""
    values = {**QUICK, "data": data, "output": str(output), **changes}
    return DetectConfig(**values)


@contextlib.contextmanager
def tiny_backbones():
    """Has detectors stand on four blocks: a third of the time to trace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            detection_task, "make_backbone", lambda config: tiny_backbone()
        )
        yield


def make_confident(model):
    """Gives a detector with regions random weights and some high scores."""
    randomize(model)
    for weight in model.weights:
        if "box_logits" in weight.path:
            weight.assign(30 * weight)


def untrained_run(config):
    """Writes what a run leaves to be used, with weights at random.

    Returns:
        Path of the folder.
    """
    with tiny_backbones(), Cluster("one-device") as cluster:
        task = config.make_task(cluster)
    make_confident(task.model)
    folder = pathlib.Path(config.output)
    folder.mkdir()
    task.model.save(folder / "model.keras")
    task.settings.save(folder)
    write_json(folder / "config.json", dataclasses.asdict(config))
    return folder
