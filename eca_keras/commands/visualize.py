"""`eca-keras visualize`."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Annotated
from typing import Literal

from tyro.conf import Positional

from eca_keras.commands import runs
from eca_keras.errors import InputError
from eca_keras.utils.checks import check_count

HEAT_MAPS = 3  # of each class of a classifier


@dataclasses.dataclass(frozen=True)
class Visualize:
    """Draw what the attention of a trained network does, and Grad-CAM.

    Writes a folder: index.html with all figures in it (the channel weights
    of each layer by class, their distribution in each stage, the kernels,
    Grad-CAM), the figures as PNG, and their numbers as CSV and NPZ. Of a
    detector the backbone is looked at, without Grad-CAM, and an image belongs
    to the class of its largest object.

    Args:
        model: Folder of a run, or a .keras file in it.
        output: The folder to write; by default NAME.figures beside
            NAME.keras. An earlier one is replaced.
        data: Dataset, as in `eca-keras train`; by default that of the run.
        split: Images to take: 'train', 'validation' or 'test'. By default
            the test images, or else the validation images.
        classes: Names of the classes to compare, at most 6; by default 4.
        images: Images of each class to measure.
        heat_maps: Images of each class to draw with Grad-CAM; by default 3.
            For classifiers.
        layer: Name of the layer for Grad-CAM; by default the last that gives
            a feature map. For classifiers.
        batch_size: Images per step.
        trust: Open a model file with whatever is in it. Code in the file
            runs; without, a file is checked and refused.
    """

    model: Annotated[pathlib.Path, Positional] = runs.DEFAULT
    output: pathlib.Path | None = None
    data: str | None = None
    split: Literal["train", "validation", "test"] | None = None
    classes: tuple[str, ...] = ()
    images: int = 32
    heat_maps: int | None = None
    layer: str | None = None
    batch_size: int = 32
    trust: bool = False

    ALIASES = {"path": "output"}
    EXAMPLES = (
        "eca-keras visualize runs/digits",
        'eca-keras visualize runs/fashion --classes Sandal "Ankle boot"',
    )

    def check(self) -> None:
        check_count("images", self.images)
        check_count("heat_maps", self.heat_maps, none=True)
        check_count("batch_size", self.batch_size)

    def run(self) -> None:
        from eca_keras.visualize import report
        from eca_keras.visualize import sample

        trained = runs.load(self, classifier=("heat_maps", "layer"))
        heat_maps = 0 if trained.kind == "detector" else HEAT_MAPS
        taken = sample.take(
            trained, self.data, self.split, self.classes, self.images
        )
        try:
            findings = report.measure(
                taken,
                heat_maps=self.heat_maps or heat_maps,
                layer=self.layer,
                batch_size=self.batch_size,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        if findings.note:
            print(f"eca-keras: {findings.note}", file=sys.stderr, flush=True)
        output = self.output or trained.path.with_suffix(".figures")
        report.write(
            output,
            findings,
            taken,
            name=str(trained.path),
            labels=trained.class_names,
        )
        print(f"written: {output / report.PAGE}")
