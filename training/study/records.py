"""One small file for each finished run of a study."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib

from eca_keras.errors import InputError
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.config import deciding
from eca_keras.training.config import upgraded
from eca_keras.training.run.folder import write_json
from eca_keras.utils.types import PathLike


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run leaves.

    Attributes:
        settings: The fields of `TrainConfig` that decide the weights.
        evaluated_on: 'test' or 'validation'.
        images: Number of images that it was evaluated on.
        top1, top5: Fractions of them; `None` if the training diverged.
        loss: Mean cross-entropy in nats; `None` if the training diverged.
        best_epoch: Epoch of these weights, the best on validation images.
        history: One dictionary per epoch, as in `history.csv`.
        parameters: Trainable parameters, as in `Profile`.
        attention_parameters, macs: As in `Profile`.
        kernel_sizes: Of the attention layers, in order; empty without any.
        seconds: Of the whole run, evaluation included.
        diverged: The sentence about it, `None` if it did not.
        versions: Versions of the packages that have a say.
    """

    settings: dict
    evaluated_on: str
    images: int
    top1: float | None
    top5: float | None
    loss: float | None
    best_epoch: int | None
    history: list
    parameters: int
    attention_parameters: int
    macs: int
    kernel_sizes: list
    seconds: float
    diverged: str | None
    versions: dict

    @property
    def epoch_seconds(self):
        """Seconds of the quickest epoch, `None` without a history.

        The first epoch compiles, and other programs can only make an epoch
        slower.
        """
        return min((row["seconds"] for row in self.history), default=None)


def name_of(config: TrainConfig) -> str:
    """Return the name of a run, which is that of its settings.

    Two studies that train the same network in the same way share the run.
    Only settings other than `TrainConfig`'s defaults count, so that a setting
    which a later version adds does not rename the runs of today.

    Args:
        config: `TrainConfig`.
    """
    default = deciding(TrainConfig())
    named = {
        name: value
        for name, value in deciding(config).items()
        if value != default[name]
    }
    text = json.dumps(named, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    kernel = str(config.kernel_size).replace(" ", "").strip("[]")
    return (
        f"{config.model}-{config.attention}-{kernel}-seed{config.seed}-{digest}"
    )


class Records:
    """The results in a folder.

    Args:
        folder: Folder of the files; it need not exist.
    """

    def __init__(self, folder: PathLike):
        self.folder = pathlib.Path(folder)

    def path(self, config: TrainConfig) -> pathlib.Path:
        return self.folder / f"{name_of(config)}.json"

    def save(self, config: TrainConfig, result: Result) -> None:
        """Write a result, which appears complete or not at all."""
        write_json(self.path(config), dataclasses.asdict(result))

    def load(self, config: TrainConfig) -> Result | None:
        """Return the `Result` of a run, `None` if it has none.

        Raises:
            InputError: if its file is damaged, or is that of another run.
        """
        path = self.path(config)
        try:
            values = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise _damaged(path, f"it is no JSON file: {error}") from None
        names = {field.name for field in dataclasses.fields(Result)}
        if not isinstance(values, dict) or set(values) != names:
            raise _damaged(path, f"it must map {', '.join(sorted(names))}")
        result = Result(**values)
        if fault := _fault(result, deciding(config)):
            raise _damaged(path, fault)
        return result


def _fault(result, settings):
    """Return what is wrong with a result, `None` if nothing is."""
    if not isinstance(result.settings, dict):
        return "its `settings` must be a dictionary"
    for name, value in upgraded(result.settings).items():
        if settings.get(name, value) != value:
            return (
                f"its name is that of a run with {name}={settings[name]!r}, "
                f"but it has {value!r}"
            )
    if result.diverged is not None:
        return None
    for name in ("top1", "top5"):
        if not _is_number(getattr(result, name), 0, 1):
            return f"its `{name}` must be from 0 to 1"
    for name in ("loss", "seconds", "macs", "parameters", "images"):
        if not _is_number(getattr(result, name), 0, math.inf):
            return f"its `{name}` must be a number that is not negative"
    return None


def _is_number(value, least, most):
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= most
    )


def _damaged(path, reason):
    return InputError(
        f"{path} is damaged: {reason}. Remove it, and the same command trains "
        "this run again"
    )
