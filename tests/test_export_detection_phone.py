"""demos/phone/detect.py: the TFLite file alone, on image files."""

import importlib.util
import pathlib

import numpy as np
import pytest
from export_detectors import CLASSES
from export_detectors import Spots
from export_detectors import as_pixels
from export_detectors import pictures
from export_detectors import spots
from export_detectors import trained
from export_models import randomised
from export_models import small_net
from pictures import photo
from PIL import Image
from test_export_phone import alone

import eca_keras
from eca_keras.applications.detection import paste_masks
from eca_keras.commands.predict import describe
from eca_keras.export import DetectionEndpoint
from eca_keras.images import decode as ours
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.detection.trained import TrainedDetector
from eca_keras.training.detection.transforms import resize_to_fit

SCRIPT = pathlib.Path(__file__).parents[1] / "demos" / "phone" / "detect.py"


def load_script():
    spec = importlib.util.spec_from_file_location("detect", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pictures of other sizes than the detector takes."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for i, (height, width, suffix) in enumerate(
        [(90, 41, "png"), (20, 30, "png"), (64, 96, "jpg"), (33, 200, "png")]
    ):
        paths.append(folder / f"{i}.{suffix}")
        Image.fromarray(photo(height, width, seed=i)).save(paths[-1])
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    with Image.open(paths[2]) as image:
        image.save(folder / "turned.jpg", exif=turned)
    return [*paths, folder / "turned.jpg"]


def settings_of(detector, names):
    height, width, _ = detector.inputs[0].shape[1:]
    return DetectionSettings(names, range(len(names)), height, width)


def test_pixels_are_ours(files):
    script = load_script()
    settings = {
        "height": 32,
        "width": 48,
        "padding": [124, 116, 104],
    }
    sizes = set()
    for path in files:
        pixels, size = script.preprocess(script.read_image(path), settings)
        expected, fitted = resize_to_fit(ours.read(str(path), 3), Spots.SHAPE)
        assert size == tuple(fitted.numpy())
        apart = np.abs(pixels.astype(int) - expected.numpy())
        # Pillow rounds after each direction.
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.3
        sizes.add(size)
    assert len(sizes) == 4  # the padding differs


@pytest.mark.parametrize(
    "pixels", ["uint8", pytest.param(None, marks=pytest.mark.slow)]
)
def test_answers_are_those_of_predict(pixels, files, tmp_path):
    detector = spots()
    settings = settings_of(detector, ["Fleck", "Tüpfel"])
    ours = TrainedDetector(tmp_path / "model.keras", detector, settings)
    endpoint = DetectionEndpoint(
        detector, sizes=True, pixels=pixels, preprocessing=settings
    )
    images = np.stack([photo(*Spots.SHAPE[:2], seed=i) for i in range(4)])
    samples = {"images": images}
    if pixels is None:
        samples["images"] = eca_keras.applications.preprocess_input(images)
    path = tmp_path / "spots.tflite"
    eca_keras.export_tflite(
        endpoint, path, samples=samples, labels=list(settings.class_names)
    )
    detect, count = load_script().Detector(str(path)), 0
    for file in files:
        answer = detect(load_script().read_image(file), threshold=0.8)
        _, expected = ours.predict(file, threshold=0.8)
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected, strict=True):
            # A pixel that is rounded otherwise.
            assert one.label == settings.class_names[other.label]
            assert one.score == pytest.approx(other.score, abs=0.01)
            np.testing.assert_allclose(one.box, other.box, atol=0.3)
            assert one.mask is None
        count += len(answer)
    assert count > 3


@pytest.fixture(scope="module")
def shape_files(tmp_path_factory):
    """Pictures of shapes, the lower half of each at twice the size."""
    folder = tmp_path_factory.mktemp("shapes")
    for i, pixels in enumerate(as_pixels(pictures(3))):
        image = Image.fromarray(pixels[32:])
        image = image.resize((2 * image.width, 2 * image.height))
        image.save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_alone(shape_files, tmp_path):
    """As a user runs it: the same lines as `eca-keras detect predict`."""
    detector = trained("retinanet")
    settings = settings_of(detector, CLASSES)
    path = tmp_path / "shapes.tflite"
    eca_keras.export_tflite(
        DetectionEndpoint(detector, sizes=True, pixels="uint8"),
        path,
        samples=as_pixels(pictures(3)),
        labels=CLASSES,
    )
    done = alone(SCRIPT, path, *shape_files)
    assert (done.returncode, "rror" in done.stderr) == (0, False)
    ours = TrainedDetector(tmp_path / "model.keras", detector, settings)
    expected = [
        line
        for file in shape_files
        for line in describe(
            file, ours.predict(file)[1], settings.class_names
        ).splitlines()
    ]
    ours, theirs = parsed(expected), parsed(done.stdout.splitlines())
    for some, others in ((ours, theirs), (theirs, ours)):
        # Not by their order, nor close to the threshold: a pixel may have
        # been rounded otherwise.
        sure = [one for one in some if one[1] > 55]
        assert len(sure) >= 4
        for place, score, corners in sure:
            apart = [
                max(abs(score - other), *np.abs(corners - others_corners))
                for where, other, others_corners in others
                if where == place
            ]
            assert min(apart) < 1  # per cent, and pixel of 256


def parsed(lines):
    """Picture with label, score in per cent, and corners, of each line."""
    found = []
    for line in lines:
        start, _, corners = line.partition("% at ")
        place, _, score = start.rpartition(" ")
        corners = np.array([float(x) for x in corners.split(", ")])
        found.append((place, float(score), corners))
    return found


@pytest.mark.slow
def test_masks(shape_files, tmp_path):
    detector = trained("mask_rcnn")
    path = tmp_path / "shapes.tflite"
    eca_keras.export_tflite(
        DetectionEndpoint(detector, sizes=True, pixels="uint8"),
        path,
        samples=as_pixels(pictures(3)),
        batch_size=2,
    )
    detect = load_script().Detector(str(path))
    ours = TrainedDetector(
        tmp_path / "model.keras", detector, settings_of(detector, CLASSES)
    )
    count = 0
    for file in shape_files:
        image = load_script().read_image(file)
        _, expected = ours.predict(file)
        for one, other in zip(detect(image), expected, strict=True):
            assert one.label == f"class {other.label}"
            [pasted] = paste_masks([one.mask], [one.box], image.size[::-1])
            assert ((pasted >= 0.5) == other.mask).mean() > 0.995
            count += 1
    assert count >= 3


@pytest.mark.slow
def test_files_that_are_none(files, tmp_path):
    path = tmp_path / "net.tflite"
    eca_keras.export_tflite(randomised(small_net()), path, labels=list("abcde"))
    done = alone(SCRIPT, path, files[0])
    assert done.returncode == 2
    assert "has no detection.json inside" in done.stderr
    done = alone(SCRIPT, tmp_path / "no.tflite", files[0])
    assert done.returncode == 2
    assert "no.tflite cannot be opened: No such file" in done.stderr
    assert "Traceback" not in done.stderr
    detector = spots()
    images = np.stack([photo(*Spots.SHAPE[:2], seed=i) for i in range(4)])
    eca_keras.export_tflite(
        DetectionEndpoint(detector, pixels="uint8"), path, samples=images
    )
    (tmp_path / "words.png").write_text("words")
    done = alone(
        SCRIPT, path, tmp_path / "words.png", files[0], "--threshold", "0.999"
    )
    assert done.returncode == 2
    assert "words.png is not a readable image" in done.stderr
    assert done.stdout == f"{files[0]}: nothing found\n"
