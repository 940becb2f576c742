"""Errors that the command line turns into a sentence."""

import importlib.util


class InputError(ValueError):
    """What the user asked for cannot be done; the message says why."""


class Diverged(RuntimeError):
    """A loss, or a weight, is not a finite number."""


class ComparisonFailed(RuntimeError):
    """Libraries cannot be compared: one fails, or gives other outputs."""


class ExportMismatch(RuntimeError):
    """The outputs of a written file differ from those of the Keras model.

    Attributes:
        report: The `Report` of the comparison; `None` where not even the
            shapes of the outputs agree.
    """

    def __init__(self, message, report=None):
        super().__init__(message)
        self.report = report


class Interrupted(Exception):
    """A run ended on a signal after it had saved its state.

    Attributes:
        received: The `signal.Signals`, `None` where another worker got it.
    """

    def __init__(self, message, received):
        super().__init__(message)
        self.received = received


class WorkerLost(RuntimeError):
    """Another worker of a run ended, or cannot be reached."""


def require(extra: str, needed_for: str, *modules: str) -> None:
    """Raise ImportError if an optional package is not installed.

    Args:
        extra: Name of the extra that installs the package.
        needed_for: What needs it, the subject of the sentence.
        *modules: Top-level names of what is imported.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{needed_for} needs {module}: pip install 'eca-keras[{extra}]'"
            )
