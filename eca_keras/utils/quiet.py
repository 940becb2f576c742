"""Silence for the C++ code that writes to standard error by itself."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

STDERR = 2


@contextlib.contextmanager
def quiet(replay: bool = False) -> Iterator[None]:
    """Keep what the process writes to standard error away from it.

    The converter and the interpreter do not go through Python's `sys.stderr`,
    so the file descriptor itself is redirected, for all threads.

    Args:
        replay: Whether to show it after all where an exception follows: what
            matters of a failed conversion is in its exception, but not of a
            failed import.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(STDERR)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() if replay else open(os.devnull, "wb") as file:
        try:
            os.dup2(file.fileno(), STDERR)
            yield
        except Exception:
            if replay:
                file.seek(0)
                os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras without a word from them.

    Their C++ code reads the level of its messages when it is loaded, and
    writes some before that.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet(replay=True):
        for name in ("tensorflow", "keras"):
            importlib.import_module(name)
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
