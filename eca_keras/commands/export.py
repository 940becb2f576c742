"""`eca-keras export`."""

import dataclasses
import pathlib
import typing

import tyro

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained model in another format and check what was written.

    Args:
        output: What to write: a folder for saved_model, a file for tflite.
        model: Folder that `eca-keras train` wrote, or a .keras file in it.
        format: 'saved_model' or 'tflite'.
    """

    output: typing.Annotated[pathlib.Path, tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/digits")
    format: str = "tflite"

    def __post_init__(self):
        if self.format not in FORMATS:
            raise InputError(
                f"`format` must be one of {', '.join(FORMATS)}. "
                f"Received: format={self.format!r}"
            )

    def run(self):
        from eca_keras.training.trained import Trained

        print(export_model(Trained.load(self.model), self.format, self.output))


# Formats, and what `eca-keras train` calls the result.
FORMATS = {"saved_model": "saved_model", "tflite": "model.tflite"}


def export_model(trained, format, path):
    """Exports a `Trained` model, compared on images of its own data.

    Args:
        trained: `training.trained.Trained`.
        format: One of `FORMATS`.
        path: Where to write.

    Returns:
        The report of the export.
    """
    from eca_keras import export

    function = {
        "saved_model": export.export_saved_model,
        "tflite": export.export_tflite,
    }[format]
    return function(
        trained.model,
        path,
        samples=trained.samples(),
        labels=list(trained.preprocessing.labels),
    )
