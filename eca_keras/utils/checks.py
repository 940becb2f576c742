"""Checks of arguments, and the sentence where one does not hold.

Every refusal says the rule, the name and the value, in this order, and is an
`InputError`, which is a `ValueError`.
"""

import numbers

from eca_keras.errors import InputError


def refusal(name, value, rule, **others):
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


def check(name, value, holds, rule, **others):
    """Refuse an argument unless its rule holds; see `refusal`."""
    if not holds:
        raise refusal(name, value, rule, **others)


def check_choice(name, value, choices):
    """Refuse a value that is none of `choices`, any iterable."""
    choices = list(choices)
    listed = ", ".join(str(choice) for choice in choices)
    check(name, value, value in choices, f"must be one of {listed}")


def check_count(name, value, least=1, none=False):
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


def check_positive(name, value):
    """Refuse what is no finite number above 0."""
    rule = "must be a positive number"
    check(name, value, is_real(value) and value > 0, rule)


def check_fraction(name, value, rule="must be a number in (0, 1]"):
    """Refuse what is no number above 0 and at most 1."""
    check(name, value, is_real(value) and 0 < value <= 1, rule)


def check_kernel_size(name, value):
    """Refuse what cannot be the size of a centred kernel."""
    check(name, value, is_kernel_size(value), "must be a positive odd integer")


def is_adaptive(kernel_size):
    """Tell whether a kernel size follows from the number of channels."""
    return kernel_size is None or (
        isinstance(kernel_size, str) and kernel_size == "adaptive"
    )


def is_int(value):
    """Tell whether `value` is an integer: NumPy's count, booleans do not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_kernel_size(value):
    """Tell whether `value` can be the size of a centred kernel."""
    return is_int(value) and value > 0 and value % 2 == 1


def is_real(value):
    """Tell whether `value` is a finite real number, booleans excluded."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and abs(value) < float("inf")
    )


def data_format(value):
    """Return `value`, or Keras's default for `None`."""
    import keras

    if value is None:
        return keras.config.image_data_format()
    formats = ("channels_last", "channels_first")
    rule = "must be 'channels_last', 'channels_first' or None"
    check("data_format", value, value in formats, rule)
    return value


def listed(names, limit=10):
    """Join the first names with commas and say how many more there are.

    They may come from a file: any length and any character is fine.
    """
    names = list(names)
    text = ", ".join(map(shown, names[:limit]))
    more = len(names) - limit
    return f"{text}, and {more} more" if more > 0 else text


def shown(name, limit=80):
    """Return a name for a message: printable and not too long."""
    name = str(name)
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= limit else f"{name[:limit]}..."
