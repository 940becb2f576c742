"""Processes that are asked to compute, and to time themselves.

TensorFlow and PyTorch each bring an OpenMP, and together in one process slow
each other down; and the memory that a process took is only known of a whole
process.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile

from eca_keras.errors import ComparisonFailed
from eca_keras.errors import InputError

# Where this library is, for processes that need it.
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# On a GPU a call would return before its end, and memory be elsewhere.
ON_CPU = {"CUDA_VISIBLE_DEVICES": "-1"}


class Worker:
    """A process on the CPU that answers requests until it is closed.

    See `serving` for the other end.

    Args:
        command: List of strings, the program and its arguments.
        paths: Folders in which it is to look for Python modules first.

    Raises:
        OSError: if the program cannot be started.
    """

    def __init__(self, command, paths=()):
        known = filter(None, [os.environ.get("PYTHONPATH")])
        paths = {"PYTHONPATH": os.pathsep.join([*paths, *known])}
        with contextlib.ExitStack() as stack:
            # A file: nobody reads from a pipe meanwhile, which could get full.
            self._errors = stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8")
            )
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **ON_CPU, **paths},
            )
            self._open = stack.pop_all()

    def ask(self, request, **arguments):
        """Return the reply to a request, a dictionary.

        Raises:
            ComparisonFailed: if the process has ended.
        """
        try:
            line = json.dumps({"do": request, **arguments})
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise self.failure(self._last_words())
        return json.loads(reply)

    def _last_words(self):
        code = self._process.wait()
        if code < 0:  # such as that of a system without memory
            return f"it got the signal {signal.Signals(-code).name}"
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "no reason given"

    def failure(self, reason):
        """What to raise when the process has ended for a reason."""
        return ComparisonFailed(f"A process ended early: {reason}")

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._open.close()

    @contextlib.contextmanager
    def closed_if_this_fails(self):
        try:
            yield
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# The other Python need not have this package: it gets its folder alone.
START = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).main(sys.argv[3])"
)


class TorchWorker(Worker):
    """A module of this folder in a Python that has PyTorch.

    Args:
        module: Its bare name.
        specification: What its `main` takes, JSON values.
        python: The Python; this one by default.
        packages: What it has to have, as words.
        paths: As in `Worker`.

    Raises:
        InputError: if there is no such Python. Without the packages `ask`
            raises it.
    """

    def __init__(
        self, module, specification, python=None, packages="PyTorch", paths=()
    ):
        self._python = python or sys.executable
        self._packages = packages
        folder = os.path.dirname(os.path.abspath(__file__))
        arguments = [folder, module, json.dumps(specification)]
        try:
            super().__init__([self._python, "-c", START, *arguments], paths)
        except OSError as error:
            raise self._other_python(error.strerror) from None

    def failure(self, reason):
        if reason.startswith("ModuleNotFoundError"):
            return self._other_python(reason.partition(": ")[2])
        return ComparisonFailed(f"PyTorch ended early: {reason}")

    def _other_python(self, reason):
        return InputError(
            f"`torch_python` must be a Python that has {self._packages}. "
            f"Received: torch_python={self._python} ({reason})"
        )


@dataclasses.dataclass(frozen=True)
class RemoteStep:
    """A call in another process, as `benchmarking.time_steps` takes it.

    Attributes:
        worker: A `Worker` that answers `"time"` as `serving.timed` does.
        arguments: Of the request.
    """

    worker: Worker
    arguments: dict = dataclasses.field(default_factory=dict)

    def __call__(self):
        return self.timed()

    def timed(self):
        """Wall-clock and CPU seconds of a call."""
        reply = self.worker.ask("time", **self.arguments)
        return reply["seconds"], reply["cpu_seconds"]
