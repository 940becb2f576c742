"""How the images of a network are made: settings that go with its weights."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Literal
from typing import get_args

from eca_keras.errors import InputError
from eca_keras.utils import checks
from eca_keras.utils.files import write_text
from eca_keras.utils.types import PathLike

Interpolation = Literal["bilinear", "bicubic"]
INTERPOLATIONS = get_args(Interpolation)

# What the settings of a detector are called as a file.
DETECTION_FILE = "detection.json"


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What an image goes through before a network, kept beside the network.

    Attributes:
        labels: Names of the classes, in the order of the outputs.
        image_size: Height and width of the network's input, in pixels.
        channels: 1 for grey images, 3 for colour.
        crop_fraction: Fraction of the short side that the network sees.
        interpolation: How the image is resized, one of `INTERPOLATIONS`.
        mean: Mean per channel of values in [0, 1], or `None` where the
            network itself takes values in [0, 255].
        std: Standard deviation per channel, or `None` as `mean`.
    """

    labels: tuple[str, ...]
    image_size: int
    channels: int
    crop_fraction: float
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    FILE = "preprocessing.json"

    def __post_init__(self):
        rule = "must be a sequence of names"
        checks.check(
            "labels", self.labels, isinstance(self.labels, tuple), rule
        )
        for name in ("image_size", "channels"):
            checks.check_count(name, getattr(self, name))
        checks.check_fraction("crop_fraction", self.crop_fraction)
        checks.check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        self._check_mean_and_std()

    def _check_mean_and_std(self):
        if self.mean is None and self.std is None:
            return
        for name in ("mean", "std"):
            values = getattr(self, name)
            if (
                not isinstance(values, tuple)
                or len(values) != self.channels
                or not all(map(checks.is_real, values))
                or (name == "std" and min(values) <= 0)
            ):
                positive = "positive " * (name == "std")
                rule = (
                    "must be None, as the other of `mean` and `std`, or one "
                    f"{positive}number per channel"
                )
                raise checks.refusal(name, values, rule)

    @classmethod
    def path(cls, model: PathLike) -> pathlib.Path:
        """Return where the settings of one `.keras` file among several are."""
        return pathlib.Path(model).with_suffix(f".{cls.FILE}")

    def text(self) -> str:
        """Return the content of the file."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def save(self, folder: PathLike) -> None:
        """Write `preprocessing.json` for the models in a folder."""
        write_text(pathlib.Path(folder) / self.FILE, self.text())

    @classmethod
    def load(cls, model: PathLike) -> Preprocessing:
        """Read the settings of a `.keras` file.

        Args:
            model: Its path. `NAME.preprocessing.json` belongs to
                `NAME.keras`, `preprocessing.json` to all other models in
                the folder.

        Raises:
            InputError: if there are none, or they are damaged.
        """
        path = cls.path(model)
        if not path.is_file():
            path = path.with_name(cls.FILE)
        try:
            fields = json.loads(path.read_text("utf-8"))
            for name in ("labels", "mean", "std"):
                if isinstance(fields.get(name), list):
                    fields[name] = tuple(fields[name])
            return cls(**fields)
        except FileNotFoundError:
            raise InputError(
                f"There is no {path}; `eca-keras train` and `eca-keras "
                "convert` write it beside the model, with the class names and "
                "the image size"
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {error}") from None


def numbered_labels(classes: int) -> tuple[str, ...]:
    """Return labels for unknown classes: `"class 0"` and so on."""
    return tuple(f"class {index}" for index in range(classes))
