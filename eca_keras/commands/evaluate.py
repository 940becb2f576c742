"""`eca-keras evaluate`."""

import dataclasses
import json
import pathlib

from eca_keras.errors import InputError

PARTS = ("train", "validation", "test")


def check_part(part):
    """Refuses what is no part of a data set; `None` stands for the default."""
    if part not in (None, *PARTS):
        raise InputError(
            f"`part` must be one of {', '.join(PARTS)}. Received: part={part!r}"
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
        if self.batch_size < 1:
            raise InputError(
                "`batch_size` must be at least 1. "
                f"Received: batch_size={self.batch_size}"
            )
        check_part(self.part)

    def run(self):
        self._check()
        from eca_keras.atomic import write_text
        from eca_keras.training.trained import Trained

        trained = Trained.load(self.model)
        metrics = trained.evaluate(
            self.data, self.part, self.batch_size, self.strategy
        )
        text = json.dumps(metrics, indent=2)
        print(text)
        if self.output:
            write_text(self.output, text + "\n")
