"""`eca-keras predict`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated
from typing import Any

from tyro.conf import Positional

from eca_keras.commands import runs
from eca_keras.errors import InputError
from eca_keras.utils.checks import check
from eca_keras.utils.checks import check_count

TOP = 5
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Predict:
    """Classify images, or find objects in them.

    A classifier prints the most probable classes of each image. A detector
    prints a line for each object: its class, its score, and its box as x1,
    y1, x2, y2 in pixels of the image.

    Args:
        images: Image files: JPEG, PNG, BMP, GIF, WebP or TIFF.
        model: Folder of a run, or a .keras file in it.
        top: Number of classes to print; by default 5. For classifiers.
        threshold: Print objects with a higher score; by default 0.5. Scores
            up to 0.05 are never found. For detectors.
        figures: Folder for the images with the objects drawn into them, such
            as cat.objects.png for cat.jpg; for detectors.
        trust: Open a model file with whatever is in it. Code in the file
            runs; without, a file is checked and refused.
    """

    images: Annotated[tuple[pathlib.Path, ...], Positional]
    model: pathlib.Path = runs.DEFAULT
    top: int | None = None
    threshold: float | None = None
    figures: pathlib.Path | None = None
    trust: bool = False

    EXAMPLES = (
        "eca-keras predict digit.png --model runs/digits --top 1",
        "eca-keras predict *.jpg --model runs/shapes --figures found",
    )

    def check(self) -> None:
        if not self.images:
            raise InputError("`predict` needs at least one image file")
        check_count("top", self.top, none=True)
        if self.threshold is not None:
            holds = 0 <= self.threshold < 1
            rule = "must be at least 0 and below 1"
            check("threshold", self.threshold, holds, rule)
        if self.figures:
            self._check_figures()

    def _check_figures(self):
        if self.figures.exists() and not self.figures.is_dir():
            raise InputError(
                "`figures` must be a folder, but there is a file at "
                f"{self.figures}"
            )
        names = [path.stem for path in self.images]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                "`images` must differ in their names where `figures` are "
                f"written. Received twice: {', '.join(twice)}"
            )
        given = {path.resolve() for path in self.images}
        for path in self.images:
            if self._figure(path).resolve() in given:
                raise InputError(
                    "`figures` must be a folder without the images: "
                    f"{self._figure(path)} would be lost"
                )

    def _figure(self, path):
        return self.figures / f"{path.stem}.objects.png"

    def run(self) -> None:
        trained = runs.load(
            self, classifier=("top",), detector=("threshold", "figures")
        )
        tell = {"classifier": self._classify, "detector": self._detect}
        problems = []
        for path in self.images:
            try:
                print(tell[trained.kind](trained, path), flush=True)
            except InputError as error:  # go on with the other images
                problems.append(str(error))
        if problems:
            raise InputError("; ".join(problems))

    def _classify(self, trained, path):
        ranking = trained.predict(path)[: self.top or TOP]
        classes = (f"{name} {value:.2%}" for name, value in ranking)
        return f"{path}: {', '.join(classes)}"

    def _detect(self, trained, path):
        from eca_keras.training.detection.pictures import write_picture

        threshold = THRESHOLD if self.threshold is None else self.threshold
        image, found = trained.predict(path, threshold)
        names = trained.class_names
        if self.figures:
            write_picture(self._figure(path), image, found, names)
        return describe(path, found, names)


def describe(
    path: str | pathlib.Path, found: Sequence[Any], names: Sequence[str]
) -> str:
    """Return what was found in an image, a line for each object.

    Args:
        path: The image.
        found: List of `Found`.
        names: Names of the classes.
    """
    if not found:
        return f"{path}: nothing found"
    return "\n".join(
        f"{path}: {names[one.label]} {one.score:.2%} at "
        f"{', '.join(f'{value:.1f}' for value in one.box)}"
        for one in found
    )
