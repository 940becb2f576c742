"""The formats of exported files: the one table, without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.utils import checks
from eca_keras.utils import lazy

# For benchmarks: 8 bits cannot resolve the outputs of a fresh network, which
# are nearly constant.
UNCOMPARED = {"least_agreement": 0.0, "tolerance": 1e9}


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        name: Key in `FORMATS`, the value of `--format`.
        title: What sentences call it.
        file: Name of the export in the folder of a run.
        suffix: What the name of a file ends in; `""` for a folder.
        packages: Packages that the export imports.
        options: Options of an export that not every format has.
        function: `module:name` of the function that exports a model. The
            module also has `open_file(path, threads=1)`, which returns a
            function from a batch to the outputs of a file.
        runtimes: Names of runtimes in a benchmark, and for each the arguments
            of `function`.
    """

    name: str
    title: str
    file: str
    suffix: str
    packages: tuple[str, ...]
    options: tuple[str, ...]
    function: str
    runtimes: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )

    def load(self) -> Callable:
        """Return the function that exports a model."""
        return lazy.load(self.function)

    def open_file(self, path: str | os.PathLike, threads: int = 1) -> Callable:
        """Return a function from a batch to the outputs of a file."""
        module, _, _ = self.function.partition(":")
        return lazy.load(f"{module}:open_file")(path, threads)

    def check_packages(self) -> None:
        """Raise ImportError unless all packages are installed."""
        require("export", f"The export to {self.title}", *self.packages)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse options that only other formats have.

        Raises:
            InputError: with the formats that have the option.
        """
        for name, value in options.items():
            owners = [f.name for f in FORMATS.values() if name in f.options]
            if owners and self.name not in owners:
                wanted = " or ".join(f"format={owner!r}" for owner in owners)
                rule = f"must only be given with {wanted}"
                raise checks.refusal(name, value, rule, format=self.name)


_ROWS = (
    Format(
        name="saved_model",
        title="SavedModel",
        file="saved_model",
        suffix="",
        packages=(),
        options=("with_preprocessing", "serving_version"),
        function="eca_keras.export.saved_model:export_saved_model",
    ),
    Format(
        name="tflite",
        title="TFLite",
        file="model.tflite",
        suffix=".tflite",
        packages=("ai_edge_litert",),
        options=("quantize", "input_type", "output_type", "batch_size"),
        function="eca_keras.export.tflite.convert:export_tflite",
        runtimes={
            "tflite": {},
            "tflite-float16": {"quantize": "float16"},
            "tflite-dynamic": {"quantize": "dynamic", **UNCOMPARED},
            "tflite-int8": {"quantize": "int8", **UNCOMPARED},
        },
    ),
    Format(
        name="onnx",
        title="ONNX",
        file="model.onnx",
        suffix=".onnx",
        packages=("tf2onnx", "onnx", "onnxruntime"),
        options=("batch_size", "opset", "channels_first"),
        function="eca_keras.export.onnx:export_onnx",
        runtimes={"onnx": {}},
    ),
)

# Options of an export that only one kind of run has.
KIND_OPTIONS = {
    "classifier": (
        *("with_preprocessing", "channels_first"),
        *("input_type", "output_type"),
    ),
    "detector": ("pixels", "sizes"),
}

FORMATS: dict[str, Format] = {row.name: row for row in _ROWS}


def format_of(path: str | os.PathLike, name: str | None = None) -> Format:
    """Return the format of a file to write.

    Args:
        path: The file, or the folder.
        name: One of `FORMATS`; `None` for the one that the suffix of the
            path says: `.tflite`, `.onnx`, or none for a SavedModel.

    Raises:
        InputError: if there is no such format, no format has the suffix, or
            the name contradicts it.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path.rstrip(os.sep))[1]
    by_suffix = {row.suffix: row for row in FORMATS.values()}
    found = by_suffix.get(suffix)
    if name is None:
        if found is None:
            *others, last = [s for s in by_suffix if s]
            raise InputError(
                f"`path` must end in {', '.join(others)} or {last}, or in no "
                "suffix for the folder of a SavedModel, unless `format` is "
                f"given. Received: path={path}"
            )
        return found
    checks.check_choice("format", name, FORMATS)
    row = FORMATS[name]
    if row.suffix and not path.endswith(row.suffix):
        raise InputError(
            f"`path` must end in {row.suffix}. Received: path={path}"
        )
    if not row.suffix and found not in (None, row):
        raise InputError(
            f"`path` must be a folder for format={name!r}. "
            f"Received: path={path}"
        )
    return row
