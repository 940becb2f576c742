"""Detectors times formats: differences, sizes and operations as Markdown.

python tests/detection_matrix.py
"""

import collections
import pathlib
import tempfile

from export_detectors import pictures
from export_detectors import trained
from export_matrix import markdown

import eca_keras
from eca_keras.export import DetectionEndpoint

DETECTORS = {
    "RetinaNet": "retinanet",
    "Faster R-CNN": "faster_rcnn",
    "Mask R-CNN": "mask_rcnn",
}

FORMATS = {
    "SavedModel": (eca_keras.export_saved_model, "net", {}),
    "TFLite": (eca_keras.export_tflite, "net.tflite", {}),
    "TFLite float16": (
        eca_keras.export_tflite,
        "net.tflite",
        {"quantize": "float16"},
    ),
    "ONNX": (eca_keras.export_onnx, "net.onnx", {}),
}

SAMPLES = 16

TITLES = ("detector", "format", "MB", "detections", "boxes, px", "scores")
TITLES += ("masks", "operations")


def export(detector, format, folder, count=SAMPLES):
    """Exports a trained detector; returns the report."""
    function, name, options = FORMATS[format]
    return function(
        DetectionEndpoint(detector, sizes=True),
        pathlib.Path(folder) / name,
        samples=pictures(count),
        **options,
    )


def row(name, format, report):
    masks = report.max_mask_error
    return (
        name,
        format,
        f"{report.size / 1e6:.2f}",
        f"{report.detections}, {report.agreement:.1%}",
        f"{report.max_box_error:.1e}",
        f"{report.max_score_error:.1e}",
        "" if masks is None else f"{masks:.1e}",
        str(len(report.ops)) if report.ops else "",
    )


def main():
    rows, kinds = [], {}
    for name, kind in DETECTORS.items():
        detector = trained(kind)
        for format in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                report = export(detector, format, folder)
            rows.append(row(name, format, report))
            if format == "TFLite":
                kinds[name] = collections.Counter(report.ops).most_common()
    print(markdown([TITLES, *rows]))
    for name, counts in kinds.items():
        print(f"{name}: {', '.join(f'{n} {x}' for x, n in counts)}\n")


if __name__ == "__main__":
    main()
