"""The command line: `eca-keras train | evaluate | predict | ...`.

The commands are in the table of `eca_keras.commands`, their options are read
by `eca_keras.commands.options`. Nothing here loads Keras or TensorFlow before
a command is about to run, so that help and refusals come at once.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from eca_keras.commands import COMMANDS
from eca_keras.errors import ComparisonFailed
from eca_keras.errors import Diverged
from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.errors import WorkerLost
from eca_keras.errors import require
from eca_keras.version import __version__

EXIT_WRONG_RESULT = 1
EXIT_BAD_INPUT = 2
# From BSD's sysexits.h: what was asked for is not there, and try again.
EXIT_WORKER_LOST = 69
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130  # 128 and the number of the signal, as shells have it

INTERRUPTED = "eca-keras: interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: List of strings; those of the process by default.

    Returns:
        The exit code: 0; 1 where an exported file or another library has other
        outputs than the model, or training diverged; 2 where the request
        cannot be carried out; 69 where another worker of a training run is
        gone; 75 where training was asked to stop and can be resumed; 130
        after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    first = [word for word in arguments if word != "--verbose"][:1]
    if first == ["--version"]:
        print(f"eca-keras {__version__}")
        return 0
    if first in ([], ["--help"], ["-h"]):
        print(overview(), file=sys.stdout if first else sys.stderr)
        return 0 if first else EXIT_BAD_INPUT
    return _guarded(lambda: _run(*_chosen(arguments)))


def run_command(kind: type, arguments: Sequence[str], program: str) -> int:
    """Run a command that is not in the table, as `main` runs the others.

    Args:
        kind: Its class.
        arguments: List of strings.
        program: What the help calls it.

    Returns:
        The exit code, as of `main`.
    """
    return _guarded(lambda: _run(lambda: kind, arguments, program))


def _guarded(run):
    """Call a function and return the exit code, errors told in a sentence."""
    try:
        run()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = None
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(f"eca-keras: {_sentence(error)}", file=sys.stderr, flush=True)
        if getattr(error, "leave_at_once", False):
            sys.stdout.flush()
            os._exit(code)
        return code
    return 0


def overview() -> str:
    """Return the help of `eca-keras`, from the table of commands."""
    lines = [
        "usage: eca-keras [--verbose] COMMAND [OPTIONS]",
        "",
        "Efficient Channel Attention (ECA-Net) networks: train, evaluate, "
        "export.",
    ]
    group = None
    for name, row in COMMANDS.items():
        if row.group != group:
            group = row.group
            lines += ["", f"{group}:"]
        lines.append(f"  {name:14}{row.summary}")
    return "\n".join(
        [
            *lines,
            "",
            "Options:",
            "  --help        Show this help; after COMMAND, that of the "
            "command.",
            "  --verbose     Show the messages of TensorFlow, too.",
            "  --version     Show the version.",
        ]
    )


def parse(arguments: Sequence[str]) -> Any:
    """Return the command with its options; exit with 2 on bad ones."""
    from eca_keras.commands import options

    load, rest, program = _chosen(arguments)
    return options.parse(load(), rest, program)


def _chosen(arguments):
    """Return what `_run` takes for a command line."""
    words = [word for word in arguments if word != "--verbose"]
    name, rest = _split(words)
    verbose = ["--verbose"] if len(words) < len(arguments) else []
    return COMMANDS[name].load, [*rest, *verbose], f"eca-keras {name}"


def _split(arguments):
    """Return the name of a command, and the arguments that follow it."""
    for count in (2, 1):
        name = " ".join(arguments[:count])
        if name in COMMANDS:
            return name, arguments[count:]
    inside = [name for name in COMMANDS if name.split()[:-1] == arguments[:1]]
    if inside and arguments[1:] in (["--help"], ["-h"]):
        return inside[0], ["--help"]
    words = [word for word in arguments[:2] if not word.startswith("-")]
    words = words or arguments[:1]
    close = [word for word in words if word in COMMANDS]
    for typed in (" ".join(words), words[0]):
        close += difflib.get_close_matches(typed, COMMANDS, 1)
    hint = f"The commands are {', '.join(COMMANDS)}"
    if close:
        hint = f"Did you mean `eca-keras {close[0]}`?"
    raise InputError(f"There is no command {' '.join(words)!r}. {hint}")


def _run(load, arguments, program):
    """Run a command: its options, then TensorFlow, then its work."""
    verbose = "--verbose" in arguments
    arguments = [word for word in arguments if word != "--verbose"]
    with _ended_by_interrupt():
        require("train", "The command line", "tyro")
        from eca_keras.commands import options
        from eca_keras.utils.quiet import import_tensorflow

        command = options.parse(load(), arguments, program)
        with options.told_as_typed(type(command)):
            if hasattr(command, "check"):
                command.check()
        if not verbose and "tensorflow" not in sys.modules:
            import_tensorflow()
    with options.told_as_typed(type(command)):
        command.run()


@contextlib.contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """Have Ctrl-C end the process with one line while modules are loaded.

    A KeyboardInterrupt in the middle of an import can get lost in C++ code,
    or turn into another error.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # not ours to change
        return
    try:
        stderr = os.dup(2)  # while standard error is redirected, too
    except OSError:  # it is closed
        yield
        return

    def end(*_):
        os.write(stderr, f"{INTERRUPTED}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    try:
        signal.signal(signal.SIGINT, end)
    except ValueError:  # not in the main thread, which gets the signals
        os.close(stderr)
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(stderr)


def _exit_code(error):
    """Return the exit code of an expected error, `None` for a defect."""
    if isinstance(error, Interrupted):
        by_hand = error.received == signal.SIGINT
        return EXIT_INTERRUPTED if by_hand else EXIT_STOPPED
    codes = {
        (ExportMismatch, Diverged, ComparisonFailed): EXIT_WRONG_RESULT,
        WorkerLost: EXIT_WORKER_LOST,
        (InputError, OSError, ImportError): EXIT_BAD_INPUT,
    }
    for kinds, code in codes.items():
        if isinstance(error, kinds):
            return code
    return None


def _sentence(error):
    """Return the words of an error, without the number of an OSError."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return error.strerror + place
    return error
