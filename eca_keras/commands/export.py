"""`eca-keras export`."""

import dataclasses
import pathlib
import typing

import tyro

from eca_keras.commands.evaluate import check_choice
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
        batch_size: For tflite and onnx: images that the file takes at once, 0
            for any number; by default 1 for tflite and any for onnx.
        opset: For onnx: version of its operations, 11 to 18.
        channels_first: For onnx: take images of shape (batch, channels,
            height, width).
        with_preprocessing: For saved_model: also take image files and pixels
            of any size, and answer with labels.
        serving_version: For saved_model: write to the folder of this number
            in OUTPUT, as TensorFlow Serving expects it.
    """

    output: typing.Annotated[pathlib.Path, tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/digits")
    format: str = "tflite"
    quantize: str | None = None
    input_type: str | None = None
    output_type: str | None = None
    batch_size: int | None = None
    opset: int | None = None
    channels_first: bool = False
    with_preprocessing: bool = False
    serving_version: int | None = None

    def run(self):
        given = export_options(self)
        from eca_keras.training.trained import Trained

        trained = Trained.load(self.model)
        print(export_model(trained, self.format, self.output, **given))


# Options that only some formats have, and which.
OPTIONS = {
    "quantize": ("tflite",),
    "input_type": ("tflite",),
    "output_type": ("tflite",),
    "batch_size": ("tflite", "onnx"),
    "opset": ("onnx",),
    "channels_first": ("onnx",),
    "with_preprocessing": ("saved_model",),
    "serving_version": ("saved_model",),
}


def export_options(command):
    """Returns the options of an export that were given, by name.

    Args:
        command: An export command: what it has of `OPTIONS`, and `format`.

    Raises:
        InputError: if there is no such format, or it has not those options.
    """
    check_choice("format", command.format, EXPORTS)
    given = {}
    for name, formats in OPTIONS.items():
        value = getattr(command, name, None)
        if value is None or value is False:
            continue
        if command.format not in formats:
            raise InputError(
                f"`{name}` must only be given with format="
                f"{' or '.join(map(repr, formats))}. Received: "
                f"{name}={value!r}, format={command.format!r}"
            )
        given[name] = value
    if given.get("batch_size") == 0:
        given["batch_size"] = None
    return given


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
    function = export_function(format)
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
    if options.pop("with_preprocessing", format != "saved_model"):
        # The model of a `Trained` normalises by itself.
        options["preprocessing"] = dataclasses.replace(
            trained.preprocessing, mean=None, std=None
        )
    return function(
        trained.model,
        path,
        samples=trained.samples(**counts),
        labels=list(trained.preprocessing.labels),
        **options,
    )


def export_function(format):
    """Returns the function that writes one of `EXPORTS`."""
    from eca_keras import export

    return {
        "saved_model": export.export_saved_model,
        "tflite": export.export_tflite,
        "onnx": export.export_onnx,
    }[format]
