"""Checks of arguments, and the sentence where one does not hold.

Every refusal says the rule, the name and the value, in this order, and is an
`InputError`, which is a `ValueError`.
"""

import numbers

from eca_keras.errors import InputError


def refusal(name, value, rule):
    """Return the error for an argument that breaks a rule.

    Args:
        name: Name of the argument.
        value: What was passed.
        rule: What it must be, such as `"must be positive"`.
    """
    return InputError(f"`{name}` {rule}. Received: {name}={value!r}")


def check(name, value, holds, rule):
    """Refuse an argument unless its rule holds."""
    if not holds:
        raise refusal(name, value, rule)


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


def is_int(value):
    """Whether `value` is an integer: NumPy's count, booleans do not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_kernel_size(value):
    """Whether `value` can be the size of a centred kernel."""
    return is_int(value) and value > 0 and value % 2 == 1


def is_real(value):
    """Whether `value` is a finite real number, booleans excluded."""
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
    """Return the first names, with commas, and how many more there are."""
    names = [str(name) for name in names]
    text = ", ".join(names[:limit])
    more = len(names) - limit
    return f"{text}, and {more} more" if more > 0 else text
