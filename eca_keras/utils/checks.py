"""Checks of arguments, and the sentence where one does not hold.

Every refusal says the rule, the name and the value, in this order, and is an
`InputError`, which is a `ValueError`.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

from eca_keras.errors import InputError
from eca_keras.utils.types import DataFormat


def refusal(name: str, value: Any, rule: str, **others: Any) -> InputError:
    """Return the error for an argument that breaks a rule.

    Args:
        name: Name of the argument.
        value: What was passed.
        rule: What it must be, such as `"must be positive"`.
        **others: What else was passed that the rule is about.
    """
    pairs = {name: value, **others}
    received = ", ".join(f"{key}={each!r}" for key, each in pairs.items())
    return InputError(f"`{name}` {rule}. Received: {received}")


def check(name: str, value: Any, holds: Any, rule: str, **others: Any) -> None:
    """Refuse an argument unless its rule holds; see `refusal`."""
    if not holds:
        raise refusal(name, value, rule, **others)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is none of `choices`, any iterable."""
    choices = list(choices)
    listed = ", ".join(str(choice) for choice in choices)
    check(name, value, value in choices, f"must be one of {listed}")


def check_count(
    name: str, value: Any, least: int = 1, none: bool = False
) -> None:
    """Refuse what is no integer of at least `least`.

    Args:
        name: Name of the argument.
        value: What was passed.
        least: The smallest integer that is allowed.
        none: Whether `None` is allowed, too.
    """
    if none and value is None:
        return
    rule = "a positive integer" if least == 1 else f"an integer >= {least}"
    rule = f"must be {rule}{' or None' if none else ''}"
    check(name, value, is_int(value) and value >= least, rule)


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0."""
    rule = "must be a positive number"
    check(name, value, is_real(value) and value > 0, rule)


def check_fraction(name: str, value: Any) -> None:
    """Refuse what is no number above 0 and at most 1."""
    holds = is_real(value) and 0 < value <= 1
    check(name, value, holds, "must be a number in (0, 1]")


def check_kernel_size(name: str, value: Any) -> None:
    """Refuse what cannot be the size of a centred kernel."""
    check(name, value, is_kernel_size(value), "must be a positive odd integer")


def is_adaptive(kernel_size: Any) -> bool:
    """Tell whether a kernel size follows from the number of channels."""
    return kernel_size is None or (
        isinstance(kernel_size, str) and kernel_size == "adaptive"
    )


def is_int(value: Any) -> bool:
    """Tell whether `value` is an integer: NumPy's count, booleans do not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_kernel_size(value: Any) -> bool:
    """Tell whether `value` can be the size of a centred kernel."""
    return is_int(value) and value > 0 and value % 2 == 1


def is_real(value: Any) -> bool:
    """Tell whether `value` is a finite real number, booleans excluded."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and bool(abs(value) < float("inf"))  # type: ignore[operator]
    )


def check_tensorflow(needed_for: str) -> None:
    """Raise ImportError unless Keras runs on TensorFlow."""
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise ImportError(
            f"`{needed_for}` needs Keras on TensorFlow: set "
            "KERAS_BACKEND=tensorflow before the first import of keras. "
            f"Received: backend={backend}"
        )


def data_format(value: DataFormat) -> Any:
    """Return `value`, or Keras's default for `None`."""
    import keras

    if value is None:
        return keras.config.image_data_format()
    formats = ("channels_last", "channels_first")
    rule = "must be 'channels_last', 'channels_first' or None"
    check("data_format", value, value in formats, rule)
    return value


def listed(names: Iterable[Any], limit: int = 10) -> str:
    """Join the first names with commas and say how many more there are.

    They may come from a file: any length and any character is fine.
    """
    names = list(names)
    text = ", ".join(map(shown, names[:limit]))
    more = len(names) - limit
    return f"{text}, and {more} more" if more > 0 else text


def shown(name: Any, limit: int = 80) -> str:
    """Return a name for a message: printable and not too long."""
    name = str(name)
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= limit else f"{name[:limit]}..."
