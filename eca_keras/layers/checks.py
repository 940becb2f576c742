"""Checks of constructor arguments that several layers share."""

import numbers

import keras


def data_format(value):
    """Returns `value`, or Keras's default for `None`."""
    if value is None:
        return keras.config.image_data_format()
    if value not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last', 'channels_first' or "
            f"None. Received: data_format={value!r}"
        )
    return value


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
