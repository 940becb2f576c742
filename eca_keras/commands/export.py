"""`eca-keras export`."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated
from typing import Literal

from tyro.conf import Positional

from eca_keras.commands import runs
from eca_keras.export.formats import FORMATS
from eca_keras.export.formats import KIND_OPTIONS
from eca_keras.export.formats import format_of

_TYPES = Literal["float32", "int8", "uint8"]
# Options of a detector, for every format.


def _of(group):
    return dataclasses.field(default=None, metadata={"group": group})


def _flag(group):
    return dataclasses.field(default=False, metadata={"group": group})


@dataclasses.dataclass(frozen=True)
class Export:
    """Export a trained network and compare the file with it.

    An export whose outputs differ from those of the network is deleted. A
    detector is exported with NMS and masks.

    Args:
        output: File or folder to write: .tflite, .onnx, or a folder for a
            SavedModel.
        model: Folder of a run, or a .keras file in it.
        format: Format of the export; by default the suffix of the output
            says it.
        data: Dataset to compare on, as in `eca-keras train`; by default that
            of the run.
        quantize: 'float16', 'dynamic' (8-bit weights) or 'int8' (integers
            throughout, with ranges from training images). A detector takes
            'none' and 'float16'.
        input_type: Type of the input of an int8 file: 'float32', 'int8' or
            'uint8'. For classifiers.
        output_type: Type of the output of an int8 file. For classifiers.
        batch_size: Images per call, 0 for any number; by default 1 for
            TFLite and any for ONNX. Not for a SavedModel.
        opset: Version of ONNX's operations, 11 to 18, of a detector from 12.
        channels_first: Take images of shape (batch, channels, height, width).
            For classifiers.
        with_preprocessing: Also take encoded images and pixels of any size,
            and return labels. For classifiers.
        serving_version: Write to the subfolder of this number, as TensorFlow
            Serving expects.
        pixels: Take pixels from 0 to 255 of this type and normalize them in
            the file; by default it takes images as `preprocess_input` makes
            them.
        sizes: Take the sizes of the images within the padding, too, and keep
            detections out of the padding.
        trust: Open a model file with whatever is in it. Code in the file
            runs; without, a file is checked and refused.
    """

    output: Annotated[pathlib.Path, Positional]
    model: pathlib.Path = runs.DEFAULT
    format: str | None = dataclasses.field(
        default=None, metadata={"choices": tuple(FORMATS)}
    )
    data: str | None = None
    quantize: Literal["none", "float16", "dynamic", "int8"] | None = _of(
        "TFLite"
    )
    input_type: _TYPES | None = _of("TFLite")
    output_type: _TYPES | None = _of("TFLite")
    batch_size: int | None = None
    opset: int | None = _of("ONNX")
    channels_first: bool = _flag("ONNX")
    with_preprocessing: bool = _flag("SavedModel")
    serving_version: int | None = _of("SavedModel")
    pixels: Literal["uint8", "float32"] | None = _of("detector")
    sizes: bool = _flag("detector")
    trust: bool = False

    ALIASES = {"path": "output"}
    EXAMPLES = (
        "eca-keras export digits.tflite --model runs/digits --quantize int8",
        "eca-keras export detector.onnx --model runs/shapes --pixels uint8",
    )

    def check(self) -> None:
        format_of(self.output, self.format).check_options(self._options())

    def _options(self):
        """Return the options that were given, by name."""
        names = {
            name
            for row in FORMATS.values()
            for name in (*row.options, *KIND_OPTIONS["detector"])
        }
        return {
            name: value
            for name in sorted(names)
            if runs.given(value := getattr(self, name))
        }

    def run(self) -> None:
        options = self._options()
        if options.get("batch_size") == 0:
            options["batch_size"] = None
        report = runs.load(self).export(
            self.output, self.format, data=self.data, **options
        )
        print(report)
