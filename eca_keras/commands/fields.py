"""What the fields of a command say about its options.

Beside its type and its line under `Args:` in the docstring of its class, a
field may have in its metadata:

- `group`: heading of its option in the help;
- `choices`: the values that it takes, if its type is no `Literal`;
- `metavar`: what the help shows for its value.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import types
import typing
from typing import Any

import docstring_parser
import tyro

# The markers of an argument that is told by its place.
_POSITIONAL = tyro.conf.Positional[int].__metadata__

# What the help shows for a value of a type.
_WORDS = {int: "INT", float: "NUMBER", str: "TEXT", pathlib.Path: "PATH"}
# Choices that take more room are listed in the help's sentence instead.
_WIDEST = 40


@dataclasses.dataclass(frozen=True)
class Option:
    """An option, from a field of a command.

    Attributes:
        name: Name of the field.
        flag: What the user types: `--image-size`, or `IMAGES` for an
            argument without a flag.
        type: What it is parsed as: `str` stands for a `Literal`.
        default: Its default, `dataclasses.MISSING` without one.
        group: Heading in the help, or `None`.
        choices: The words that it takes; empty for any.
        metavar: What the help shows for its value, `None` for a switch.
        help: Its sentence in the help.
    """

    name: str
    flag: str
    type: Any
    default: Any
    group: str | None
    choices: tuple[str, ...]
    metavar: str | None
    help: str

    @property
    def positional(self) -> bool:
        return not self.flag.startswith("--")

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


@functools.cache
def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options of a command.

    Args:
        kind: Its class, a dataclass.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    helps = {
        entry.arg_name: " ".join(entry.description.split())
        for owner in reversed(kind.__mro__)
        for entry in docstring_of(owner).params
    }
    return tuple(
        _option(field, hints[field.name], helps.get(field.name, ""))
        for field in dataclasses.fields(kind)
    )


def docstring_of(kind: type) -> docstring_parser.Docstring:
    """Return the docstring of a class, parsed."""
    return docstring_parser.parse(vars(kind).get("__doc__") or "")


def _option(field, hint, text):
    positional = any(
        marker in getattr(hint, "__metadata__", ()) for marker in _POSITIONAL
    )
    hint = getattr(hint, "__origin__", hint) if positional else hint
    choices = field.metadata.get("choices") or _literals(hint)
    choices = tuple(choice for choice in choices if choice is not None)
    metavar = field.metadata.get("metavar") or _metavar(hint, choices)
    if positional:
        several = " ..." if metavar.endswith(" ...") else ""
        metavar = f"{field.name.upper()}{several}"
    listed = choices and metavar.startswith("{")
    if choices and not listed and not any(word in text for word in choices):
        text = f"{text} One of {', '.join(choices)}."
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    flag = f"--{field.name.replace('_', '-')}"
    return Option(
        name=field.name,
        flag=field.name.upper() if positional else flag,
        type=_plain(hint),
        default=default,
        group=field.metadata.get("group"),
        choices=choices,
        metavar=metavar,
        help=text,
    )


def _literals(hint):
    """Return the values of all `Literal`s in a type."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return sum(map(_literals, typing.get_args(hint)), ())


def _plain(hint):
    """Return a type with `str` for each `Literal`: we say what is wrong."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return str
    if origin is None:
        return hint
    inner = tuple(map(_plain, typing.get_args(hint)))
    return (typing.Union if _is_union(hint) else origin)[inner]


def _is_union(hint):
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _metavar(hint, choices):
    """Return what stands for a value of a type, `None` for a switch."""
    if hint is bool:
        return None
    words = []
    for one in typing.get_args(hint) if _is_union(hint) else [hint]:
        if one is type(None):
            continue
        if typing.get_origin(one) not in (tuple, list):
            words.append(_word(one, choices))
            continue
        inner = typing.get_args(one)
        word = " ".join(_word(x, choices) for x in inner if x is not ...)
        endless = len(inner) == 1 or ... in inner
        words.append(f"{word} ..." if endless else word)
    # Of a value and a list of such values, the list says it all.
    words = [word for word in words if f"{word} ..." not in words]
    return "|".join(dict.fromkeys(words))


def _word(one, choices):
    if one is not str and typing.get_origin(one) is not typing.Literal:
        return _WORDS[one]
    listed = "{" + ",".join(choices) + "}"
    if choices and len(listed) <= _WIDEST:
        return listed
    return "NAME" if choices else "TEXT"
