"""`eca-keras predict`."""

import dataclasses
import pathlib
import typing

import tyro

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Predict:
    """Name the likeliest classes of image files.

    Args:
        images: Image files: JPEG, PNG, BMP or GIF.
        model: Folder that `eca-keras train` wrote, or a .keras file in it.
        top: How many classes to print for each image.
    """

    images: typing.Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/digits")
    top: int = 5

    def __post_init__(self):
        if not self.images:
            raise InputError("`predict` needs at least one image file")
        if self.top < 1:
            raise InputError(
                f"`top` must be at least 1. Received: top={self.top}"
            )

    def run(self):
        from eca_keras.training.trained import Trained

        trained = Trained.load(self.model)
        for path in self.images:
            ranking = trained.predict(path)[: self.top]
            answers = (f"{name} {share:.2%}" for name, share in ranking)
            print(f"{path}: {', '.join(answers)}")
