"""Options that classifiers and detectors share, seen at both."""

import csv
import dataclasses
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from coco_files import write_part
from detect_runs import coco_folder
from detect_runs import quick
from detect_runs import tiny_backbones
from detection_cases import tiny_backbone

from eca_keras.training import TorchSGD
from eca_keras.training import TrainConfig
from eca_keras.training import Trained
from eca_keras.training import train
from eca_keras.training.config import RunConfig
from eca_keras.training.config import upgraded
from eca_keras.training.detection import DetectConfig
from eca_keras.training.detection.model import build_detector
from eca_keras.training.optimizers import make_optimizer
from eca_keras.training.optimizers import optimizer_variables
from eca_keras.training.run.checkpoints import Checkpoints
from eca_keras.training.run.cluster import Cluster

pytest.importorskip("pycocotools")

KINDS = (TrainConfig, DetectConfig)
RUNS = pathlib.Path(__file__).parent / "old_runs"
QUICK = {"epochs": 2, "batch_size": 256, "image_size": 8, "export": ()}


def small_model():
    images = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(images)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, keras.layers.Dense(3, name="dense")(x))


@pytest.mark.parametrize("kind", KINDS)
def test_every_shared_option_is_an_option_of_both(kind):
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for field in dataclasses.fields(RunConfig):
        metadata = fields[field.name].metadata
        for key in ("group", "resume"):
            assert metadata[key] == field.metadata[key], field.name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "expected", "count"),
    [
        ("sgd", TorchSGD, 2),
        ("adam", keras.optimizers.Adam, 3),
        ("adamw", keras.optimizers.AdamW, 3),
    ],
)
def test_optimizers(kind, name, expected, count):
    decay = 0.0 if name == "adam" else 0.1
    config = kind(
        optimizer=name,
        weight_decay=decay,
        decayed="kernels",
        momentum=0.8,
        nesterov=True,
        ema=0.9,
    )
    model = small_model()
    optimizer = make_optimizer(config, 0.5, model)
    optimizer.build(model.trainable_variables)
    assert type(optimizer) is expected
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.9)
    if name == "sgd":
        assert (optimizer.momentum, optimizer.nesterov) == (0.8, True)
    else:
        assert optimizer.beta_1 == 0.8
    if decay:
        assert optimizer.weight_decay == decay
        decaying = {
            variable.path
            for variable in model.trainable_variables
            if optimizer._use_weight_decay(variable)
        }
        assert decaying == {"conv/kernel", "dense/kernel"}
    # Beside the count of steps and the learning rate.
    numbers = sum(
        int(np.prod(v.shape)) for v in optimizer.variables if v.shape.rank
    )
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert numbers == optimizer_variables(config) * weights
    assert optimizer_variables(config) == count


def test_adamw_decays_the_weights_themselves():
    config = TrainConfig(optimizer="adamw", weight_decay=0.1, decayed="all")
    weight = keras.Variable([2.0, -4.0])
    optimizer = make_optimizer(config, 0.5, None)
    optimizer.apply([tf.zeros(2)], [weight])
    np.testing.assert_allclose(weight, [2 * 0.95, -4 * 0.95], rtol=1e-6)


def averaged_weights(folder):
    """Weights of `last.keras`, and those that the run would train on."""
    model = keras.models.load_model(folder / "last.keras", compile=False)
    arrays, _, _ = Checkpoints(folder / "checkpoints").load()
    trained = arrays[: len(model.variables)]
    is_trained = {id(v) for v in model.trainable_variables}
    saved = [
        (variable.numpy(), array)
        for variable, array in zip(model.variables, trained, strict=True)
        if id(variable) in is_trained
    ]
    return saved, arrays[len(model.variables) :]


def check_average(folder):
    """What is saved is the EMA, which the optimizer keeps."""
    saved, of_optimizer = averaged_weights(folder)
    assert max(np.abs(a - b).max() for a, b in saved) > 1e-4
    for average, _ in saved:
        assert any(
            average.shape == array.shape and np.array_equal(average, array)
            for array in of_optimizer
        )


@pytest.mark.slow
def test_classifiers_with_what_detectors_had(tmp_path):
    """Clipped, with AdamW, an EMA, and evaluated in the last epoch only."""
    folder = tmp_path / "run"
    config = TrainConfig(
        **QUICK,
        optimizer="adamw",
        learning_rate=1e-3,
        clip_norm=1.0,
        ema=0.5,
        validation_every=2,
        output=str(folder),
    )
    metrics = train(config, verbose=0)
    with (folder / "history.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["val_top1"] == ""
    assert float(second["val_top1"]) >= 0
    assert metrics["best_epoch"] == 2
    check_average(folder)


@pytest.mark.slow
def test_detectors_with_what_classifiers_had(tmp_path):
    """SGD with Nesterov's momentum, an EMA, and images to test with."""
    data = coco_folder(tmp_path / "coco")
    write_part(tmp_path / "coco", part="test2017")
    folder = tmp_path / "run"
    config = quick(
        data,
        folder,
        optimizer="sgd",
        nesterov=True,
        learning_rate=1e-2,
        weight_decay=1e-4,
        decayed="kernels",
        ema=0.5,
    )
    with tiny_backbones():
        metrics = train(config, verbose=0)
    assert (metrics["evaluated_on"], metrics["images"]) == ("test", 4)
    check_average(folder)
    trained = Trained.load(folder)
    again = trained.evaluate()
    assert again["evaluated_on"] == "test"
    assert again["AP"] == pytest.approx(metrics["AP"], abs=1e-6)
    assert trained.evaluate(split="validation")["evaluated_on"] == "validation"
    card = trained.card()
    assert f"| AP (IoU 0.50 to 0.95) | {metrics['AP']:.3f} |" in card
    assert "pipeline_tag: object-detection" in card
    report = trained.export(
        tmp_path / "detector.tflite", pixels="uint8", allow_constant=True
    )
    assert report.passed
    settings = json.loads((folder / "config.json").read_text())
    assert (settings["ema"], settings["nesterov"]) == (0.5, True)


@pytest.mark.slow
def test_batchnorm_of_detectors_is_synchronized(tmp_path):
    data = coco_folder(tmp_path / "coco")
    config = quick(
        data,
        tmp_path / "run",
        epochs=1,
        frozen_batchnorm=False,
        sync_batchnorm=True,
    )
    with tiny_backbones(), Cluster("one-device") as cluster:
        model = config.make_task(cluster).model
    norms = [
        layer
        for layer in model.backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms
    assert all(layer.synchronized for layer in norms)
    with tiny_backbones():
        train(config, verbose=0)
    saved = keras.models.load_model(tmp_path / "run" / "last.keras")
    for layer in saved.backbone.layers:
        assert not getattr(layer, "synchronized", False)


def test_steps_of_both_kinds_of_schedule():
    def rates(config, steps):
        from eca_keras.training.schedules import learning_rate

        schedule = learning_rate(config, steps_per_epoch=10)
        return [round(float(schedule(step)), 6) for step in steps]

    shared = {"schedule": "steps", "learning_rate": 1.0, "epochs": 6}
    listed = TrainConfig(**shared, warmup=0.0, decay_epochs=[2, 4])
    every = DetectConfig(**shared, warmup=0.0, decay_every=2)
    for config in (listed, every):
        assert rates(config, [0, 19, 20, 39, 40, 59]) == [
            *(1.0, 1.0, 0.1, 0.1, 0.01, 0.01)
        ]
    half = TrainConfig(**shared, warmup=0.5, warmup_start=0.5, decay_every=4)
    assert rates(half, [0, 15, 30, 40]) == [0.5, 0.75, 1.0, 0.1]


def test_the_warm_up_is_a_fraction_or_a_number_of_steps():
    def rise(config):
        """The steps until the rate is at its peak."""
        from eca_keras.training.schedules import learning_rate

        schedule = learning_rate(config, steps_per_epoch=10)
        rates = [float(schedule(step)) for step in range(100)]
        return rates.index(max(rates))

    for kind in KINDS:
        assert rise(kind(epochs=10, warmup=0.2)) == 20
        assert rise(kind(epochs=10, warmup=0.2, warmup_steps=7)) == 7
        assert rise(kind(epochs=10, warmup=0.0)) == 0


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"kernel_size": "3,5,5,7"}, {"kernel_size": [3, 5, 5, 7]}),
        ({"kernel_size": "5"}, {"kernel_size": 5}),
        ({"kernel_size": "paper"}, {"kernel_size": "paper"}),
        ({"places": 7}, {"max_objects": 7}),
        ({"fixed_statistics": False}, {"frozen_batchnorm": False}),
        ({"flip": False}, {"augmentation": "none"}),
        ({"decay_epochs": 30, "schedule": "cosine"}, {"schedule": "cosine"}),
        (
            {"decay_epochs": 30, "schedule": "steps"},
            {"decay_every": 30, "schedule": "steps"},
        ),
        ({"decay_epochs": [8, 11]}, {"decay_epochs": [8, 11]}),
    ],
)
def test_settings_of_earlier_runs(before, now):
    assert upgraded(before) == now


def test_kernels_on_regions_decay_as_all_do():
    """The heads of a Faster R-CNN are not in its graph."""
    config = quick("shapes:2", "unused", detector="FasterRCNN")
    model = build_detector(config, tiny_backbone(), 3)
    config = DetectConfig(
        optimizer="adamw", weight_decay=0.1, decayed="kernels"
    )
    optimizer = make_optimizer(config, 0.1, model)
    optimizer.build(model.trainable_variables)
    decaying = {
        variable.path.split("/")[-2]
        for variable in model.trainable_variables
        if optimizer._use_weight_decay(variable)
    }
    assert {"box_dense1", "box_dense2", "box_logits"} <= decaying


def test_options_of_the_other_kind_are_refused():
    trained = Trained.load(RUNS / "classifier")
    with pytest.raises(ValueError, match="`results` must only be given for"):
        trained.evaluate(results="found.json")
    with pytest.raises(ValueError, match="`sizes` must only be given for"):
        trained.export("a.tflite", sizes=True)
    with pytest.raises(ValueError, match="`split` must be one that the data"):
        trained.evaluate(split="all")


def test_a_model_without_its_settings(tmp_path):
    shutil.copy(RUNS / "classifier" / "model.keras", tmp_path)
    sentence = r"no preprocessing\.json or detection\.json beside"
    with pytest.raises(ValueError, match=sentence):
        Trained.load(tmp_path)


def test_samples_of_the_caller_are_used(tmp_path):
    trained = Trained.load(RUNS / "classifier")
    samples = trained.samples(3)
    report = trained.export(
        tmp_path / "a.tflite", samples=samples, allow_constant=True
    )
    assert report.samples == 3
