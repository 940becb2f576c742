"""Labels and preprocessing constants that travel inside an exported file.

A TFLite file gets them as TFLite Metadata packs the files that go with a
model: a zip archive after the model, not compressed, which interpreters do not
look at and any zip reader opens. The other half of that convention, a
flatbuffer that says what each tensor is, is left out. Both of its writers
failed where TensorFlow 2.21 works: tflite-support 0.4.4, of 2023 and the last,
needs protobuf below 4, where TensorFlow needs 6.31 or newer; that in mediapipe
1.2.2 imports a compiled module which its Linux wheel does not have. And its
`NormalizationOptions` know neither the crop nor the interpolation, without
which an image is not the one that the network was measured on.

An ONNX file gets them as its `metadata_props`.
"""

import dataclasses
import json
import zipfile

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import InputError
from eca_keras.export import checks

# The earliest that a zip archive can say: equal models make equal files.
DATE = (1980, 1, 1, 0, 0, 0)


def check(preprocessing, labels, model):
    """Returns the labels to use, after checking that all three fit.

    Args:
        preprocessing: `Preprocessing` or `None`.
        labels: List of strings or `None`.
        model: Model with one input and one output.
    """
    if preprocessing is None:
        return labels
    if not isinstance(preprocessing, Preprocessing):
        raise InputError(
            "`preprocessing` must be an eca_keras Preprocessing or None. "
            f"Received: preprocessing={preprocessing!r}"
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
    if labels is not None and tuple(labels) != preprocessing.labels:
        raise InputError(
            "`labels` must be None or those of `preprocessing`. Received: "
            "other labels"
        )
    return list(preprocessing.labels)


def texts(preprocessing, labels):
    """Returns a dictionary from the names of the small files to their text."""
    files = {}
    if labels is not None:
        files[checks.LABELS] = "".join(f"{label}\n" for label in labels)
    if preprocessing is not None:
        files[Preprocessing.FILE] = preprocessing.text()
    return files


def fields(preprocessing):
    """Returns the preprocessing as a dictionary, `None` as it is."""
    if preprocessing is None:
        return None
    return dataclasses.asdict(preprocessing)


def append(file, preprocessing, labels):
    """Appends the small files to a TFLite file, as a zip archive."""
    contents = texts(preprocessing, labels)
    if not contents:
        return
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in contents.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), text.encode())


def add_properties(proto, preprocessing, labels):
    """Adds `labels`, a JSON list, and `preprocessing` to an ONNX model."""
    values = {}
    if labels is not None:
        values["labels"] = list(labels)
    if preprocessing is not None:
        values["preprocessing"] = fields(preprocessing)
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False)
        proto.metadata_props.add(key=name, value=text)
