"""The command line: `eca-keras train | evaluate | predict | ...`.

A command is a dataclass of `eca_keras.commands`: its fields are the options,
its `run` does the work. tyro makes the parser from them. It was preferred to
jsonargparse because it spells options as people do (`--batch-size`, not
`--batch_size`) and because a configuration file is then no more than other
defaults for a dataclass.
"""

import sys
import typing

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.version import __version__

EXIT_MISMATCH = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 and the number of the signal, as shells have it


def main(arguments=None):
    """Runs one command.

    Args:
        arguments: List of strings; those of the process by default.

    Returns:
        The exit code: 0, 1 where an exported file does not answer like the
        model, 2 where the request cannot be carried out, or 130 after
        Ctrl-C.
    """
    from eca_keras.export import ExportMismatch

    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"eca-keras {__version__}")
        return 0
    try:
        require("train", "The command line", "tyro")
        parse(arguments).run()
    except ExportMismatch as error:
        print(f"eca-keras: {error}", file=sys.stderr)
        return EXIT_MISMATCH
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = None
        return 0
    except (InputError, OSError, ImportError) as error:
        print(f"eca-keras: {_sentence(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("eca-keras: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _sentence(error):
    """The words of an error, without the number that Python puts first."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return error


def parse(arguments):
    """Returns the command with its options; exits with 2 on bad ones."""
    from eca_keras.commands.train import Train

    command = _parse(arguments)
    if isinstance(command, Train) and command.config:
        command = _parse(arguments, Train.from_file(command.config))
    return command


def _parse(arguments, train_defaults=None):
    import tyro

    from eca_keras.commands import COMMANDS

    defaults = {type(train_defaults): train_defaults}
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
