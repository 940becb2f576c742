"""`eca-keras predict`."""

import dataclasses
import pathlib
import typing

import tyro

from eca_keras.commands.evaluate import check_positive
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

    def _check(self):
        if not self.images:
            raise InputError("`predict` needs at least one image file")
        check_positive("top", self.top)

    def run(self):
        self._check()
        from eca_keras.training.trained import Trained

        trained = Trained.load(self.model)
        problems = []
        for path in self.images:
            try:
                ranking = trained.predict(path)[: self.top]
            except InputError as error:  # the other images get their answer
                problems.append(str(error))
                continue
            answers = (f"{name} {share:.2%}" for name, share in ranking)
            print(f"{path}: {', '.join(answers)}", flush=True)
        if problems:
            raise InputError("; ".join(problems))
