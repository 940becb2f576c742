"""What the commands have in common that take the folder of a run."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from eca_keras.errors import InputError

DEFAULT = pathlib.Path("runs/digits")


def load(
    command: Any, classifier: Sequence[str] = (), detector: Sequence[str] = ()
) -> Any:
    """Return the `Trained` network of a command.

    Args:
        command: Its `model` is the folder of a run or a .keras file.
        classifier: Options that only a classifier has.
        detector: Options that only a detector has.

    Raises:
        InputError: if there is no trained network, or an option is given that
            it has not.
    """
    from eca_keras.training.trained import Trained

    trained = Trained.load(command.model, trust=command.trust)
    others = {"classifier": detector, "detector": classifier}[trained.kind]
    for name in others:
        if given(getattr(command, name)):
            kinds = {"classifier": "detectors", "detector": "classifiers"}
            raise InputError(
                f"`{name}` is for {kinds[trained.kind]}; {command.model} "
                f"holds a {trained.kind}"
            )
    return trained


def given(value: Any) -> bool:
    """Return whether an option without a default was given."""
    return value is not None and value is not False and value != ()
