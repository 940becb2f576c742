"""How the images of a network are made: settings that go with its weights."""

import dataclasses
import json
import pathlib

from eca_keras.errors import InputError
from eca_keras.utils import checks
from eca_keras.utils.files import write_text

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What an image goes through before a network, kept beside the network.

    Attributes:
        labels: Names of the classes, in the order of the outputs.
        image_size: Height and width of the network's input, in pixels.
        channels: 1 for grey images, 3 for colour.
        crop_fraction: Part of the short side that the network sees.
        interpolation: How the image is resized, one of `INTERPOLATIONS`.
        mean: Mean per channel of values in [0, 1], or `None` where the
            network itself takes values in [0, 255].
        std: Standard deviation per channel, or `None` as `mean`.
    """

    labels: tuple
    image_size: int
    channels: int
    crop_fraction: float
    interpolation: str = "bilinear"
    mean: tuple | None = None
    std: tuple | None = None

    FILE = "preprocessing.json"

    def __post_init__(self):
        if not isinstance(self.labels, tuple):
            raise InputError(
                "`labels` must be a sequence of names. "
                f"Received: labels={self.labels!r}"
            )
        for name in ("image_size", "channels"):
            value = getattr(self, name)
            if not checks.is_int(value) or value < 1:
                raise InputError(
                    f"`{name}` must be a positive integer. "
                    f"Received: {name}={value!r}"
                )
        if not checks.is_real(self.crop_fraction) or not (
            0 < self.crop_fraction <= 1
        ):
            raise InputError(
                "`crop_fraction` must be a number in (0, 1]. "
                f"Received: crop_fraction={self.crop_fraction!r}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}. "
                f"Received: interpolation={self.interpolation!r}"
            )
        self._check_moments()

    def _check_moments(self):
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
                raise InputError(
                    f"`{name}` must be None, as the other of `mean` and "
                    f"`std`, or one {'positive ' * (name == 'std')}number per "
                    f"channel. Received: {name}={values!r}"
                )

    @classmethod
    def path(cls, model):
        """Where the settings of one `.keras` file among several are."""
        return pathlib.Path(model).with_suffix(f".{cls.FILE}")

    def text(self):
        """Return the content of the file."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def save(self, folder):
        """Write `preprocessing.json` for the models in a folder."""
        write_text(pathlib.Path(folder) / self.FILE, self.text())

    @classmethod
    def load(cls, model):
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


def numbered_labels(classes):
    """Labels for classes whose names are unknown: `"class 0"` and so on."""
    return tuple(f"class {index}" for index in range(classes))
