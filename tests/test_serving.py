"""SavedModels that take pictures: signatures, layout, answers."""

import base64
import dataclasses
import io
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import randomised
from export_models import small_net
from keras import layers
from PIL import Image
from PIL import ImageOps

import eca_keras
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.export import ExportMismatch
from eca_keras.export import signatures as pictures
from eca_keras.images import decode as decoding
from eca_keras.images import orientation as orientations
from eca_keras.training.trained import Trained

NAMES = ("tench", "goldfish", "Kätzchen", "crane", "crane", "maillot")


def classifier(channels=3, classes=6, first=(), activation="softmax"):
    inputs = keras.Input((16, 16, channels))
    x = inputs
    for layer in first:
        x = layer(x)
    x = eca_keras.ECA()(layers.Conv2D(16, 3, activation="relu")(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(classes)(x)
    return randomised(keras.Model(inputs, layers.Activation(activation)(x)))


def settings(channels=3, classes=6, **fields):
    return Preprocessing(
        labels=NAMES[:classes],
        image_size=16,
        channels=channels,
        **{"crop_fraction": 0.8, "interpolation": "bicubic", **fields},
    )


CASES = {
    "normalized": (
        (3, 6, (), "softmax"),
        {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)},
    ),
    "grey": (
        (1, 3, (layers.Rescaling(1 / 255),), "softmax"),
        {"interpolation": "bilinear", "crop_fraction": 1.0},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A `Trained`, its SavedModel and the folder where both are."""
    arguments, fields = CASES[request.param]
    network = classifier(*arguments)
    preprocessing = settings(*arguments[:2], **fields)
    folder = tmp_path_factory.mktemp(request.param)
    network.save(folder / "model.keras")
    preprocessing.save(folder)
    report = eca_keras.export_saved_model(
        network,
        folder / "served",
        preprocessing=preprocessing,
        serving_version=3,
    )
    return Trained.load(folder), report, folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image files of several formats, sizes and colours, with contents."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    paths = []
    for name, shape, mode in (
        ("a.png", (40, 21, 3), "RGB"),
        ("b.jpg", (33, 64, 3), "RGB"),
        ("c.png", (17, 19), "L"),
        ("d.bmp", (16, 16, 3), "RGB"),
        ("e.bmp", (24, 50), "L"),
    ):
        coarse = rng.integers(0, 256, (4, 4, 3), "uint8")
        image = Image.fromarray(coarse).resize(shape[1::-1])
        image.convert(mode).save(folder / name)
        paths.append(folder / name)
    for number in (3, 6):  # upside down, and a quarter turn
        turned = Image.Exif()
        turned[0x0112] = number
        with Image.open(paths[1]) as image:
            image.save(folder / f"turned{number}.jpg", exif=turned)
        paths.append(folder / f"turned{number}.jpg")
    return paths


def test_layout_and_names(case):
    trained, report, folder = case
    served = folder / "served"
    assert os.listdir(served) == ["3"]
    assert (served / "3" / "saved_model.pb").is_file()
    extra = served / "3" / "assets.extra"
    labels = (extra / "labels.txt").read_text("utf-8").splitlines()
    assert labels == list(trained.preprocessing.labels)
    written = json.loads((extra / "report.json").read_text())
    assert written["seconds"] > 0
    assert written["threads"] is None
    assert "TensorFlow's threads" in str(report)
    assert "generated images" in written["notes"][-1]
    signatures = tf.saved_model.load(served / "3").signatures
    given = {
        name: {
            tensor.name: (tensor.dtype, tensor.shape.as_list())
            for tensor in signature.structured_input_signature[1].values()
        }
        for name, signature in signatures.items()
    }
    channels = trained.preprocessing.channels
    size = [None, 16, 16, channels]
    assert given == {
        # Keras's own name for the same; the two share all weights.
        "serve": {"images": (tf.float32, size)},
        "serving_default": {"images": (tf.float32, size)},
        "classify": {"image_bytes": (tf.string, [None])},
        "classify_pixels": {"pixels": (tf.uint8, [None, None, None, 3])},
    }
    count = min(5, len(trained.preprocessing.labels))
    for name in ("classify", "classify_pixels"):
        outputs = signatures[name].structured_outputs
        assert outputs.keys() == {"labels", "probabilities"}
        assert outputs["labels"].dtype == tf.string
        assert outputs["probabilities"].shape.as_list() == [None, count]


def test_answers_are_those_of_predict(case, files):
    trained, report, _ = case
    loaded = tf.saved_model.load(report.path)
    contents = [path.read_bytes() for path in files]
    answer = loaded.signatures["classify"](image_bytes=tf.constant(contents))
    for path, names, shares in zip(
        files, answer["labels"].numpy(), answer["probabilities"], strict=True
    ):
        expected = trained.predict(path)[: len(names)]
        assert [name.decode() for name in names] == [n for n, _ in expected]
        np.testing.assert_allclose(
            shares, [share for _, share in expected], atol=1e-6
        )
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            pixels = np.asarray(image.convert("RGB"))[None]
        again = loaded.signatures["classify_pixels"](pixels=tf.constant(pixels))
        np.testing.assert_allclose(again["probabilities"][0], shares, atol=1e-6)
    spread = np.ptp(answer["probabilities"].numpy()[:, 0])
    assert spread > 0.01  # the pictures are told apart


WITHOUT_LIBRARY = """
import base64, json, sys
sys.modules["eca_keras"] = None
sys.modules["keras"] = None
import tensorflow as tf
path, request = sys.argv[1:]
loaded = tf.saved_model.load(path)
request = json.loads(request)
contents = [base64.b64decode(x["b64"]) for x in request["instances"]]
run = loaded.signatures[request["signature_name"]]
answer = run(image_bytes=tf.constant(contents))
print(json.dumps([x.decode() for x in answer["labels"].numpy()[:, 0]]))
"""


@pytest.mark.slow
def test_request_of_tensorflow_serving(case, files):
    """In a process without this library, from TensorFlow Serving's JSON."""
    trained, report, _ = case
    request = {
        "signature_name": "classify",
        "instances": [
            {"b64": base64.b64encode(path.read_bytes()).decode()}
            for path in files
        ],
    }
    answer = subprocess.run(
        [
            *(sys.executable, "-c", WITHOUT_LIBRARY),
            *(report.path, json.dumps(request)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(answer.stdout.splitlines()[-1]) == [
        trained.predict(path)[0][0] for path in files
    ]


def exif(number, little=True, before=b""):
    """A JPEG with an orientation, as bytes."""
    file = io.BytesIO()
    data = Image.Exif()
    data.endian = "<" if little else ">"
    data[0x010E] = "a description, before the orientation"
    data[0x0112] = number
    pixels = np.arange(8 * 12 * 3, dtype="uint8").reshape(8, 12, 3)
    image = Image.fromarray(pixels)
    image.save(file, "JPEG", exif=data, comment=before, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("little", [True, False])
def test_orientations(little):
    decode = tf.function(lambda x: decoding.decode(x, 3, python=False))
    for number in range(1, 9):
        content = exif(number, little, b"words")
        with Image.open(io.BytesIO(content)) as image:
            assert image.getexif()[0x0112] == number
            expected = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(decode(tf.constant(content)), expected)


def test_damaged_exif_is_upright():
    content = exif(6)
    place = content.index(b"Exif")
    rng = np.random.default_rng(0)
    traced = tf.function(orientations.of_jpeg)

    def orientation(content):
        return traced(tf.constant(content))

    assert orientation(content) == 6
    assert orientation(content[: place + 20]) == 1
    for _ in range(50):
        noise = rng.bytes(60)
        damaged = content[: place + 6] + noise + content[place + 66 :]
        assert 1 <= orientation(damaged) <= 8
    for end in range(2, len(content), 7):
        assert orientation(content[:end]) in (1, 6)


def test_16_bits_a_value(tmp_path):
    values = tf.reshape(tf.range(0, 65_536, 64, tf.int32), (32, 32, 1))
    content = tf.io.encode_png(tf.cast(values, tf.uint16))
    decoded = decoding.decode(content, 3, python=False).numpy()
    assert np.abs(decoded - values.numpy() / 257).max() <= 0.5
    assert decoded.max() == 255


def test_a_file_that_is_no_image(case):
    _, report, _ = case
    loaded = tf.saved_model.load(report.path)
    png = io.BytesIO()
    Image.new("RGB", (20, 20)).save(png, "PNG")
    contents = tf.constant([png.getvalue(), b"words"])
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["classify"](image_bytes=contents)


def test_wrong_answers_to_pictures_are_not_kept(tmp_path, monkeypatch):
    original = pictures._shown
    calls = []

    def shown(image, preprocessing):  # another crop in the file than outside
        calls.append(image)
        if not tf.executing_eagerly():
            preprocessing = dataclasses.replace(
                preprocessing, crop_fraction=0.5
            )
        return original(image, preprocessing)

    monkeypatch.setattr(pictures, "_shown", shown)
    with pytest.raises(ExportMismatch, match="outputs for images differ"):
        eca_keras.export_saved_model(
            classifier(first=[layers.Rescaling(1 / 255)]),
            tmp_path / "net",
            preprocessing=settings(),
        )
    assert calls
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"preprocessing": "bilinear"}, "`preprocessing` must be an eca_kera"),
        (
            {"preprocessing": settings(channels=1)},
            "`preprocessing` must make what the model takes.* 16 x 16 x 1",
        ),
        (
            {"preprocessing": settings(classes=5)},
            "`preprocessing` must have one label per output.*5 labels",
        ),
        (
            {"preprocessing": settings(), "labels": list("abcdef")},
            "`labels` must be None or those of `preprocessing`",
        ),
        ({"serving_version": 0}, "`serving_version` must be a positive int"),
        ({"serving_version": "1"}, "`serving_version` must be a positive int"),
    ],
)
def test_wrong_arguments(arguments, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        eca_keras.export_saved_model(
            classifier(), tmp_path / "net", **arguments
        )
    assert not os.listdir(tmp_path)


def test_logits_are_no_probabilities(tmp_path):
    with pytest.raises(ValueError, match="`model` must return probabilities"):
        eca_keras.export_saved_model(
            classifier(activation="linear"),
            tmp_path / "net",
            preprocessing=settings(),
        )
    assert not os.listdir(tmp_path)


def test_another_version_goes_beside(tmp_path):
    net = randomised(small_net())
    for version in (1, 2):
        eca_keras.export_saved_model(
            net, tmp_path / "net", serving_version=version
        )
    assert sorted(os.listdir(tmp_path / "net")) == ["1", "2"]
    assert not (tmp_path / "net" / "saved_model.pb").exists()
