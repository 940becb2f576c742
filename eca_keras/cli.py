"""The command line: `eca-keras train | evaluate | predict | ...`.

A command is a dataclass of `eca_keras.commands`: its fields are the options,
its `run` does the work. tyro makes the parser from them. It was preferred to
jsonargparse because it spells options as people do (`--batch-size`, not
`--batch_size`) and because a configuration file is then no more than other
defaults for a dataclass.
"""

import os
import signal
import sys
import typing

from eca_keras.errors import ComparisonFailed
from eca_keras.errors import Diverged
from eca_keras.errors import HostLost
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.errors import require
from eca_keras.version import __version__

EXIT_WRONG_RESULT = 1
EXIT_BAD_INPUT = 2
# From BSD's sysexits.h: what was asked for is not there, and try again.
EXIT_HOST_LOST = 69
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130  # 128 and the number of the signal, as shells have it


def main(arguments=None):
    """Runs one command.

    Args:
        arguments: List of strings; those of the process by default.

    Returns:
        The exit code: 0; 1 where an exported file or another library does not
        answer like the model, or training diverged; 2 where the request
        cannot be carried out; 69 where another host of a training run is
        gone; 75 where training was asked to stop and can be resumed; 130
        after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"eca-keras {__version__}")
        return 0
    try:
        require("train", "The command line", "tyro")
        parse(arguments).run()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = None
    except KeyboardInterrupt:
        print("eca-keras: interrupted", file=sys.stderr)
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


def _exit_code(error):
    """Returns the exit code of an expected error, `None` for a defect."""
    from eca_keras.export import ExportMismatch

    if isinstance(error, Interrupted):
        by_hand = error.received == signal.SIGINT
        return EXIT_INTERRUPTED if by_hand else EXIT_STOPPED
    codes = {
        (ExportMismatch, Diverged, ComparisonFailed): EXIT_WRONG_RESULT,
        HostLost: EXIT_HOST_LOST,
        (InputError, OSError, ImportError): EXIT_BAD_INPUT,
    }
    for kinds, code in codes.items():
        if isinstance(error, kinds):
            return code
    return None


def _sentence(error):
    """The words of an error, without the number that Python puts first."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return error.strerror + place
    return error


def parse(arguments):
    """Returns the command with its options; exits with 2 on bad ones."""
    command = _parse(arguments)
    if hasattr(command, "with_defaults"):
        command = _parse(arguments, command.with_defaults())
    return command


def _parse(arguments, given=None):
    """Parses with the defaults of `given`, a command, if there is one."""
    import tyro

    from eca_keras.commands import COMMANDS

    defaults = {type(given): given}
    commands = tuple(
        typing.Annotated[
            command,
            tyro.conf.subcommand(
                command.__name__.lower(),
                default=defaults.get(command, tyro.MISSING_NONPROP),
                prefix_name=False,
            ),
        ]
        for command in COMMANDS
    )
    return tyro.cli(
        typing.Union[commands],  # noqa: UP007 (a tuple of types)
        prog="eca-keras",
        description="Efficient Channel Attention networks: train, measure "
        "and ship them.",
        args=arguments,
    )
