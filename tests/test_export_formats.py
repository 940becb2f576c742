"""The one table of formats: what it infers, what it refuses, one row more."""

import dataclasses
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from export_models import dense_net
from export_models import randomised

from eca_keras.errors import InputError
from eca_keras.export import exporter
from eca_keras.export.formats import FORMATS
from eca_keras.export.formats import Format
from eca_keras.export.formats import format_of
from eca_keras.export.runtimes import RUNTIMES


def test_the_table_costs_nothing():
    code = (
        "import sys, eca_keras.export.formats; print({'tensorflow', 'keras', "
        "'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        ("a.tflite", None, "tflite"),
        ("b/a.onnx", None, "onnx"),
        ("a", None, "saved_model"),
        ("a/", None, "saved_model"),
        ("v1.2", "saved_model", "saved_model"),
        ("a.onnx", "onnx", "onnx"),
    ],
)
def test_format_of_a_path(path, name, found):
    assert format_of(path, name) is FORMATS[found]


@pytest.mark.parametrize(
    ("path", "name", "sentence"),
    [
        ("a.pb", None, "`path` must end in .tflite or .onnx, or in no suffix"),
        ("a.onnx", "tflite", "`path` must end in .tflite. Received: path=a.on"),
        ("a", "onnx", "`path` must end in .onnx. Received: path=a"),
        ("a.onnx", "saved_model", "`path` must be a folder for format='saved"),
        ("a", "caffe", "`format` must be one of saved_model, tflite, onnx."),
    ],
)
def test_paths_that_no_format_has(path, name, sentence):
    with pytest.raises(InputError, match=sentence):
        format_of(path, name)


def test_options_of_other_formats():
    options = {"batch_size": 2, "opset": 17, "pixels": "uint8"}
    FORMATS["onnx"].check_options(options)
    with pytest.raises(InputError, match="with format='onnx'. Received: opset"):
        FORMATS["tflite"].check_options(options)
    with pytest.raises(InputError, match="format='tflite' or format='onnx'. R"):
        FORMATS["saved_model"].check_options({"batch_size": None})


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_rows(row):
    function = row.load()
    assert function.__name__ == f"export_{row.name}"
    taken = set(function.__kwdefaults__) | {"with_preprocessing"}
    assert set(row.options) <= taken
    assert row.runtimes.keys() <= RUNTIMES.keys()
    for options in row.runtimes.values():
        assert options.keys() <= function.__kwdefaults__.keys()


@dataclasses.dataclass
class KerasFile(exporter.Target):
    """A format that this library does not have: one class and one row."""

    format = "keras_file"

    def write(self, endpoint, file, metadata):
        endpoint.model.save(file)
        return {"format": "Keras file"}


def open_file(path, threads=1):
    model = keras.models.load_model(path)
    return lambda batch: {"outputs": model.predict(batch["images"], verbose=0)}


def test_one_row_more(tmp_path, monkeypatch):
    def export_keras_file(model, path, **options):
        return exporter.export(KerasFile(), model, path, **options)

    module = types.ModuleType("keras_file")
    module.export_keras_file, module.open_file = export_keras_file, open_file
    monkeypatch.setitem(sys.modules, "keras_file", module)
    row = Format(
        name="keras_file",
        title="Keras",
        file="model.keras",
        suffix=".keras",
        packages=(),
        options=(),
        function="keras_file:export_keras_file",
    )
    monkeypatch.setitem(FORMATS, row.name, row)
    found = format_of(tmp_path / "net.keras")
    path, labels = tmp_path / "net.keras", list("abcde")
    report = found.load()(randomised(dense_net()), path, labels=labels)
    assert report.passed
    assert report.max_absolute_error < 1e-6
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["net.keras", "net.keras.json", "net.labels.txt"]
    outputs = found.open_file(path)({"images": np.ones((3, 4), "float32")})
    assert outputs["outputs"].shape == (3, 5)
