"""Trained detectors in every format, and where they go from there."""

import subprocess
import sys

import detection_matrix
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter
from export_detectors import as_pixels
from export_detectors import build
from export_detectors import pictures
from export_detectors import trained

import eca_keras
from eca_keras.export import DetectionEndpoint
from eca_keras.export import ExportMismatch
from eca_keras.export.tflite import epsilons

KINDS = ["retinanet", "faster_rcnn", "mask_rcnn"]

# Largest differences seen, and some room: in pixels of 128, of scores, masks.
LIMITS = {"exact": (1e-3, 2e-5, 5e-4), "float16": (0.1, 5e-3, 0.03)}


@pytest.mark.slow
@pytest.mark.parametrize("format", detection_matrix.FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind, format, tmp_path):
    report = detection_matrix.export(trained(kind), format, tmp_path, 8)
    boxes, scores, masks = LIMITS.get(format.split()[-1], LIMITS["exact"])
    assert report.agreement == 1
    assert report.detections >= 20
    assert report.max_box_error < boxes
    assert report.max_score_error < scores
    assert (report.max_mask_error is None) == (kind != "mask_rcnn")
    assert (report.max_mask_error or 0) < masks
    assert detection_matrix.row(kind, format, report)[3].endswith("100.0%")
    if "TFLite" in format:
        assert not any("FLEX" in name.upper() for name in report.ops)
        assert "CUSTOM" not in report.ops


FRESH = """
import sys

for name in ("eca_keras", "keras", "tf_keras"):
    sys.modules[name] = None

import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
with np.load(sys.argv[2]) as arrays:
    for count in (1, 3):
        found = serve(
            images=tf.constant(arrays["images"][:count]),
            sizes=tf.constant(arrays["sizes"][:count]),
        )
        for name, values in found.items():
            np.testing.assert_allclose(
                values, arrays[name][:count], atol=1e-3, err_msg=name
            )
        assert found["count"].shape == (count,)
"""


@pytest.mark.slow
def test_saved_model_alone(tmp_path):
    """In a process that has TensorFlow and nothing of ours."""
    detector = trained("mask_rcnn")
    images, sizes = pictures(3), np.array([[128, 128], [100, 90], [64, 128]])
    eca_keras.export_saved_model(
        DetectionEndpoint(detector, sizes=True),
        tmp_path / "net",
        samples={"images": images, "sizes": sizes},
    )
    sizes = sizes.astype("int32")
    found = detector.predict({"images": images, "sizes": sizes}, verbose=0)
    np.savez(tmp_path / "asked", images=images, sizes=sizes, **found)
    command = [sys.executable, "-I", "-c", FRESH]
    arguments = [tmp_path / "net", tmp_path / "asked.npz"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_float16_needs_its_epsilon(tmp_path, monkeypatch):
    """Without it the suppression loses detections, which is noticed."""
    monkeypatch.setattr(epsilons, "restore", lambda content: (content, 0))
    with pytest.raises(ExportMismatch, match="other detections") as error:
        eca_keras.export_tflite(
            trained("retinanet"),
            tmp_path / "net.tflite",
            samples=pictures(16),
            quantize="float16",
        )
    report = error.value.report
    assert report.agreement < 0.96
    assert report.found < report.detections


def in_precision(kind, precision):
    """A trained detector that computes in half precision."""
    weights = trained(kind).get_weights()
    keras.config.set_dtype_policy(precision)
    try:
        detector = build(kind)
    finally:
        keras.config.set_dtype_policy("float32")
    detector.set_weights(weights)
    return detector


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_saved_model_computes_in_half_precision(precision, tmp_path):
    detector = in_precision("mask_rcnn", precision)
    report = eca_keras.export_saved_model(
        detector, tmp_path / "net", samples=pictures(4)
    )
    assert report.agreement == 1
    assert report.varies


@pytest.mark.slow
def test_half_precision_is_rebuilt_in_float32(tmp_path):
    detector = in_precision("retinanet", "mixed_float16")
    path = tmp_path / "net.tflite"
    endpoint = DetectionEndpoint(detector, sizes=True, pixels="uint8")
    pixels = as_pixels(pictures())
    report = eca_keras.export_tflite(endpoint, path, samples=pixels)
    text = " ".join(str(report).split())
    assert "was rebuilt in float32, which moves boxes by" in text
    assert report.varies
    loaded = interpreter.Interpreter(str(path))
    run = loaded.get_signature_runner()
    sizes = np.array([[128, 128]], "int32")
    found = run(images=pixels[:1], sizes=sizes)
    twin = DetectionEndpoint(trained("retinanet"), pixels="uint8")
    expected = twin(images=tf.constant(pixels[:1]))
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
