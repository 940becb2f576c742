"""Labels and preprocessing constants that travel inside an exported file.

A TFLite file gets them as TFLite Metadata packs files: a zip archive after the
model, not compressed, which interpreters do not look at and any zip reader
opens. The other half of TFLite Metadata, a flatbuffer that describes each
tensor, is left out: neither of its writers (tflite-support 0.4.4, mediapipe
1.2.2) runs beside TensorFlow 2.21, and its `NormalizationOptions` have neither
the crop nor the interpolation. An ONNX file gets them as its `metadata_props`.
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
import zipfile
from typing import Any

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import InputError
from eca_keras.utils import checks

LABELS = "labels.txt"

# The earliest that a zip archive can say: equal models make equal files.
DATE = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What travels inside a file.

    Attributes:
        labels: List of the names of the classes, or `None`.
        preprocessing: What images go through before the file, a dictionary,
            or `None`.
        file: What the preprocessing is called as a file.
    """

    labels: list[str] | None
    preprocessing: dict[str, Any] | None
    file: str = Preprocessing.FILE

    def texts(self):
        """Return the small files: a dictionary from names to their text."""
        files = {}
        if self.labels is not None:
            files[LABELS] = "".join(f"{label}\n" for label in self.labels)
        if self.preprocessing is not None:
            text = json.dumps(self.preprocessing, indent=2)
            files[self.file] = f"{text}\n"
        return files

    def append(self, path):
        """Append the small files to a TFLite file, as a zip archive."""
        contents = self.texts()
        if not contents:
            return
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in contents.items():
                archive.writestr(zipfile.ZipInfo(name, DATE), text.encode())

    def add_properties(self, proto):
        """Add `labels`, a JSON list, and the preprocessing to ONNX."""
        name = self.file.removesuffix(".json")
        values = {"labels": self.labels, name: self.preprocessing}
        for key, value in values.items():
            if value is not None:
                text = json.dumps(value, ensure_ascii=False)
                proto.metadata_props.add(key=key, value=text)


def of_network(model, labels, preprocessing):
    """Return the `Metadata` of a network, after checking that all three fit.

    Args:
        model: Model with one input and one output.
        labels: List of strings or `None`.
        preprocessing: `Preprocessing` or `None`.
    """
    fields = None
    if preprocessing is not None:
        _check_preprocessing(model, preprocessing)
        if labels is not None and tuple(labels) != preprocessing.labels:
            raise InputError(
                "`labels` must be None or those of `preprocessing`. "
                "Received: other labels"
            )
        labels = list(preprocessing.labels)
        fields = dataclasses.asdict(preprocessing)
    check_labels(labels, model.outputs[0].shape[-1])
    return Metadata(labels, fields)


def check_labels(labels, classes):
    """Check that there is one line of text for each class."""
    if labels is None:
        return
    one_line = isinstance(labels, (list, tuple)) and all(
        isinstance(label, str) and label.splitlines() == [label]
        for label in labels
    )
    if not one_line or len(labels) != classes:
        raise InputError(
            "`labels` must be a list of non-empty strings without line "
            f"breaks, one per output of the model, so {classes}. "
            f"Received: labels={reprlib.repr(labels)}"
        )


def write_text(path, text):
    """Write text as UTF-8, with line breaks as they are everywhere."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _check_preprocessing(model, preprocessing):
    checks.check(
        "preprocessing",
        preprocessing,
        isinstance(preprocessing, Preprocessing),
        "must be an eca_keras Preprocessing or None",
    )
    size, channels = preprocessing.image_size, preprocessing.channels
    shape, classes = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    fits = len(shape) == 3 and all(
        n in (None, m)
        for n, m in zip(shape, (size, size, channels), strict=True)
    )
    if not fits or channels not in (1, 3):
        raise InputError(
            "`preprocessing` must make what the model takes, grey or colour "
            f"images. Received: {size} x {size} x {channels} for a model for "
            f"{tuple(shape)}"
        )
    if tuple(classes) != (len(preprocessing.labels),):
        raise InputError(
            "`preprocessing` must have one label per output of the model. "
            f"Received: {len(preprocessing.labels)} labels for outputs of "
            f"shape {tuple(classes)}"
        )
