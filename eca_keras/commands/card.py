"""`eca-keras card`."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Card:
    """Write the model card of a trained model, from the files of its run.

    Args:
        model: Folder that `eca-keras train` wrote.
        output: File for the card; by default it is printed.
    """

    model: pathlib.Path = pathlib.Path("runs/digits")
    output: pathlib.Path | None = None

    def run(self):
        from eca_keras.training.classification.card import model_card
        from eca_keras.utils.files import write_text

        text = model_card(self.model)
        if self.output:
            write_text(self.output, text)
        else:
            print(text, end="")
