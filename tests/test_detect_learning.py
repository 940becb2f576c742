"""Detectors learn 64 pictures of shapes, judged by pycocotools."""

import pytest

from eca_keras.training import train
from eca_keras.training.detection import TrainedDetector
from eca_keras.training.detection import detect_recipe

pytest.importorskip("pycocotools")

# Those of the pictures that it has seen, and of others.
METRICS = {
    "RetinaNet": {"AP": (0.9, 0.3)},
    "MaskRCNN": {"AP": (0.9, 0.4), "mask_AP": (0.9, 0.4)},
}
EPOCHS = {"RetinaNet": 60, "MaskRCNN": 50}  # of 8 steps


@pytest.mark.slow
@pytest.mark.parametrize("detector", METRICS)
def test_shapes_are_learned(detector, tmp_path):
    config = detect_recipe(
        "shapes",
        detector=detector,
        data="shapes:64",
        epochs=EPOCHS[detector],
        validation_every=EPOCHS[detector],
        output=str(tmp_path / "run"),
    )
    others = train(config, verbose=0)
    seen = TrainedDetector.load(config.output).evaluate(split="train")
    print(detector, others["seconds"], "s")
    for name, least in METRICS[detector].items():
        print(name, seen[name], others[name])
        assert seen[name] >= least[0]
        assert others[name] >= least[1]
