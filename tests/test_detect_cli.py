"""`eca-keras detect`, in this process: output, files and exit codes."""

import dataclasses
import json
import re

import numpy as np
import pytest
from detect_runs import coco_folder
from detect_runs import quick
from detect_runs import tiny_backbones
from detect_runs import untrained_run
from pictures import photo
from PIL import Image
from test_cli import refused

from eca_keras import cli
from eca_keras.commands.detect_train import DetectTrain
from eca_keras.commands.predict import describe
from eca_keras.training import Trained
from eca_keras.training.detection import DETECT_RECIPES
from eca_keras.training.detection.average_precision import average_precision
from eca_keras.training.detection.data import load_detection_source
from eca_keras.visualize import channel_weights
from eca_keras.visualize import sample

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """A Mask R-CNN that finds something, if nothing right."""
    output = tmp_path_factory.mktemp("runs") / "run"
    return untrained_run(quick(data, output, detector="MaskRCNN"))


def test_evaluate(run, data, capsys, tmp_path):
    figures, results = tmp_path / "figures.json", tmp_path / "found.json"
    arguments = ["--model", str(run), "--output", str(figures)]
    arguments += ["--results", str(results), "--batch-size", "3"]
    assert cli.main(["evaluate", *arguments]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(figures.read_text())
    assert (printed["data"], printed["images"]) == (data, 4)
    found = json.loads(results.read_text())
    assert len(found) > 4
    split = load_detection_source(data, masks=True).validation
    again = average_precision(split.truth(), found, [10, 20, 30, 40], True)
    assert again == {name: printed[name] for name in again}


@pytest.mark.slow
def test_evaluate_on_all_images_of_a_file(run, data, capsys):
    folder = data.removeprefix("coco:")
    file = f"{folder}/annotations/instances_train2017.json"
    arguments = ["--model", str(run), "--split", "all"]
    named = ["--data", f"coco:{folder}/train2017,{file}"]
    assert cli.main(["evaluate", *arguments, *named]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["evaluated_on"], printed["images"]) == ("all", 4)
    said = refused(["evaluate", *arguments], capsys)
    assert "one that the data has, train, validation. Received: --split" in said


def test_predict(run, capsys, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(photo(90, 50, seed=0)).save(good)
    bad.write_text("no image")
    arguments = ["predict", str(bad), str(good), "--threshold", "0.1"]
    arguments += ["--model", str(run), "--figures", str(tmp_path / "new")]
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert f"{bad} is not a readable image" in said.err
    lines = said.out.splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(
            rf"{good}: class \d+ [\d.]+% at [\d.]+, [\d.]+, [\d.]+, [\d.]+",
            line,
        )
    with Image.open(tmp_path / "new" / "good.objects.png") as picture:
        assert picture.size == (350, 630)
    names = [path.name for path in (tmp_path / "new").iterdir()]
    assert names == ["good.objects.png"]
    assert describe(good, [], ()) == f"{good}: nothing found"


def test_pictures_in_the_place_of_images(run, capsys, tmp_path):
    drawn = tmp_path / "good.objects.png"
    drawn.write_text("precious")
    arguments = ["predict", str(tmp_path / "good.png"), str(drawn)]
    arguments += ["--model", str(run), "--figures", str(tmp_path)]
    assert "good.objects.png would be lost" in refused(arguments, capsys)
    assert drawn.read_text() == "precious"


def test_visualize(run, capsys, tmp_path):
    output = tmp_path / "figures"
    arguments = ["visualize", str(run), "--output", str(output)]
    trained = Trained.load(run)
    split, _ = trained.split(trained.source()[0], "train")
    largest = set(sample._labels(split, range(split.size))) - {-1}
    seen = [trained.class_names[label] for label in largest]
    options = ["--split", "train", "--images", "2", "--classes", *seen[:2]]
    assert cli.main([*arguments, *options]) == 0
    names = {path.name for path in output.iterdir()}
    assert {"index.html", "stages.png", "layers.csv"} <= names
    assert "grad-cam.png" not in names
    numbers = np.load(output / "numbers.npz")
    gates = [numbers[name] for name in numbers if name.startswith("gates/")]
    assert gates
    assert all(len(each) == len(numbers["labels"]) > 1 for each in gates)
    # What one layer gives on one image, by another way.
    image = trained.shown(split.read(int(numbers["indices"][0])))
    inputs = trained.inputs(np.asarray(image)[None])
    [first, *_] = channel_weights(trained.network, inputs)
    np.testing.assert_allclose(first.gates[0], gates[0][0], atol=1e-5)
    said = refused([*arguments, "--heat-maps", "2"], capsys)
    assert f"`--heat-maps` is for classifiers; {run} holds a detector" in said


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["predict", "a.png", "--top", "1"], "top"),
        (["export", "a.onnx", "--channels-first"], "channels-first"),
    ],
)
def test_options_of_a_classifier(arguments, option, run, capsys):
    said = refused([*arguments, "--model", str(run)], capsys)
    assert f"`--{option}`" in said
    assert "classifier" in said


def test_card(run, capsys):
    found = {"AP": 0.25, "AP50": 0.5, "mask_AP": 0.125}
    metrics = {
        **dict.fromkeys(("AP75", "mask_AP50", "mask_AP75"), 0.1),
        **found,
        "detector": "MaskRCNN",
        "backbone": "ECAMobileNetV2",
        "evaluated_on": "validation",
        "images": 4,
        "parameters": 9,
        "epochs": 2,
        "best_epoch": 2,
        "replicas": 1,
        "seconds": 3.0,
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert cli.main(["card", "--model", str(run)]) == 0
    said = capsys.readouterr().out
    assert "MaskRCNN on ECAMobileNetV2" in said
    assert all(f"{value:.3f}" in said for value in found.values())


def test_recipe_file_and_overrides(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"recipe": "1x", "epochs": 24, "filters": 32}))
    arguments = ["detect", "train", "--config", str(path)]
    arguments += ["--filters", "16", "--decay-epochs", "16", "22"]
    command = cli.parse(arguments)
    assert isinstance(command, DetectTrain)
    assert (command.epochs, command.filters) == (24, 16)
    assert list(command.decay_epochs) == [16, 22]
    assert command.learning_rate is None
    assert command.width == DETECT_RECIPES["1x"].width
    plain = cli.parse(["detect", "train"])
    assert plain.data == DETECT_RECIPES["shapes"].data


def test_dry_run(data, capsys, tmp_path):
    output = tmp_path / "run"
    arguments = ["detect", "train", "--dry-run", "--output", str(output)]
    arguments += ["--data", data, "--batch-size", "3", "--warmup-steps", "0"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert re.search(r"(?m)^steps +10$", said)
    assert re.search(r"(?m)^images \(train, validation\) +3, 4$", said)
    assert re.search(r"(?m)^memory per replica, estimated +0\.\d", said)
    assert not output.exists()


TRAIN = ["detect", "train"]
BAD = {
    "nothing": (["detect"], "`eca-keras detect train`"),
    "action": (["detect", "trian"], "`eca-keras detect train`"),
    "option": ([*TRAIN, "--epcohs", "3"], "--epcohs"),
    "recipe": (
        [*TRAIN, "--recipe", "2x"],
        "`--recipe` must be one of shapes",
    ),
    "detector": (
        [*TRAIN, "--detector", "YOLO"],
        "`--detector` must be one of",
    ),
    "data": ([*TRAIN, "--data", "coco"], "coco"),
    "no folder": ([*TRAIN, "--data", "coco:/no/such"], "/no/such"),
    "no weights": (
        [*TRAIN, "--backbone-weights", "/no/such.weights.h5"],
        "/no/such.weights.h5",
    ),
    "no run of weights": (
        [*TRAIN, "--backbone-weights", "/no/such.keras"],
        "an existing file. Received: /no/such.keras",
    ),
    "random and frozen": (
        [*TRAIN, "--frozen-stages", "1"],
        "`--frozen-stages` must be 0 without `--backbone-weights`",
    ),
    "no TPU": (
        [*TRAIN, "--strategy", "tpu"],
        "needs a TPU that TensorFlow",
    ),
    "no config": (
        [*TRAIN, "--config", "/no/such.json"],
        "/no/such.json",
    ),
    "no run": (["evaluate", "--model", "/no/run"], "no trained model"),
    "moved": (["detect", "export", "x.onnx"], "`eca-keras export`"),
    "split": (["evaluate", "--split", "dev"], "`--split` must be one of"),
    "batch": (
        ["evaluate", "--batch-size", "0"],
        "`--batch-size` must be a positive integer",
    ),
    "no image": (["predict"], "at least one image file"),
    "threshold": (
        ["predict", "a.png", "--threshold", "1.5"],
        "`--threshold` must be at least 0 and below 1",
    ),
    "twice": (
        ["predict", "a/x.png", "b/x.jpg", "--figures", "p"],
        "`IMAGES` must differ in their names",
    ),
    "format": (["export", "x", "--format", "coreml"], "`--format` must be one"),
    "of another format": (
        ["export", "x.onnx", "--format", "onnx", "--quantize", "float16"],
        "`--quantize` must only be given with --format tflite",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, sentence = BAD[case]
    assert sentence in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_pictures_in_the_place_of_a_file(run, capsys, tmp_path):
    file = tmp_path / "pictures"
    file.write_text("precious")
    arguments = ["predict", "a.png", "--model", str(run)]
    said = refused([*arguments, "--figures", str(file)], capsys)
    assert "`--figures` must be a folder, but there is a file at" in said
    assert file.read_text() == "precious"


def test_unknown_strategy_of_evaluate(run, capsys):
    arguments = ["evaluate", "--model", str(run), "--strategy", "x"]
    said = refused(arguments, capsys)
    assert "`--strategy` must be one of auto, one-device, mirrored" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("saved_model", ["--pixels", "float32"]),
        ("tflite", ["--pixels", "uint8", "--sizes", "--quantize", "none"]),
        ("onnx", ["--opset", "17"]),
    ],
)
def test_export(run, capsys, tmp_path, format, options):
    path = tmp_path / "new" / f"detector.{format}"
    arguments = ["export", str(path), "--model", str(run)]
    assert cli.main([*arguments, "--format", format, *options]) == 0
    assert "max box error" in capsys.readouterr().out
    assert path.exists()


def test_export_on_other_data(run, capsys, tmp_path):
    arguments = ["export", str(tmp_path / "a.tflite")]
    arguments += ["--model", str(run), "--data", "shapes"]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "--data shapes has other classes than the model" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_train_refuses_to_export_what_finds_nothing(data, capsys, tmp_path):
    config = quick(data, tmp_path / "run", epochs=1)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dataclasses.asdict(config)))
    arguments = ["detect", "train", "--config", str(path)]
    # After two steps it finds nothing that a file could be compared on. What
    # was trained is there all the same.
    with tiny_backbones():
        assert cli.main([*arguments, "--export", "saved_model"]) == 2
    said = capsys.readouterr()
    assert "epoch 1/1: loss " in said.out
    assert re.search(r"evaluated on +4 validation images\n", said.out)
    assert re.search(r"AP +0\.\d{3}", said.out)
    assert "samples with no detections" in said.err
    assert (tmp_path / "run" / "model.keras").exists()
    assert not (tmp_path / "run" / "saved_model").exists()
