"""`eca-keras evaluate`."""

import dataclasses
import json
import pathlib

from eca_keras.errors import InputError

PARTS = ("train", "validation", "test")


def check_choice(name, value, words):
    """Refuses a value of an option that is none of `words`."""
    if value not in words:
        raise InputError(
            f"`{name}` must be one of {', '.join(words)}. "
            f"Received: {name}={value!r}"
        )


def check_part(part):
    """Refuses what is no part of a data set; `None` stands for the default."""
    if part is not None:
        check_choice("part", part, PARTS)


def check_positive(name, value):
    """Refuses a number below 1."""
    if value < 1:
        raise InputError(
            f"`{name}` must be at least 1. Received: {name}={value}"
        )


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a trained model: cross-entropy, top-1 and top-5.

    Args:
        model: Folder that `eca-keras train` wrote, or a .keras file in it.
        data: The images, as in `eca-keras train`; by default those of the
            training run.
        part: 'train', 'validation' or 'test'; by default the test images, or
            the validation images where there are none.
        batch_size: Images per step.
        strategy: As in `eca-keras train`.
        output: File for the figures as JSON.
    """

    model: pathlib.Path = pathlib.Path("runs/digits")
    data: str | None = None
    part: str | None = None
    batch_size: int = 64
    strategy: str = "auto"
    output: pathlib.Path | None = None

    def _check(self):
        check_positive("batch_size", self.batch_size)
        check_part(self.part)

    def run(self):
        self._check()
        from eca_keras.training.trained import Trained
        from eca_keras.utils.files import write_text

        trained = Trained.load(self.model)
        metrics = trained.evaluate(
            self.data, self.part, self.batch_size, self.strategy
        )
        text = json.dumps(metrics, indent=2)
        print(text)
        if self.output:
            write_text(self.output, text + "\n")
