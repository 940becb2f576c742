"""Options that the commands have in common that build networks."""

from __future__ import annotations

import dataclasses
from typing import Any

from eca_keras.applications.attention import ATTENTION

KernelSize = int | tuple[int, ...] | str


def kernel_size_field() -> Any:
    """Return the field of the option `--kernel-size`."""
    metavar = "adaptive|paper|INT ..."
    return dataclasses.field(default="adaptive", metadata={"metavar": metavar})


def attention_field(default: Any) -> Any:
    """Return the field of the option `--attention`."""
    choices = ("none", *ATTENTION)
    return dataclasses.field(default=default, metadata={"choices": choices})
