"""`eca-keras export`."""

import dataclasses
import pathlib
import typing

import tyro

from eca_keras.errors import InputError
from eca_keras.training.config import EXPORTS


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained model in another format and check what was written.

    Args:
        output: What to write: a folder for saved_model, a file for tflite and
            onnx.
        model: Folder that `eca-keras train` wrote, or a .keras file in it.
        format: 'saved_model', 'tflite' or 'onnx'.
        quantize: For tflite: 'none', 'float16', 'dynamic' (8-bit weights) or
            'int8' (integers throughout, with the ranges of training images).
        input_type: For int8: 'float32', 'int8' or 'uint8'.
        output_type: For int8: 'float32', 'int8' or 'uint8'.
        opset: For onnx: version of its operations, 11 to 18.
        channels_first: For onnx: take images of shape (batch, channels,
            height, width).
    """

    output: typing.Annotated[pathlib.Path, tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/digits")
    format: str = "tflite"
    quantize: str | None = None
    input_type: str | None = None
    output_type: str | None = None
    opset: int | None = None
    channels_first: bool = False

    def _check(self):
        if self.format not in EXPORTS:
            raise InputError(
                f"`format` must be one of {', '.join(EXPORTS)}. "
                f"Received: format={self.format!r}"
            )
        for format, names in OPTIONS.items():
            for name in names:
                value = getattr(self, name)
                if value and format != self.format:
                    raise InputError(
                        f"`{name}` must only be given with format={format!r}. "
                        f"Received: {name}={value!r}, format={self.format!r}"
                    )

    def run(self):
        self._check()
        from eca_keras.training.trained import Trained

        given = {
            name: value
            for name in OPTIONS.get(self.format, ())
            if (value := getattr(self, name))
        }
        trained = Trained.load(self.model)
        print(export_model(trained, self.format, self.output, **given))


# Options that only one format has.
OPTIONS = {
    "tflite": ("quantize", "input_type", "output_type"),
    "onnx": ("opset", "channels_first"),
}

# Images to compare integers on: their agreement is a share, not a bound.
INTEGER_SAMPLES = 256
REPRESENTATIVE_IMAGES = 256


def export_model(trained, format, path, **options):
    """Exports a `Trained` model, compared on images of its own data.

    Args:
        trained: `training.trained.Trained`.
        format: One of `EXPORTS`.
        path: Where to write.
        **options: Further arguments of the format's function.

    Returns:
        The report of the export.
    """
    from eca_keras import export

    function = {
        "saved_model": export.export_saved_model,
        "tflite": export.export_tflite,
        "onnx": export.export_onnx,
    }[format]
    counts = {}
    if options.get("quantize") in ("dynamic", "int8"):
        counts["count"] = INTEGER_SAMPLES
    if options.get("quantize") == "int8":
        images = trained.samples(REPRESENTATIVE_IMAGES, part="train")
        if images is None:
            raise InputError(
                "`quantize='int8'` needs images to learn ranges from, and "
                f"{trained.path} has no data of its own. Pass yours to "
                "`eca_keras.export_tflite(..., representative=...)`"
            )
        options["representative"] = images
    return function(
        trained.model,
        path,
        samples=trained.samples(**counts),
        labels=list(trained.preprocessing.labels),
        **options,
    )
