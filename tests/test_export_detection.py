"""Detectors as files: what they take, answer, hold and refuse."""

import dataclasses
import json
import os
import pathlib
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter
from export_detectors import Spots
from export_detectors import as_pixels
from export_detectors import noise
from export_detectors import spots
from export_models import FORMATS
from export_models import content

import eca_keras
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.export import DetectionEndpoint
from eca_keras.export import DetectionReport
from eca_keras.export import ExportMismatch
from eca_keras.export import exporter

NAMES = ["boxes", "count", "labels", "scores"]
LABELS = ["Fleck", "Tüpfel"]


@pytest.fixture(scope="module")
def detector():
    return spots()


def formats(*slow):
    """Formats as parameters, some of them for slow tests alone."""
    return [
        pytest.param(name, marks=pytest.mark.slow if name in slow else ())
        for name in FORMATS
    ]


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that takes bytes and sizes, and what it was compared on."""

    path: pathlib.Path
    report: DetectionReport
    inputs: dict
    expected: dict


SIZES = np.array([[32, 48], [9, 48], [32, 17], [20, 20]])


@pytest.fixture(scope="module", params=FORMATS)
def written(request, detector, tmp_path_factory):
    function, name = FORMATS[request.param]
    path = tmp_path_factory.mktemp("written") / name
    inputs = {"images": as_pixels(noise()), "sizes": SIZES.astype("int32")}
    report = function(
        DetectionEndpoint(detector, sizes=True, pixels="uint8"),
        path,
        samples={**inputs, "sizes": SIZES.astype("float32")},
        labels=LABELS,
    )
    images = eca_keras.applications.preprocess_input(inputs["images"])
    expected = detector.predict({**inputs, "images": images}, verbose=0)
    return Written(path, report, inputs, expected)


def ask_saved_model(path, inputs):
    # The signature does not keep the SavedModel alive.
    loaded = tf.saved_model.load(path)
    inputs = {name: tf.constant(values) for name, values in inputs.items()}
    answer = loaded.signatures["serving_default"](**inputs)
    return {name: tensor.numpy() for name, tensor in answer.items()}


def ask_tflite(path, inputs):
    """Image by image: the file is for a batch of 1."""
    loaded = interpreter.Interpreter(str(path))
    run = loaded.get_signature_runner()
    answers = [
        {
            name: values.copy()
            for name, values in run(
                **{name: values[i : i + 1] for name, values in inputs.items()}
            ).items()
        }
        for i in range(len(inputs["images"]))
    ]
    return {
        name: np.concatenate([answer[name] for answer in answers])
        for name in answers[0]
    }


def ask_onnx(path, inputs):
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


ASK = {"net": ask_saved_model, "net.tflite": ask_tflite, "net.onnx": ask_onnx}


def check_alike(answer, expected):
    assert sorted(answer) == sorted(expected)
    for name, values in expected.items():
        assert answer[name].dtype == np.asarray(values).dtype
        np.testing.assert_allclose(
            answer[name], values, rtol=0, atol=1e-4, err_msg=name
        )


# What is written


@pytest.mark.slow
@pytest.mark.parametrize("format", formats("onnx"))
def test_file_answers_what_predict_answers(format, detector, tmp_path):
    function, name = FORMATS[format]
    function(detector, tmp_path / name, samples=noise())
    images = noise(3, seed=2)
    expected = detector.predict(images, verbose=0)
    assert 0 < expected["count"].min() < expected["count"].max()
    assert sorted(expected) == NAMES
    check_alike(ASK[name](tmp_path / name, {"images": images}), expected)


@pytest.mark.slow
def test_file_takes_pixels_and_sizes(written, detector):
    answer = ASK[written.path.name](written.path, written.inputs)
    check_alike(answer, written.expected)
    for boxes, (height, width) in zip(answer["boxes"], SIZES, strict=True):
        assert (boxes <= [width, height, width, height]).all()
    whole = detector.predict(
        eca_keras.applications.preprocess_input(written.inputs["images"]),
        verbose=0,
    )
    assert (whole["boxes"][1, :, 3] > 9).any()  # the sizes matter


def test_report(written):
    report = written.report
    count = written.expected["count"].sum()
    assert report.detections == report.found == count > 8
    assert (report.agreement, report.least_agreement) == (1, 0.99)
    assert report.tolerance == 1e-4
    assert report.allowed_pixels == pytest.approx(32e-4)
    assert report.max_box_error < 1e-4
    assert report.max_score_error < 1e-5
    assert report.max_mask_error is None
    assert report.samples == 4
    assert f"{report.detections}, in the file {report.found}" in str(report)
    assert "100.0 % (needed 99 %)" in str(report)
    [text] = [
        data
        for name, data in content(written.path.parent).items()
        if name.endswith(("report.json", f"{written.path.name}.json"))
    ]
    figures = json.loads(text)
    assert figures["passed"] is figures["varies"] is True
    assert figures["detections"] == report.detections
    assert figures["preprocessing"]["class_names"] == LABELS


def small_files(path):
    """The labels and settings that are in a file."""
    if path.suffix == ".onnx":
        properties = onnx.load(path).metadata_props
        values = {x.key: json.loads(x.value) for x in properties}
        return values["labels"], values["detection"]
    if path.is_dir():
        texts = {
            name: (path / "assets.extra" / name).read_bytes()
            for name in ("labels.txt", "detection.json")
        }
    else:
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()}
    labels = texts["labels.txt"].decode().splitlines()
    return labels, json.loads(texts["detection.json"])


def test_settings_are_in_the_file(written):
    labels, settings = small_files(written.path)
    assert labels == settings.pop("class_names") == LABELS
    assert settings == {
        "height": 32,
        "width": 48,
        "channels": 3,
        "mean": None,  # the file normalizes
        "std": None,
        "padding": [124, 116, 104],
    }


def test_moments():
    """Those of `preprocessing`, in the file or in front of it."""
    preprocessing = Preprocessing(
        labels=("a",),
        image_size=8,
        channels=3,
        crop_fraction=1.0,
        mean=(0.5, 0.4, 0.3),
        std=(0.1, 0.2, 0.3),
    )
    detector = spots()
    outside = DetectionEndpoint(detector, preprocessing=preprocessing)
    settings = outside.metadata(None, None).preprocessing
    assert settings["class_names"] is None
    assert (settings["mean"], settings["std"]) == (
        preprocessing.mean,
        preprocessing.std,
    )
    inside = DetectionEndpoint(
        detector, pixels="float32", preprocessing=preprocessing
    )
    settings = inside.metadata(None, None).preprocessing
    assert settings["mean"] is settings["std"] is None
    pixels = as_pixels(noise()).astype("float32")
    normalized = (pixels / 255 - preprocessing.mean) / preprocessing.std
    found = inside(images=pixels)
    expected = outside(images=normalized.astype("float32"))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-3)
    assert found["count"].numpy().sum() > 0


@pytest.mark.parametrize(
    "batch_size", [3, pytest.param(None, marks=pytest.mark.slow)]
)
def test_tflite_batch_size(batch_size, detector, tmp_path):
    path = tmp_path / "net.tflite"
    report = eca_keras.export_tflite(
        detector, path, samples=noise(), batch_size=batch_size
    )
    assert report.samples == 4  # 3 does not divide it
    images = noise(3, seed=2)
    loaded = interpreter.Interpreter(str(path))
    answer = loaded.get_signature_runner()(images=images)
    check_alike(answer, detector.predict(images, verbose=0))


def onnx_shapes(path):
    graph = onnx.load(path).graph
    return {
        tensor.name: [
            dim.dim_param or dim.dim_value
            for dim in tensor.type.tensor_type.shape.dim
        ]
        for tensor in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize("written", ["onnx"], indirect=True)
def test_onnx_names_and_shapes(written):
    assert onnx_shapes(written.path) == {
        "images": ["batch", *Spots.SHAPE],
        "sizes": ["batch", 2],
        "boxes": ["batch", 10, 4],
        "scores": ["batch", 10],
        "labels": ["batch", 10],
        "count": ["batch"],
    }
    # Those of the loops of the suppression are counted, too.
    nodes = onnx.load(written.path).graph.node
    assert len(written.report.ops) > len(nodes)


@pytest.mark.slow
def test_onnx_layout(detector, tmp_path):
    path = tmp_path / "net.onnx"
    eca_keras.export_onnx(
        DetectionEndpoint(detector, sizes=True),
        path,
        samples=noise(),
        channels_first=True,
        batch_size=2,
    )
    assert onnx_shapes(path)["images"] == [2, 3, *Spots.SHAPE[:2]]
    assert onnx_shapes(path)["boxes"] == [2, 10, 4]
    images, sizes = noise(2, seed=2), np.array([[30, 40], [32, 20]], "int32")
    inputs = {"images": images.transpose(0, 3, 1, 2), "sizes": sizes}
    check_alike(
        ask_onnx(path, inputs),
        detector.predict({"images": images, "sizes": sizes}, verbose=0),
    )


@pytest.mark.slow
@pytest.mark.parametrize("opset", [12, 18])
def test_onnx_opset(opset, detector, tmp_path):
    path = tmp_path / "net.onnx"
    report = eca_keras.export_onnx(detector, path, samples=noise(), opset=opset)
    assert report.varies
    assert f"opset {opset}" in str(report)


@pytest.mark.slow
def test_onnx_opset_without_the_operations(detector, tmp_path):
    with pytest.raises(ValueError, match="from 12 to 18. Received: opset=11"):
        eca_keras.export_onnx(
            detector, tmp_path / "net.onnx", samples=noise(), opset=11
        )
    assert not os.listdir(tmp_path)


# What is compared


@pytest.mark.parametrize("format", formats("tflite", "onnx"))
def test_mismatch(format, detector, tmp_path, monkeypatch):
    original = exporter.file_outputs

    def outputs(*arguments):
        answers = original(*arguments)
        return {**answers, "boxes": answers["boxes"] + 0.1}

    monkeypatch.setattr(exporter, "file_outputs", outputs)
    function, name = FORMATS[format]
    with pytest.raises(ExportMismatch, match="(?s)0.0% .*not kept") as error:
        function(detector, tmp_path / name, samples=noise())
    assert error.value.report.max_box_error == pytest.approx(0.1, rel=0.01)
    assert not os.listdir(tmp_path)


def test_samples_without_detections(detector, tmp_path):
    path = tmp_path / "net"
    black = np.zeros((3, *Spots.SHAPE), "float32")
    with pytest.raises(ValueError, match="nothing.*3 samples with no detec"):
        eca_keras.export_saved_model(detector, path, samples=black)
    assert not os.listdir(tmp_path)
    report = eca_keras.export_saved_model(
        detector, path, samples=black, allow_constant=True
    )
    assert report.passed
    assert not report.varies
    assert "this comparison proves little" in " ".join(str(report).split())


# What is refused


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"labels": ["a"]}, "`labels` must be .*, so 2"),
        ({"tolerance": 0}, "`tolerance` must be a positive"),
        (
            {"samples": {"images": noise(), "sizes": np.ones((4, 2))}},
            "`samples` must be images alone",
        ),
        ({"samples": noise()[:, :9]}, r"shape \(count, 32, 48, 3\)"),
        (
            {"preprocessing": Preprocessing(("a", "b"), 8, 3, 1.0)},
            "`preprocessing` must be None for a detector",
        ),
    ],
)
def test_wrong_arguments(format, arguments, sentence, detector, tmp_path):
    function, name = FORMATS[format]
    arguments = {"samples": noise(), **arguments}
    with pytest.raises(ValueError, match=sentence):
        function(detector, tmp_path / name, **arguments)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("quantize", ["dynamic", "int8"])
def test_8_bits_are_refused(quantize, detector, tmp_path):
    with pytest.raises(ValueError, match=f"boxes move.*'{quantize}'"):
        eca_keras.export_tflite(
            detector, tmp_path / "a.tflite", quantize=quantize
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pixels": "int8"}, "`pixels` must be None, 'uint8' or 'float32'"),
        (
            {"preprocessing": Preprocessing(("a", "b"), 8, 3, 1.0)},
            "`preprocessing` must have a mean",
        ),
    ],
)
def test_wrong_endpoints(options, sentence, detector):
    with pytest.raises(ValueError, match=sentence):
        DetectionEndpoint(detector, **options)


def test_endpoint_is_for_detectors(detector):
    with pytest.raises(ValueError, match="`detector` must be a RetinaNet"):
        DetectionEndpoint(detector.layers[1])


@pytest.mark.parametrize(
    "sizes",
    [
        np.ones((3, 2)),
        np.full((4, 2), 33),
        np.zeros((4, 2)),
        np.full((4, 2), 1.5),
        np.full((4, 2), np.nan),
    ],
)
def test_wrong_sizes(sizes, detector):
    endpoint = DetectionEndpoint(detector, sizes=True)
    samples = {"images": noise(), "sizes": sizes}
    with pytest.raises(ValueError, match="`sizes` of shape .count, 2., whole"):
        endpoint.samples(samples, Spots.SHAPE)


def test_generated_samples(detector):
    """Where none are given: of the type and range that the file takes."""
    plain = DetectionEndpoint(detector).samples(None, Spots.SHAPE)["images"]
    assert (plain.shape, plain.dtype) == ((8, *Spots.SHAPE), "float32")
    assert -6 < plain.min() < -1
    pixels = DetectionEndpoint(detector, pixels="uint8", sizes=True)
    samples = pixels.samples(None, Spots.SHAPE)
    assert samples["images"].dtype == "uint8"
    assert np.ptp(samples["images"]) > 200
    # Some leave a part out, so that it shows whether the file heeds them.
    sizes = samples["sizes"].tolist()
    assert sizes[:4] == [[32, 48], [32, 36], [24, 48], [32, 48]]


@pytest.mark.parametrize(
    "names", [(), ("sizes",), ("image",), ("images", "size")]
)
def test_wrong_names_of_samples(names, detector):
    endpoint = DetectionEndpoint(detector, sizes=True)
    with pytest.raises(ValueError, match="`samples` must have `images`, and"):
        endpoint.samples(dict.fromkeys(names, noise()), Spots.SHAPE)
