"""`eca-keras card`."""

from __future__ import annotations

import dataclasses
import pathlib

from eca_keras.commands import runs


@dataclasses.dataclass(frozen=True)
class Card:
    """Write the model card of a trained network, from the files of its run.

    Args:
        model: Folder of a run.
        output: File for the card; by default it is printed.
        trust: Open a model file with whatever is in it. Code in the file
            runs; without, a file is checked and refused.
    """

    model: pathlib.Path = runs.DEFAULT
    output: pathlib.Path | None = None
    trust: bool = False

    EXAMPLES = ("eca-keras card --model runs/digits --output README.md",)

    def run(self) -> None:
        from eca_keras.utils.files import write_text

        text = runs.load(self).card()
        if self.output:
            write_text(self.output, text)
        else:
            print(text, end="")
