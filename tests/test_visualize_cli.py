"""`eca-keras visualize`: the folder it writes, and what it refuses."""

import base64
import csv
import html.parser
import json

import keras
import numpy as np
import pytest
from cases import randomize
from keras import layers
from PIL import Image
from test_cli import refused

import eca_keras
from eca_keras import cli
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.images.resize import shown_size
from eca_keras.training.trained import Trained
from eca_keras.visualize import channel_weights
from eca_keras.visualize import class_means
from eca_keras.visualize import grad_cam

DIGITS = tuple("0123456789")
PICTURES = ("channel-weights", "stages", "kernels", "grad-cam")
FILES = {
    *("index.html", "numbers.npz", "layers.csv", "class-means.csv"),
    *("kernels.csv", *(f"{name}.png" for name in PICTURES)),
}


def save(folder, attention, labels=DIGITS, channels=1):
    """Writes a small network with random weights, as a run does."""
    size = 12
    images = keras.Input((size, size, channels))
    x = layers.Rescaling(1 / 255)(images)
    for number, strides in ((1, 1), (2, 2)):
        x = layers.Conv2D(8, 3, strides, padding="same", name=f"conv{number}")(
            x
        )
        for make in attention:
            x = make(name=f"gate{number}_{make.__name__.lower()}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(len(labels), activation="softmax", name="top")(x)
    model = keras.Model(images, x)
    randomize(model)
    folder.mkdir()
    model.save(folder / "model.keras")
    Preprocessing(labels, size, channels, 1.0).save(folder)
    (folder / "config.json").write_text(
        json.dumps({"data": "digits", "validation_fraction": 0.1})
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visualize") / "run"
    return save(folder, (eca_keras.ECA, eca_keras.layers.ECANS))


@pytest.fixture(scope="module")
def result(run):
    options = ["--images", "5", "--heat-maps", "2", "--batch-size", "7"]
    options += ["--classes", "7", "0", "3"]
    output = run.parent / "result"
    arguments = ["visualize", str(run), "--output", str(output), *options]
    assert cli.main(arguments) == 0
    assert {path.name for path in output.iterdir()} == FILES
    return output


class Page(html.parser.HTMLParser):
    """The pictures, headings and cells of a page."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.texts, self.links = [], [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            assert attributes["alt"]
            self.pictures.append(attributes["src"])
        self.links += [attributes[x] for x in ("href",) if x in attributes]

    def handle_data(self, data):
        self.texts.append(data)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_page_holds_every_picture(result):
    page = Page(result / "index.html")
    beginning = "data:image/png;base64,"
    assert all(source.startswith(beginning) for source in page.pictures)
    held = [
        base64.b64decode(source.removeprefix(beginning))
        for source in page.pictures
    ]
    files = [(result / f"{name}.png").read_bytes() for name in PICTURES]
    assert held == files
    assert not page.links  # nothing is fetched from elsewhere
    for name in PICTURES:
        with Image.open(result / f"{name}.png") as picture:
            colours = picture.convert("RGB").getcolors(1 << 20)
        assert len(colours) > 20  # something was drawn
    assert "gate2_ecans" in page.texts


def test_the_numbers_are_those_of_the_functions(run, result):
    trained = Trained.load(run)
    numbers = np.load(result / "numbers.npz")
    labels = numbers["labels"]
    assert labels.tolist() == [7] * 5 + [0] * 5 + [3] * 5
    source, _ = trained.source(None)
    _, true = source.test.fetch(numbers["indices"])
    assert true.numpy().tolist() == labels.tolist()
    images = np.stack(
        [
            shown_size(source.test.read(int(index)), 12, 1.0).numpy()
            for index in numbers["indices"]
        ]
    )
    weights = channel_weights(trained.model, images)
    layers_of_table = rows_of(result / "layers.csv")
    means_of_table = rows_of(result / "class-means.csv")
    assert [each.name for each in weights] == [
        row["layer"] for row in layers_of_table
    ]
    for each, row in zip(weights, layers_of_table, strict=True):
        np.testing.assert_allclose(
            numbers[f"gates/{each.name}"], each.gates, atol=1e-6
        )
        assert row["mean"] == f"{each.gates.mean():.4f}"
        assert row["channels"] == "8"
        means = class_means(each.gates, labels, [7, 0, 3])
        written = [
            [float(row[name]) for name in "703"]
            for row in means_of_table
            if row["layer"] == each.name
        ]
        np.testing.assert_allclose(written, means.T, atol=1e-5)
    assert numbers["grad_cam_images"].tolist() == [0, 1, 5, 6, 10, 11]
    chosen = images[numbers["grad_cam_images"]]
    heat = grad_cam(trained.model, chosen)
    np.testing.assert_allclose(numbers["grad_cam"], heat, atol=1e-5)
    answers = np.argmax(trained.model(chosen), axis=1)
    assert numbers["grad_cam_classes"].tolist() == answers.tolist()


def test_the_kernels_are_those_of_the_layers(run, result):
    model = Trained.load(run).model
    rows = rows_of(result / "kernels.csv")
    shared = [row for row in rows if row["layer"] == "gate1_eca"]
    assert [row["neighbour"] for row in shared] == ["-1", "0", "1"]
    assert {row["channel"] for row in shared} == {"all"}
    np.testing.assert_allclose(
        [float(row["weight"]) for row in shared],
        model.get_layer("gate1_eca").get_weights()[0].ravel(),
        rtol=1e-6,
    )
    own = [row for row in rows if row["layer"] == "gate2_ecans"]
    np.testing.assert_allclose(
        [float(row["weight"]) for row in own],
        model.get_layer("gate2_ecans").get_weights()[0][:, 0].T.ravel(),
        rtol=1e-6,
    )


@pytest.mark.slow
def test_an_earlier_result_is_replaced_and_nothing_else(run, tmp_path, capsys):
    output = tmp_path / "pictures"
    arguments = ["visualize", str(run / "model.keras"), "--output", str(output)]
    arguments += ["--images", "1", "--heat-maps", "1", "--classes"]
    assert cli.main([*arguments, "1", "2"]) == 0
    assert capsys.readouterr().out == f"written: {output / 'index.html'}\n"
    assert cli.main([*arguments, "4"]) == 0
    assert np.load(output / "numbers.npz")["labels"].tolist() == [4]
    (output / "notes.txt").write_text("precious")
    said = refused([*arguments, "5"], capsys)
    assert "what is in this folder would be lost" in said
    assert np.load(output / "numbers.npz")["labels"].tolist() == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_model_without_attention_has_heat_maps(tmp_path, capsys):
    run = save(tmp_path / "run", ())
    arguments = ["visualize", str(run), "--images", "1", "--layer", "conv1"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    sentence = "Only Grad-CAM is shown: `model` must have channel attention"
    assert sentence in captured.err
    output = run / "model.figures"
    assert {path.name for path in output.iterdir()} == {
        *("index.html", "numbers.npz", "grad-cam.png")
    }
    page = Page(output / "index.html")
    assert len(page.pictures) == 1
    assert any(sentence in text for text in page.texts)


BAD = {
    "layer": (["--layer", "rellu2"], "such as relu2"),
    "no map": (["--layer", "top"], "`--layer` must give a feature map"),
    "class": (["--classes", "1", "tn"], "`--classes` must be names"),
    "classes": (["--classes", *DIGITS], "`--classes` must be at most 6"),
    "images": (["--images", "0"], "`--images` must be a positive integer"),
    "heat maps": (["--heat-maps", "0"], "`--heat-maps` must be a positive"),
    "batch": (["--batch-size", "0"], "`--batch-size` must be a positive"),
    "split": (["--split", "dev"], "`--split` must be one of"),
    "data": (["--data", "minst"], "`--data` must be 'digits'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, run, capsys, tmp_path):
    options, sentence = BAD[case]
    output = tmp_path / "output"
    arguments = ["visualize", str(run), "--output", str(output), *options]
    assert sentence in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model(run, capsys, tmp_path):
    file = tmp_path / "model.keras"
    file.write_text("no model")
    said = refused(["visualize", str(file)], capsys)
    assert "There is no" in said
    assert "preprocessing.json" in said
    Trained.load(run).preprocessing.save(tmp_path)
    said = refused(["visualize", str(file)], capsys)
    assert f"Cannot load '{file}': it is neither a .keras" in said
    said = refused(["visualize", str(tmp_path / "none")], capsys)
    assert "There is no trained model" in said


def test_a_class_without_images(tmp_path, capsys):
    run = save(tmp_path / "run", (eca_keras.ECA,), ("cat", "dog"), 3)
    data = tmp_path / "data"
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (data / name).mkdir(parents=True)
        if name != "val/dog":
            Image.new("RGB", (9, 9), (9, 99, 9)).save(data / name / "1.png")
    (data / "val/dog").rmdir()
    arguments = ["visualize", str(run), "--data", f"folder:{data}"]
    said = refused([*arguments, "--classes", "dog"], capsys)
    assert "has no image of dog" in said
    said = refused([*arguments, "--split", "test"], capsys)
    assert "must be one that the data has, train, validation" in said


@pytest.mark.slow
def test_a_trained_network(tmp_path):
    run = tmp_path / "run"
    options = ["--epochs", "8", "--image-size", "16", "--export"]
    assert cli.main(["train", *options, "--output", str(run)]) == 0
    assert cli.main(["visualize", str(run)]) == 0
    output = run / "model.figures"
    assert {path.name for path in output.iterdir()} == FILES
    rows = rows_of(output / "layers.csv")
    assert len(rows) == 9
    # What the classes are told apart by grows with the depth.
    spreads = [float(row["class spread"]) for row in rows]
    assert max(spreads[6:]) > max(spreads[:3])
    numbers = np.load(output / "numbers.npz")
    labels = numbers["labels"][numbers["grad_cam_images"]]
    assert np.mean(numbers["grad_cam_classes"] == labels) > 0.7
    assert (numbers["grad_cam"].max(axis=(1, 2)) == 1).mean() > 0.9
