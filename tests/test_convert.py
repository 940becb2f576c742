"""`eca-keras convert`, and what the other commands do with its result."""

import argparse
import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import torch_writer
from PIL import Image
from reference import golden_images
from reference import golden_logits
from reference import golden_state
from reference import rule_tensor

from eca_keras import cli
from eca_keras.applications import preprocess_input
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import InputError
from eca_keras.images import resize as images
from eca_keras.training import load_source
from eca_keras.training.trained import Trained
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint
from eca_keras.weights import preprocessing
from eca_keras.weights import torch_reference

CLASSES = 4
NAMES = ("cat", "cow", "dog", "pig")


def resnet_state():
    """An ECA-ResNet-18 of four classes whose answers depend on the image.

    (The golden MobileNetV2's do not, so it would prove nothing here.)
    """
    state = golden_state("eca_resnet18_k3577")
    state["fc.weight"] = 30 * rule_tensor("fc.weight", (CLASSES, 512))
    state["fc.bias"] = rule_tensor("fc.bias", (CLASSES,))
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "resnet.pth.tar"
    state = {f"module.{k}": v for k, v in resnet_state().items()}
    torch_writer.save({"epoch": 100, "state_dict": state}, path, legacy=True)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    output = folder / "resnet.keras"
    labels = ["--labels", str(folder / "names.txt")]
    assert cli.main(["convert", str(checkpoint), str(output), *labels]) == 0
    return output


def picture(height=300, width=260, seed=0):
    """A smooth RGB image with hard edges."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 10, 3)).astype("uint8")
    image = Image.fromarray(small).resize((width, height), Image.BICUBIC)
    image = np.array(image)
    image[40:90, 30:160] = 255
    image[100:110] = 0
    return image


def test_says_what_it_recognised(checkpoint, tmp_path, capsys):
    output = tmp_path / "new" / "model.keras"
    assert cli.main(["convert", str(checkpoint), str(output)]) == 0
    said = capsys.readouterr().out
    assert "recognised: ECAResNet18, attention eca, kernels 3 5 7 7" in said
    assert "4 classes" in said
    # 11,689,556 with 4 instead of 1000 classes.
    assert f"parameters: {11_689_556 - 996 * 513:,} trainable" in said
    assert f"written: {output}, {output.stat().st_size:,} bytes" in said
    settings = json.loads(
        (tmp_path / "new" / "model.preprocessing.json").read_text()
    )
    assert settings["labels"] == [f"class {i}" for i in range(CLASSES)]
    assert settings["image_size"] == 224
    assert len(list(output.parent.iterdir())) == 2


def test_the_file_holds_the_bare_network(checkpoint, converted):
    model = keras.models.load_model(converted)
    assert model.input_shape == (None, 224, 224, 3)
    expected = load_checkpoint(checkpoint, input_shape=(224, 224, 3))
    batch = golden_images(224)
    np.testing.assert_allclose(
        model.predict(batch, verbose=0),
        expected.predict(batch, verbose=0),
        atol=1e-6,
    )


@pytest.mark.slow
def test_predict_prepares_images_as_the_weights_expect(
    converted, tmp_path, capsys
):
    Image.fromarray(picture()).save(tmp_path / "picture.png")
    arguments = [str(tmp_path / "picture.png"), "--model", str(converted)]
    assert cli.main(["predict", *arguments, "--top", "1"]) == 0
    said = capsys.readouterr().out
    # By hand: Pillow's resizing to 256, torchvision's crop, mean and std.
    resized = Image.fromarray(picture()).resize(
        (256, int(256 * 300 / 260)), Image.BILINEAR
    )
    top = round((resized.height - 224) / 2)
    shown = np.asarray(resized)[top : top + 224, 16:240]
    model = keras.models.load_model(converted)
    expected = model.predict(preprocess_input(shown[None]), verbose=0)[0]
    ranking = dict(Trained.load(converted).predict(tmp_path / "picture.png"))
    assert NAMES[expected.argmax()] in said
    answer = [ranking[name] for name in NAMES]
    # A level of 255 in some pixels, after Pillow's rounding of its passes.
    np.testing.assert_allclose(answer, expected, atol=5e-3)
    # As far as the answer goes without mean and std.
    raw = model.predict(shown[None].astype("float32"), verbose=0)[0]
    assert np.abs(raw - expected).max() > 0.1


@pytest.mark.slow
def test_evaluate(converted, tmp_path, capsys):
    for label, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        for i in range(2):
            path = tmp_path / name / f"{i}.png"
            Image.fromarray(picture(seed=2 * label + i)).save(path)
    arguments = ["--model", str(converted), "--data", f"folder:{tmp_path}"]
    arguments += ["--split", "train", "--batch-size", "8"]
    assert cli.main(["evaluate", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    trained = Trained.load(converted)
    losses = [
        -np.log(dict(trained.predict(path))[path.parent.name])
        for path in _files("folder:" + str(tmp_path))
    ]
    assert figures["images"] == len(losses) > 3
    # One by one or in a batch: float32 and logarithms of small numbers.
    assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-3)


def _files(data):
    """The files of the training part, some of which `load_source` keeps."""
    split = load_source(data).train
    return [pathlib.Path(split.name(index)) for index in range(split.size)]


@pytest.mark.slow
def test_classes_without_names_only_have_to_be_as_many(
    checkpoint, tmp_path, capsys
):
    output = tmp_path / "model.keras"
    assert cli.main(["convert", str(checkpoint), str(output)]) == 0
    trained = Trained.load(output)
    data = tmp_path / "data"
    for name in NAMES[:3]:
        (data / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(picture()).save(data / name / f"{i}.png")
    with pytest.raises(InputError, match="other classes than the model"):
        trained.evaluate(f"folder:{data}")
    (data / "pig").mkdir()
    for i in range(2):
        Image.fromarray(picture()).save(data / "pig" / f"{i}.png")
    # All images are the same one: exactly one class in four is right.
    assert trained.evaluate(f"folder:{data}", "train")["top1"] == 0.25


@pytest.mark.slow
def test_export(converted, tmp_path, capsys):
    path = tmp_path / "model.tflite"
    arguments = ["export", str(path), "--model", str(converted)]
    assert cli.main(arguments) == 0
    assert "passed" in capsys.readouterr().out
    assert (tmp_path / "model.labels.txt").read_text().split() == list(NAMES)


@pytest.mark.parametrize("height_width", [(300, 260), (200, 340)])
@pytest.mark.parametrize("size", [160, 224, 256])
def test_bicubic_pixels_are_pillows(height_width, size):
    settings = preprocessing(
        "ECAResNet50T", {160: "a3_in1k", 224: "a1_in1k"}.get(size, "imagenet")
    )
    assert settings.image_size == size
    short = {160: 168, 224: 235, 256: 292}[size]  # timm's floor of size / crop
    height, width = height_width
    image = picture(height, width)
    shown = images.shown_size(
        tf.constant(image),
        size,
        settings.crop_fraction,
        settings.interpolation,
    ).numpy()
    resized = (
        (short, int(short * height / width))
        if width < height
        else (int(short * width / height), short)
    )
    reference = Image.fromarray(image).resize(resized, Image.BICUBIC)
    left = int(round((resized[0] - size) / 2.0))
    top = int(round((resized[1] - size) / 2.0))
    reference = reference.crop((left, top, left + size, top + size))
    difference = shown.astype(int) - np.asarray(reference).astype(int)
    # Pillow computes in integers: where it rounds another way in its first
    # pass, the second one may add to it.
    assert np.abs(difference).max() <= 2
    assert np.abs(difference).mean() < 0.01
    # The hard edges tell bicubic from bilinear.
    bilinear = images.shown_size(
        tf.constant(image), size, settings.crop_fraction
    ).numpy()
    assert np.abs(shown.astype(int) - bilinear).max() > 10


def test_constants_of_another_mean_are_used():
    settings = Preprocessing(
        ("a",), 8, 3, 1.0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0)
    )
    x = np.full((1, 2, 2, 3), 255.0)
    np.testing.assert_allclose(
        preprocess_input(x, preprocessing=settings)[0, 0, 0], [1.8, 3.2, 0.7]
    )
    raw = Preprocessing(("a",), 8, 3, 1.0)
    with pytest.raises(ValueError, match="must have a mean of 3 channels"):
        preprocess_input(x, preprocessing=raw)


def test_settings_round_trip_and_belong_to_their_model(tmp_path):
    settings = Preprocessing(
        ("a", "b"), 32, 1, 0.5, "bicubic", mean=(0.5,), std=(0.25,)
    )
    Preprocessing.path(tmp_path / "one.keras").write_text(settings.text())
    other = Preprocessing(("c",), 8, 3, 1.0)
    other.save(tmp_path)
    assert Preprocessing.load(tmp_path / "one.keras") == settings
    assert Preprocessing.load(tmp_path / "two.keras") == other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", "cat"),
        ("image_size", 0),
        ("channels", 1.5),
        ("crop_fraction", 2),
        ("interpolation", "lanczos"),
        ("mean", [0.5]),
        ("std", [0.0, 1.0, 1.0]),
        ("unknown", 1),
    ],
)
def test_damaged_settings(tmp_path, field, value):
    settings = json.loads(preprocessing("ECAResNet50").text())
    path = tmp_path / "preprocessing.json"
    path.write_text(json.dumps({**settings, field: value}))
    with pytest.raises(InputError, match=rf"json is damaged: .*{field}"):
        Preprocessing.load(tmp_path / "model.keras")


def refused(arguments, capsys):
    try:
        code = cli.main(["convert", *arguments])
    except SystemExit as error:  # the parser's own way
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


HOSTILE = {
    "html": (b"<html>login</html>", "it is a web page"),
    "empty": (b"", "it is empty"),
    "pickle": (b"\x80\x04cos\nsystem\n(S'touch x'\ntR.", "it was not run"),
    "text": (b"hello", "neither a file of torch.save nor of safetensors"),
    "header": (b"\xff" * 7 + b"\x7f{", "truncated or damaged"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind, tmp_path, capsys):
    content, sentence = HOSTILE[kind]
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    said = refused([str(path), str(tmp_path / "out.keras")], capsys)
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_bad_arguments(checkpoint, tmp_path, capsys):
    output, path = str(tmp_path / "out.keras"), str(checkpoint)
    assert "must end in .keras" in refused([path, "out.h5"], capsys)
    assert "No such file" in refused(["/no/such.pth", output], capsys)
    assert "are hosted publicly" in refused(["ECAResNet50", output], capsys)
    said = refused([path, output, "--tag", "a1_in1k"], capsys)
    assert "No ImageNet weights of ECAResNet18" in said
    said = refused([path, output, "--attention", "none"], capsys)
    assert "it has --attention eca" in said
    said = refused([path, output, "--attention", "se"], capsys)
    assert "`--attention` must be one of eca, none" in said
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\ndog\npig\n")
    said = refused([path, output, "--labels", str(labels)], capsys)
    assert "`--labels` must be a file of 4 lines" in said
    (tmp_path / "file").write_text("precious")
    refused([path, str(tmp_path / "file" / "out.keras")], capsys)
    assert {p.name for p in tmp_path.iterdir()} == {"labels.txt", "file"}


def test_plain_network(tmp_path, capsys):
    state = {
        key: values
        for key, values in resnet_state().items()
        if values.ndim != 3
    }
    path, output = tmp_path / "plain.safetensors", tmp_path / "plain.keras"
    safetensors.numpy.save_file(state, path)
    assert "Pass --attention none" in refused([str(path), str(output)], capsys)
    arguments = [str(path), str(output), "--attention", "none"]
    assert cli.main(["convert", *arguments]) == 0
    assert "attention none, no kernels" in capsys.readouterr().out


def test_a_network_without_classifier(tmp_path, capsys):
    state = {
        key: values
        for key, values in resnet_state().items()
        if not key.startswith("fc.")
    }
    path, output = tmp_path / "bare.safetensors", tmp_path / "bare.keras"
    safetensors.numpy.save_file(state, path)
    assert cli.main(["convert", str(path), str(output)]) == 0
    assert "no classes" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no classifier"):
        Trained.load(output)


def test_missing_pytorch_is_one_sentence(
    checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", _without("torch"))
    arguments = [str(checkpoint), str(tmp_path / "out.keras"), "--verify"]
    assert "needs torch: pip install torch" in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def _without(missing):
    find_spec = importlib.util.find_spec
    return lambda name, *a: None if name == missing else find_spec(name, *a)


@pytest.mark.slow
def test_a_wrong_conversion_is_not_written(
    checkpoint, tmp_path, capsys, monkeypatch
):
    def wrong(path, network, batch):
        answers = load_checkpoint(
            path, input_shape=batch.shape[1:], classifier_activation=None
        ).predict(batch, verbose=0)
        return answers + [[0.0, 0.01, 0.0, 0.0]]

    monkeypatch.setattr(torch_reference, "predict", wrong)
    arguments = [str(checkpoint), str(tmp_path / "out.keras"), "--verify"]
    assert cli.main(["convert", *arguments]) == 1
    said = capsys.readouterr().err
    assert "max absolute error of a logit to PyTorch: 1.0e-02" in said
    assert not list(tmp_path.iterdir())


needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="compares with PyTorch"
)


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["eca_mobilenetv2_k13", "eca_resnet18_k3577", "eca_resnet50_k3557"],
)
def test_the_reference_forward_is_the_authors(name, tmp_path):
    state = golden_state(name)
    torch_writer.save(state, tmp_path / "weights.pth")
    network = inspect_checkpoint(tmp_path / "weights.pth")
    answers = torch_reference.predict(
        tmp_path / "weights.pth", network, golden_images()
    )
    assert np.abs(answers - golden_logits(name)).max() < 1e-5


@needs_torch
@pytest.mark.slow
def test_verify(checkpoint, tmp_path, capsys):
    arguments = [str(checkpoint), str(tmp_path / "out.keras"), "--verify"]
    assert cli.main(["convert", *arguments]) == 0
    assert (
        "max absolute error of a logit to PyTorch: " in capsys.readouterr().out
    )


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("option", ["--ema", "--no-ema", "--no-include-top"])
def test_verify_the_weights_that_are_chosen(tmp_path, capsys, option):
    raw = resnet_state()
    ema = {name: np.float32(0.9) * values for name, values in raw.items()}
    path = tmp_path / "last.pth.tar"
    saved = {
        "args": argparse.Namespace(lr=0.1),
        "metric": np.float64(3),
        "state_dict": {f"module.{name}": raw[name] for name in raw},
        "state_dict_ema": ema,
    }
    torch_writer.save(saved, path)
    arguments = [str(path), str(tmp_path / "out.keras"), option, "--verify"]
    assert cli.main(["convert", *arguments]) == 0
    said = capsys.readouterr().out
    assert "max absolute error of a logit to PyTorch: " in said
    assert ("weights: no EMA" in said) == (option == "--no-ema")
