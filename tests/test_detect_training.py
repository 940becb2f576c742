"""A run of a detector: results, determinism, what is wrong with a folder."""

import csv
import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from coco_files import IDS
from detect_runs import coco_folder
from detect_runs import quick
from detect_runs import tiny_backbones
from pictures import photo
from PIL import Image

from eca_keras.applications import preprocess_input
from eca_keras.applications.detection import RetinaNet
from eca_keras.errors import InputError
from eca_keras.training import plan
from eca_keras.training import train
from eca_keras.training.detection import TrainedDetector
from eca_keras.training.detection.average_precision import METRICS
from eca_keras.training.detection.pictures import write_picture
from eca_keras.training.detection.results import Found
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.detection.task import make_task
from eca_keras.training.run.cluster import Cluster

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """A short run of a RetinaNet and its metrics."""
    output = tmp_path_factory.mktemp("runs") / "retinanet"
    config = quick(data, output, validation_every=2)
    with tiny_backbones():
        return output, train(config, verbose=0)


NETWORK = ("RetinaNet", "ECAMobileNetV2")  # as the settings have it


def history(output):
    with (output / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_results(run, data):
    output, metrics = run
    assert {path.name for path in output.iterdir()} == {
        "checkpoints",
        "config.json",
        "curves.png",
        "detection.json",
        "history.csv",
        "last.keras",
        "metrics.json",
        "model.keras",
        "tensorboard",
    }
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert (metrics["evaluated_on"], metrics["images"]) == ("validation", 4)
    assert (metrics["detector"], metrics["backbone"]) == NETWORK
    assert metrics["best_epoch"] == 2
    config = json.loads((output / "config.json").read_text())
    assert quick(data, output, validation_every=2) == quick(**config)
    with Image.open(output / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10  # not blank
    assert list(output.glob("tensorboard/**/events*"))


def test_epochs_that_are_not_measured_have_empty_fields(run):
    first, second = history(run[0])
    assert {f"val_{name}" for name in METRICS} <= set(first)
    assert {"loss", "class_loss", "box_loss"} <= set(first)
    assert first["val_AP"] == ""
    assert float(second["val_AP"]) == run[1]["AP"]
    parts = float(first["class_loss"]) + float(first["box_loss"])
    assert float(first["loss"]) == pytest.approx(parts, rel=1e-5)


@pytest.mark.slow
def test_the_run_evaluates_as_recorded(run, tmp_path):
    output, metrics = run
    trained = TrainedDetector.load(output)
    assert isinstance(trained.model, RetinaNet)
    assert len(trained.settings.class_names) == 80
    assert trained.settings.category_ids == tuple(IDS)
    results = tmp_path / "found.json"
    again = trained.evaluate(batch_size=3, results=results)
    for name in METRICS:
        assert again[name] == pytest.approx(metrics[name], abs=1e-6)
    found = json.loads(results.read_text())
    assert {entry["image_id"] for entry in found} <= {10, 20, 30, 40}
    with pytest.raises(InputError, match="has other classes than the model"):
        trained.evaluate(data="shapes")


def test_samples_are_images_as_the_model_takes_them(run):
    trained = TrainedDetector.load(run[0])
    samples, sizes = trained.samples(3)
    assert samples.shape == (3, 64, 96, 3)
    assert samples.dtype == "float32"
    assert sizes.tolist() == [[64, 96], [64, 64], [64, 32]]
    pixels, _ = trained.samples(3, normalized=False)
    assert pixels.dtype == "uint8"
    np.testing.assert_allclose(preprocess_input(pixels), samples, atol=1e-5)
    # An image of 40 x 60 fills it, one of 50 x 50 two thirds. Beyond it is
    # nothing, but for the rounding of pixels.
    assert np.abs(samples[1, 5, 70]).max() < 0.01
    assert np.abs(samples[0, 5, 70]).max() > 0.1


class Marked(RetinaNet):
    """Finds a box in every image that leaves out a quarter of its sides."""

    def detect(self, outputs, sizes=None):
        found = super().detect(outputs, sizes)
        ones = keras.ops.ones_like(found["scores"])
        sides = keras.ops.flip(keras.ops.cast(sizes, "float32"), 1)
        box = keras.ops.concatenate([sides / 4, sides], 1)[:, None]
        return {
            **found,
            "boxes": box * ones[..., None],
            "scores": 0.9 * ones,
            "count": keras.ops.ones_like(found["count"]),
        }


@pytest.mark.slow
def test_predict_gives_boxes_in_pixels_of_the_file(run, tmp_path):
    trained = TrainedDetector.load(run[0])
    marked = Marked.from_config(trained.model.get_config())
    trained = dataclasses.replace(trained, model=marked)
    path = tmp_path / "photo.png"
    for height, width in ((40, 60), (301, 200), (20, 500)):
        Image.fromarray(photo(height, width, seed=0)).save(path)
        image, [one] = trained.predict(path, threshold=0.5)
        assert image.shape == (height, width, 3)
        expected = [width / 4, height / 4, width, height]
        np.testing.assert_allclose(one.box, expected, rtol=1e-5)
    assert trained.predict(path, threshold=0.95)[1] == []


def test_pictures(tmp_path):
    image = np.full((80, 120, 3), 100, "uint8")
    mask = np.zeros((80, 120), bool)
    mask[30:50, 40:80] = True
    found = [Found(0, 0.9, (40.0, 30.0, 80.0, 50.0), mask)]
    path = tmp_path / "new" / "picture.png"
    write_picture(path, image, found, ["a $ sign"])
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape == (400, 600, 3)  # enlarged, by a whole number
    assert np.abs(pixels[10, 10] - 100).max() <= 1
    # The mask is tinted, its box is not left as it was.
    tint = np.abs(pixels[200, 300] - 100).max()
    assert 20 < tint < 100
    assert np.abs(pixels[200, 200] - pixels[200, 300]).max() > 20
    assert np.abs(pixels[200, 195] - 100).max() <= 1
    write_picture(path, image, [], [])
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_missing_and_damaged_runs(run, tmp_path):
    with pytest.raises(InputError, match="There is no trained model"):
        TrainedDetector.load(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"There is no .*detection\.json"):
        TrainedDetector.load(tmp_path)
    text = (run[0] / "detection.json").read_text()
    settings = tmp_path / "detection.json"
    settings.write_text(text)
    with pytest.raises(InputError, match="is neither a .keras archive nor"):
        TrainedDetector.load(tmp_path)
    shutil.copy(run[0] / "model.keras", tmp_path)
    for changes, sentence in (
        ({"height": 0}, "`height` is not what a detector has"),
        ({"category_ids": [1]}, "`category_ids` is not what a detector"),
        ({"std": [1, 1, 0]}, "`std` is not what a detector has"),
        ({"widht": 1}, r"detection\.json is damaged: .*widht"),
        ({"height": 32}, "is not the one of .*, which has 80 classes and"),
    ):
        settings.write_text(json.dumps({**json.loads(text), **changes}))
        with pytest.raises(InputError, match=sentence):
            TrainedDetector.load(tmp_path)
    settings.write_text(text[:40])
    with pytest.raises(InputError, match=r"detection\.json is damaged"):
        TrainedDetector.load(tmp_path)
    settings.write_text(text)
    trained = TrainedDetector.load(tmp_path)
    with pytest.raises(InputError, match=r"no .*config\.json that names"):
        trained.evaluate()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        trained.evaluate()


def test_a_classifier_is_no_detector(run, tmp_path):
    shutil.copy(run[0] / "detection.json", tmp_path)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="must be beside a detector"):
        TrainedDetector.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": "coco:/no/such"}, "/no/such"),
        ({"data": "tfds:coco/2017", "detector": "MaskRCNN"}, "masks"),
        ({"batch_size": 8}, "must not exceed the number of training images, 4"),
        ({"kernel_size": 4}, "`kernel_size` must be 'adaptive'"),
        ({"kernel_size": "paper"}, "needs a backbone that was released for Re"),
        ({"attention": "none", "kernel_size": 3}, "only applies to"),
        (
            {"backbone": "ECAResNet20", "alpha": 1.0},
            "must have the stages C3, C4 and C5",
        ),
        (
            {"frozen_stages": 1},
            "`frozen_stages` must be 0 without `backbone_weights`",
        ),
        ({"warmup_steps": 4}, "`warmup_steps` must be below the 4 steps"),
    ],
)
def test_bad_settings_are_found_before_anything_is_written(
    data, tmp_path, changes, sentence
):
    output = tmp_path / "run"
    config = quick(**{"data": data, "output": output, **changes})
    with pytest.raises(InputError, match=sentence):
        train(config, verbose=0)
    assert not output.exists()


def test_plan(data, tmp_path):
    rows = dict(plan(quick(data, tmp_path / "run", max_objects=1)))
    assert rows["images (train, validation)"] == "4, 4"
    assert rows["classes"] == "80"
    assert rows["steps"] == "4"
    assert int(rows["trainable parameters"].replace(",", "")) > 100_000
    assert not (tmp_path / "run").exists()


def test_settings_reach_the_detector(data, tmp_path):
    config = quick(
        data,
        tmp_path,
        detector="MaskRCNN",
        kernel_size=[1, 3, 5, 7, 9, 11, 1],
        frozen_batchnorm=False,
        max_objects=1,
        precision="mixed_bfloat16",
    )
    with Cluster("one-device") as cluster:
        task = make_task(config, cluster)
    model = task.model
    assert (model.filters, model.units, model.proposals) == (8, 8, 10)
    assert model.anchor_sizes == (16, 32, 64, 128, 256)
    assert not model.frozen_batchnorm
    kernels = [
        layer.resolved_kernel_size
        for layer in model.backbone.layers
        if hasattr(layer, "resolved_kernel_size")
    ]
    assert sorted(set(kernels)) == [1, 3, 5, 7, 9, 11]
    policies = {layer.dtype_policy.name for layer in model.backbone.layers}
    assert "mixed_bfloat16" in policies
    assert keras.config.dtype_policy().name == "float32"
    # Of the four images two have two objects, a crowd does not count.
    assert task.wording.notes[-1] == (
        "2 training images with more than 1 objects: the largest are kept for "
        "training, 2 in all are left out"
    )
    images, targets = next(iter(task.feed("training").batches()))
    assert images.shape == (2, 64, 96, 3)
    assert targets["masks"].shape == (2, 1, 112, 112)
    assert task.wording.metrics[12] == "mask_AP"
    assert task.score({"val_AP": 0.9, "val_mask_AP": 0.1}) == (0.1,)


def test_settings_belong_to_a_network():
    with pytest.raises(InputError, match="`class_names` is not what a det"):
        DetectionSettings((), (), 64, 64)
