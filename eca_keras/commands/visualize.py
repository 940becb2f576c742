"""`eca-keras visualize`."""

import dataclasses
import pathlib
import sys
import typing

import tyro

from eca_keras.commands.evaluate import check_part
from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Visualize:
    """Draw what the attention of a trained model does, and where it looks.

    Writes a folder: index.html with all pictures in it (the channel weights
    of each layer by class, their distribution in each stage, the kernels,
    Grad-CAM), the pictures as PNG, and their numbers as CSV and NPZ.

    Args:
        model: Folder that `eca-keras train` wrote, or a .keras file in it.
        output: The folder to write; by default NAME.pictures beside
            NAME.keras. An earlier one is replaced.
        data: The images, as in `eca-keras train`; by default those of the
            training run.
        part: 'train', 'validation' or 'test'; by default the test images, or
            the validation images where there are none.
        classes: Names of the classes to compare, at most 6; by default 4.
        images: Images of each class to measure.
        heat_maps: Images of each class to draw with Grad-CAM.
        layer: Name of the layer for Grad-CAM; by default the last that gives
            a map.
        batch_size: Images per step.
    """

    model: typing.Annotated[pathlib.Path, tyro.conf.Positional] = pathlib.Path(
        "runs/digits"
    )
    output: pathlib.Path | None = None
    data: str | None = None
    part: str | None = None
    classes: tuple[str, ...] = ()
    images: int = 32
    heat_maps: int = 3
    layer: str | None = None
    batch_size: int = 32

    def _check(self):
        for name in ("images", "heat_maps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"`{name}` must be at least 1. "
                    f"Received: {name}={getattr(self, name)}"
                )
        check_part(self.part)

    def run(self):
        self._check()
        from eca_keras.training.trained import Trained
        from eca_keras.visualize import report
        from eca_keras.visualize import sample

        trained = Trained.load(self.model)
        taken = sample.take(
            trained, self.data, self.part, self.classes, self.images
        )
        try:
            findings = report.measure(
                trained.model,
                taken,
                heat_maps=self.heat_maps,
                layer=self.layer,
                batch_size=self.batch_size,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        if findings.note:
            print(f"eca-keras: {findings.note}", file=sys.stderr, flush=True)
        output = self.output or trained.path.with_suffix(".pictures")
        report.write(
            output,
            findings,
            taken,
            name=str(trained.path),
            labels=trained.preprocessing.labels,
        )
        print(f"written: {output / report.PAGE}")
