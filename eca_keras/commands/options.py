"""Options from the fields of a dataclass, and errors that name them.

tyro makes the parser. It was preferred to jsonargparse because it spells
options as people do (`--batch-size`, not `--batch_size`) and because a
configuration file is then no more than other defaults for a dataclass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import re
import textwrap
import typing
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tyro

from eca_keras.commands.fields import docstring_of
from eca_keras.commands.fields import options_of
from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.utils.checks import check_choice


def parse(kind: type, arguments: Sequence[str], prog: str) -> Any:
    """Return a command with the options of a command line.

    Where the command has a method `with_defaults`, it returns the command
    whose values hold where no option is given: those of a file or a recipe.

    Args:
        kind: Class of the command.
        arguments: The command line after the name of the command.
        prog: What the help calls it.

    Raises:
        SystemExit: after the help was printed.
        InputError: if an option is none, or has a bad value.
    """
    _check_flags(kind, arguments)
    arguments = _names_first(kind, arguments)
    with told_as_typed(kind):
        command = _parse(kind, arguments, prog)
        if hasattr(command, "with_defaults"):
            defaults = command.with_defaults()
            command = _parse(kind, arguments, prog, defaults)
    return command


@contextlib.contextmanager
def told_as_typed(kind: type) -> Iterator[None]:
    """Have errors name the options of a command as the user types them."""
    try:
        yield
    except (InputError, Diverged, OSError) as error:
        if getattr(error, "errno", None) is None:  # a sentence of ours
            error.args = (as_typed(str(error), kind), *error.args[1:])
        raise


def as_typed(text: str, kind: type) -> str:
    """Return a text with the fields of a command named as options.

    What another module calls otherwise is in the `ALIASES` of the command.

    Example:

    >>> @dataclasses.dataclass
    ... class Command:
    ...     image_size: int = 8
    >>> as_typed("`image_size` must be 8. Received: image_size=4", Command)
    '`--image-size` must be 8. Received: --image-size 4'
    """
    flags = {option.name: option.flag for option in options_of(kind)}
    for alias, name in getattr(kind, "ALIASES", {}).items():
        flags.setdefault(alias, flags[name])
    names = "|".join(sorted(flags, key=len, reverse=True))
    text = re.sub(rf"`({names})`", lambda found: f"`{flags[found[1]]}`", text)
    value = r"\[[^\]]*\]|\([^)]*\)|'[^']*'|\"[^\"]*\"|[^\s,;`]+"
    return re.sub(
        rf"(?<![\w.'\"-])({names})=({value})",
        lambda found: _with_value(flags[found[1]], found[2]),
        text,
    )


def _with_value(flag, value):
    """Return an option with a value, from the value's `repr`."""
    if flag.startswith("--") and value in ("True", "False"):
        return flag if value == "True" else f"--no-{flag[2:]}"
    if value == "None" and flag == "--attention":  # as the builders have it
        value = "none"
    value = value.strip("'\"")
    if value[:1] in ("[", "("):
        value = re.sub(r"[^-+.\w ]", "", value)
    return f"{flag} {value}".rstrip() if flag.startswith("--") else value


def _check_flags(kind, arguments):
    """Refuse an option that there is not, and name one that is like it."""
    flags = [o.flag for o in options_of(kind) if o.flag.startswith("--")]
    known = {"--help", *flags, *(f"--no-{flag[2:]}" for flag in flags)}
    for word in arguments:
        flag = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and flag not in known:
            [close] = difflib.get_close_matches(flag, flags, 1) or [None]
            hint = f" Did you mean `{close}`?" if close else ""
            raise InputError(f"There is no option `{flag}`.{hint}")


def _names_first(kind, arguments):
    """Return arguments in which no list of numbers runs into the names.

    `--kernel-size 3 5 NAME` would take the name for a size.
    """
    lists = {
        option.flag: option.metavar.split("|")
        for option in options_of(kind)
        if option.metavar and "INT ..." in option.metavar
    }
    words, names, rest = None, [], []
    for word in arguments:
        if flag := word.startswith("--"):
            words = lists.get(word)
        fits = flag or not words or word in words or word.lstrip("-").isdigit()
        first = bool(rest) and rest[-1] in lists  # whatever it is
        (rest if fits or first else names).append(word)
    flags = (i for i, word in enumerate(rest) if word.startswith("--"))
    first = next(flags, len(rest))
    return [*rest[:first], *names, *rest[first:]]


def _parse(kind, arguments, prog, given=None):
    """Parse with the defaults of `given`, a command, if there is one."""
    printed, complaint = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(complaint),
        ):
            parsed = tyro.cli(
                _parser(kind, given),
                prog=prog,
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if end.code:
            sentence = _sentence(kind, complaint.getvalue())
            raise InputError(f"{sentence}. See {prog} --help") from None
        print(_help(kind, prog, printed.getvalue()))
        raise
    values = {}
    for name, value in vars(parsed).items():
        grouped = dataclasses.is_dataclass(value)
        values |= vars(value) if grouped else {name: value}
    for option in options_of(kind):
        value = values[option.name]
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if option.choices and isinstance(one, str):
                check_choice(option.name, one, option.choices)
    return kind(**values)


# What tyro says, and how we say it.
_SENTENCES = {
    r"Error parsing (--[\w-]+): .*'(.*)'$": (
        r"`\1` must be METAVAR. Received: \1 \2"
    ),
    r"Missing from .*?: (\S+) .*": r"`\1` must be given",
    r"Missing value for argument '(\S+)'.*": r"`\1` must have a value",
    r"Unrecognized options: (.*)": r"There is no argument `\1`",
}


def _sentence(kind, complaint):
    """Return what is between the rules of a complaint of tyro's, in a line."""
    between = re.split(r"^[\W_]*[-─]{5,}[\W_]*$", complaint, flags=re.MULTILINE)
    text = " ".join(between[1 if len(between) > 1 else 0].split()).rstrip(".")
    metavars = {option.flag: option.metavar for option in options_of(kind)}
    for pattern, sentence in _SENTENCES.items():
        if found := re.match(pattern, text):
            words = metavars.get(found[1], "")
            words = {"INT": "an integer", "NUMBER": "a number"}.get(
                words, words
            )
            return found.expand(sentence).replace("METAVAR", words)
    return text


def _parser(kind, given):
    """Return the dataclass for tyro: one with a field for each group."""
    groups: dict[str | None, list] = {None: []}
    for option in options_of(kind):
        default = getattr(given, option.name) if given else option.default
        argument = _argument(kind, option, default)
        groups.setdefault(option.group, []).append(argument)
    fields = groups.pop(None)
    order = getattr(kind, "GROUPS", ())
    for name in sorted(groups, key=[*order, *groups].index):
        inside = groups[name]
        part = _dataclass(name, inside)
        fields.append((name, part, dataclasses.field(default_factory=part)))
    return _dataclass(kind.__name__, fields)


def _dataclass(name, fields):
    made = dataclasses.make_dataclass(name, fields, frozen=True)
    made.__doc__ = ""  # tyro would print the default one
    return made


def _argument(kind, option, default):
    """Return a field for the parser: name, type, default."""
    markers = []
    if option.positional:
        markers.append(tyro.conf.Positional)
    if not hasattr(kind, "with_defaults"):  # nothing could turn it on
        markers.append(tyro.conf.FlagCreatePairsOff)
    shown = {"metavar": option.metavar} if option.metavar else {}
    argument = tyro.conf.arg(
        help=as_typed(option.help, kind),
        help_behavior_hint=_shown_default(default),
        **shown,
    )
    annotated = typing.Annotated[option.type, argument, *markers]
    if default is dataclasses.MISSING:
        return option.name, annotated
    field = dataclasses.field(default_factory=lambda: default)
    return option.name, annotated, field


def _shown_default(value):
    if value is dataclasses.MISSING:
        return "(required)"
    if value is True:
        return "(default: on)"
    if value is None or value is False or value in ("", ()):
        return ""
    if isinstance(value, (tuple, list)):
        value = " ".join(map(str, value))
    return f"(default: {value})"


def _help(kind, prog, text):
    """Return the help of a command, from tyro's text with the options."""
    usage = ["usage:", prog]
    for option in options_of(kind):
        if option.positional:
            word = option.metavar
            usage.append(word if option.required else f"[{word}]")
    parsed = docstring_of(kind)
    paragraphs = [parsed.short_description or ""]
    paragraphs += (parsed.long_description or "").split("\n\n")
    paragraphs = [" ".join(text.split()) for text in paragraphs if text]
    # tyro's own usage may be wider than the terminal, and so are its lines.
    _, _, options = re.split(
        r"(?m)^(?= (positional arguments|options) *$)", text, maxsplit=1
    )
    options = re.sub(r"(?m) +$", "", options)
    options = re.sub(r"\n\n+(?=  )", "\n", options)
    options = re.sub(r"(?m)^ (\S)(.*)\n -+$", _title, options)
    parts = [
        " ".join([*usage, "[OPTIONS]"]),
        *(textwrap.fill(as_typed(text, kind), 79) for text in paragraphs),
        options.strip(),
    ]
    if examples := getattr(kind, "EXAMPLES", ()):
        parts.append("\n".join(["Examples:", *(f"  {x}" for x in examples)]))
    return "\n\n".join(parts)


def _title(found):
    """Return a heading of tyro's help as those of the overview."""
    return f"{found[1].upper()}{found[2]}:"
