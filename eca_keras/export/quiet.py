"""Silence for the C++ code that writes to standard error by itself."""

import contextlib
import os
import sys

STDERR = 2


@contextlib.contextmanager
def quiet():
    """Sends what the process writes to standard error to nowhere.

    The converter and the interpreter do not go through Python's `sys.stderr`,
    so the file descriptor itself is redirected, for all threads. What matters
    of a failed conversion is in its exception.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDERR)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
