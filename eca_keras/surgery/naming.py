"""Refusals that name a layer, whatever its code raises."""

import contextlib
import re

from eca_keras.errors import InputError
from eca_keras.utils.checks import shown

FROM_CONFIG = "that cannot be copied from its config"
STATE = "that cannot give its state to a copy"

REASON = 200  # characters of what a layer raises


@contextlib.contextmanager
def naming(layer, fault):
    """Say which layer it is that raises."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # its code is somebody else's
        raise _refusal(layer, fault, _reason(error)) from error


def check(layer, holds, reason, fault=FROM_CONFIG):
    """Refuse a layer whose copy is not like it."""
    if not holds:
        raise _refusal(layer, fault, reason)


def _refusal(layer, fault, reason):
    return InputError(
        f"`model` has a layer {fault}, {layer.name!r} of class "
        f"{type(layer).__name__}. Received: {reason}"
    )


def _reason(error):
    lines = [re.sub("\x1b\\[.m", "", line) for line in str(error).splitlines()]
    lines = [line for line in lines if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]  # which only says in which layer
    return shown(lines[0] if lines else repr(error), REASON)
