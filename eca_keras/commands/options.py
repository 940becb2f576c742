"""Options from the fields of a dataclass, and errors that name them.

tyro makes the parser. It was preferred to jsonargparse because it spells
options as people do (`--batch-size`, not `--batch_size`) and because a
configuration file is then no more than other defaults for a dataclass.

What a field says beside its type and its line under `Args:` in the docstring
of its class is in its metadata, all of it optional:

- `group`: heading of its option in the help;
- `choices`: the values that it takes, for fields that are no `Literal`;
- `metavar`: what the help shows for its value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import pathlib
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import docstring_parser
import tyro

from eca_keras.errors import InputError
from eca_keras.utils.checks import check_choice

# The markers of an argument that is told by its place.
_POSITIONAL = tyro.conf.Positional[int].__metadata__

# What the help shows for a value of a type.
_WORDS = {int: "INT", float: "NUMBER", str: "TEXT", pathlib.Path: "PATH"}
# Choices that take more room are listed in the help's sentence instead.
_WIDEST = 40


def parse(kind: type, arguments: Sequence[str], prog: str) -> Any:
    """Return a command with the options of a command line.

    Where the command has a method `with_defaults`, it returns the command
    whose values hold where no option is given: those of a file or a recipe.

    Args:
        kind: Class of the command.
        arguments: The command line after the name of the command.
        prog: What the help calls it.

    Raises:
        SystemExit: after the help was printed, or with 2 on bad options.
        InputError: if a value is none of its choices.
    """
    arguments = _names_first(kind, list(arguments))
    command = _parse(kind, arguments, prog)
    if hasattr(command, "with_defaults"):
        with told_as_typed(kind):
            defaults = command.with_defaults()
        command = _parse(kind, arguments, prog, defaults)
    return command


def _names_first(kind, arguments):
    """Return arguments in which no list of values runs into the names.

    `--kernel-size 3 5 NAME` would take the name for a size.
    """
    lists = {}
    for field in dataclasses.fields(kind):
        metavar = _metavar_of(kind, field) or ""
        if "INT ..." in metavar and not _is_positional(kind, field):
            lists[_flags(kind)[field.name]] = metavar.split("|")
    values, names, rest = None, [], []
    for word in arguments:
        if word.startswith("--"):
            values = lists.get(word)
        elif values is not None:
            fits = word in values or word.lstrip("-").isdigit()
            if not fits and rest[-1] not in lists:
                names.append(word)
                continue
        rest.append(word)
    flags = (i for i, word in enumerate(rest) if word.startswith("--"))
    first = next(flags, len(rest))
    return [*rest[:first], *names, *rest[first:]]


@contextlib.contextmanager
def told_as_typed(kind: type) -> Iterator[None]:
    """Have errors name the options of a command as the user types them."""
    try:
        yield
    except InputError as error:
        raise _retold(error, kind) from error.__cause__


def as_typed(text: str, kind: type) -> str:
    """Return a text with the fields of a command named as options.

    Example:

    >>> @dataclasses.dataclass
    ... class Command:
    ...     image_size: int = 8
    >>> as_typed("`image_size` must be 8. Received: image_size=4", Command)
    '`--image-size` must be 8. Received: --image-size 4'
    """
    flags = _flags(kind)
    names = "|".join(sorted(flags, key=len, reverse=True))
    text = re.sub(rf"`({names})`", lambda found: f"`{flags[found[1]]}`", text)
    value = r"\[[^\]]*\]|\([^)]*\)|'[^']*'|\"[^\"]*\"|[^\s,;`]+"
    return re.sub(
        rf"(?<![\w.'\"-])({names})=({value})",
        lambda found: _option(flags[found[1]], found[2]),
        text,
    )


@functools.cache
def _flags(kind):
    """Return what the user types for each field of a command."""
    flags = {}
    for field in dataclasses.fields(kind):
        flags[field.name] = f"--{field.name.replace('_', '-')}"
        if _is_positional(kind, field):
            flags[field.name] = field.name.upper()
    for alias, name in getattr(kind, "ALIASES", {}).items():
        flags.setdefault(alias, flags[name])
    return flags


def _option(flag, value):
    """Return an option with a value, from the value's `repr`."""
    if not flag.startswith("--"):
        return value.strip("'\"")
    if value in ("True", "False"):
        return flag if value == "True" else f"--no-{flag[2:]}"
    if value[0] in "[(":
        values = re.sub(r"[^-+.\w ]", "", value)
        return f"{flag} {values}".rstrip()
    quotes = "'\""
    return f"{flag} {value.strip(quotes)}"


def _retold(error, kind):
    """Return an `InputError` of the same class with the options as typed."""
    text = as_typed(str(error), kind)
    if text != str(error):
        error.args = (text, *error.args[1:])
    return error


def _parse(kind, arguments, prog, given=None):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            parsed = tyro.cli(
                _parser(kind, given),
                prog=prog,
                args=list(arguments),
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if not end.code:
            print(_framed(kind, prog, printed.getvalue()))
        raise
    values = {}
    for field in dataclasses.fields(parsed):
        value = getattr(parsed, field.name)
        if dataclasses.is_dataclass(value):
            values |= vars(value)
        else:
            values[field.name] = value
    for field in dataclasses.fields(kind):
        with told_as_typed(kind):
            _check(field.name, values[field.name], _choices(kind, field))
    return kind(**values)


def _framed(kind, prog, text):
    """Return the help of a command, from tyro's text with the options."""
    usage = ["usage:", prog]
    for field in dataclasses.fields(kind):
        if _is_positional(kind, field):
            word, default = _metavar_of(kind, field), field.default
            usage.append(
                word if default is dataclasses.MISSING else f"[{word}]"
            )
    parsed = _docstring(kind)
    paragraphs = [parsed.short_description or ""]
    paragraphs += (parsed.long_description or "").split("\n\n")
    # tyro's own usage may be wider than the terminal, and so are its lines.
    _, *options = re.split(
        r"(?m)^(?= (?:positional arguments|options) *$)", text, maxsplit=1
    )
    options = "\n".join(line.rstrip() for line in "".join(options).split("\n"))
    options = re.sub(r"\n\n+(?=  )", "\n", options)
    options = re.sub(r"(?m)^ (\S)(.*)\n -+$", _title, options)
    parts = [
        " ".join([*usage, "[OPTIONS]"]),
        *(
            textwrap.fill(as_typed(" ".join(one.split()), kind), 79)
            for one in paragraphs
            if one
        ),
        options.strip(),
    ]
    if examples := getattr(kind, "EXAMPLES", ()):
        parts.append("\n".join(["Examples:", *(f"  {x}" for x in examples)]))
    return "\n\n".join(parts)


def _title(found):
    """Return a heading of tyro's help as those of the overview."""
    return f"{found[1].upper()}{found[2]}:"


def _check(name, value, choices):
    if not choices or value is None:
        return
    for one in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(one, str):
            check_choice(name, one, choices)


def _parser(kind, given):
    """Return the dataclass for tyro: one with a field for each group."""
    grouped: dict[str | None, list] = {None: []}
    for field in dataclasses.fields(kind):
        group = field.metadata.get("group")
        grouped.setdefault(group, []).append(_argument(kind, field, given))
    parts = [
        (name, part, dataclasses.field(default_factory=part))
        for name, part in (
            (name, _dataclass(name, fields))
            for name, fields in grouped.items()
            if name is not None
        )
    ]
    return _dataclass(kind.__name__, [*grouped[None], *parts])


def _dataclass(name, fields):
    made = dataclasses.make_dataclass(name, fields, frozen=True)
    made.__doc__ = ""  # tyro would print the default one
    return made


def _argument(kind, field, given):
    """Return a field for the parser: name, type, default."""
    if given is not None:
        default = getattr(given, field.name)
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        default = field.default
    shown = {"help_behavior_hint": _shown_default(default)}
    if metavar := _metavar_of(kind, field):
        shown["metavar"] = metavar
    markers = []
    if _is_positional(kind, field):
        markers.append(tyro.conf.Positional)
    if not hasattr(kind, "with_defaults"):
        markers.append(tyro.conf.FlagCreatePairsOff)
    words = tyro.conf.arg(help=_help(kind, field), **shown)
    # A tuple: Python 3.10 has no star in a subscript.
    parts = (_plain(_hints(kind)[field.name]), words, *markers)
    annotated = typing.Annotated[parts]
    if default is dataclasses.MISSING:
        return field.name, annotated
    return (
        field.name,
        annotated,
        dataclasses.field(default_factory=lambda: default),
    )


def _shown_default(value):
    if value is dataclasses.MISSING:
        return "(required)"
    if value is None or value is False or value == "" or value == ():
        return ""
    if value is True:
        return "(default: on)"
    if isinstance(value, (tuple, list)):
        value = " ".join(map(str, value))
    return f"(default: {value})"


@functools.cache
def _hints(kind):
    return typing.get_type_hints(kind, include_extras=True)


def _is_positional(kind, field):
    markers = getattr(_hints(kind)[field.name], "__metadata__", ())
    return any(marker in markers for marker in _POSITIONAL)


def _members(hint):
    """Return the types of a union, without None, markers and `Literal`s."""
    if hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(hint) if one is not type(None)]
    return [hint]


def _literals(hint):
    """Return the values of all `Literal`s in a type."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    found = ()
    for one in typing.get_args(hint):
        if not isinstance(one, str):
            found += _literals(one)
    return found


def _plain(hint):
    """Return a type with `str` for each `Literal`: we say what is wrong."""
    if hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return str
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_plain, inner))]  # noqa: UP007
    if origin in (tuple, list):
        return origin[
            tuple(one if one is ... else _plain(one) for one in inner)
        ]
    return hint


def _choices(kind, field):
    literals = _literals(_hints(kind)[field.name])
    values = field.metadata.get("choices") or literals
    return tuple(value for value in values if value is not None)


def _metavar_of(kind, field):
    """Return what stands for the value of an option, `None` for a flag."""
    if "metavar" in field.metadata:
        return field.metadata["metavar"]
    hint, choices = _hints(kind)[field.name], _choices(kind, field)
    words = []
    for one in _members(hint):
        if one is bool:
            return None
        inner = [x for x in typing.get_args(one) if x is not ...]
        listed = typing.get_origin(one) in (tuple, list)
        several = " ..." if listed and len(inner) == 1 else ""
        if _is_positional(kind, field):
            return f"{field.name.upper()}{several}"
        if listed and not several:
            return " ".join(_word(x, choices) for x in inner)
        words.append(f"{_word(inner[0] if listed else one, choices)}{several}")
    # Of a value and a list of such values, the list says it all.
    words = [word for word in words if f"{word} ..." not in words]
    return "|".join(dict.fromkeys(words))


def _word(one, choices):
    if one is str or typing.get_origin(one) is typing.Literal:
        listed = "{" + ",".join(map(str, choices)) + "}"
        if choices and len(listed) <= _WIDEST:
            return listed
        return "NAME" if choices else "TEXT"
    return _WORDS.get(one, getattr(one, "__name__", "VALUE").upper())


def _help(kind, field):
    """Return the help of an option: its lines in the docstring."""
    text = next(
        (
            " ".join(entry.description.split())
            for owner in kind.__mro__
            for entry in _docstring(owner).params
            if entry.arg_name == field.name
        ),
        "",
    )
    choices = _choices(kind, field)
    listed = _metavar_of(kind, field).startswith("{") if choices else True
    if not listed and all(choice not in text for choice in choices):
        text = f"{text} One of {', '.join(choices)}."
    return as_typed(text, kind)


@functools.cache
def _docstring(kind):
    return docstring_parser.parse(vars(kind).get("__doc__") or "")
