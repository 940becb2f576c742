"""What belongs to a trained detector, beside its weights."""

import dataclasses
import json
import pathlib

from eca_keras.applications.image_settings import DETECTION_FILE
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.errors import InputError
from eca_keras.utils import checks
from eca_keras.utils.files import write_text


@dataclasses.dataclass(frozen=True)
class DetectionSettings:
    """How images are made for a detector, and what its outputs mean.

    Images keep their ratio, fit into the input and are padded with
    `mean_pixel` at the right and at the bottom; then all pixels are
    normalized.

    Attributes:
        class_names: Name of each label.
        category_ids: Number of each label in the annotations.
        height: Height of the detector's input, in pixels.
        width: Width of the detector's input, in pixels.
        mean: Mean per channel of values in [0, 1].
        std: Standard deviation per channel.
    """

    class_names: tuple
    category_ids: tuple
    height: int
    width: int
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD

    FILE = DETECTION_FILE
    channels = 3

    def __post_init__(self):
        for name in ("class_names", "category_ids", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        rules = {
            "class_names": len(self.class_names) > 0,
            "category_ids": len(self.category_ids) == len(self.class_names)
            and all(map(checks.is_int, self.category_ids)),
            "height": checks.is_int(self.height) and self.height > 0,
            "width": checks.is_int(self.width) and self.width > 0,
            "mean": _three_numbers(self.mean),
            "std": _three_numbers(self.std) and min(self.std) > 0,
        }
        for name, holds in rules.items():
            if not holds:
                raise InputError(
                    f"`{name}` is not what a detector has. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

    @property
    def input_shape(self):
        return (self.height, self.width, self.channels)

    def save(self, folder):
        """Write `detection.json` for the models in a folder."""
        text = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        write_text(pathlib.Path(folder) / self.FILE, text)

    @classmethod
    def load(cls, model):
        """Read the settings of a `.keras` file, which are beside it.

        Raises:
            InputError: if there are none, or they are damaged.
        """
        path = pathlib.Path(model).with_name(cls.FILE)
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise InputError(
                f"There is no {path}; `eca-keras detect train` writes it "
                "beside the model, with the class names and the input shape"
            ) from None
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged: {error}") from None


def _three_numbers(values):
    return len(values) == 3 and all(map(checks.is_real, values))
