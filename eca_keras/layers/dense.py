"""The fully-connected parts of the attention family."""

from keras import ops

from eca_keras.layers.eca import KERNEL_INITIALIZER
from eca_keras.utils import checks


def check_positive(name, value):
    """Raises unless the argument `name` is a positive integer."""
    if not checks.is_int(value) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )


def add_kernel(layer, name, shape):
    """Adds a weight that is read as it is stored, not in half precision."""
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=KERNEL_INITIALIZER,
        autocast=False,
    )


def project(x, kernel):
    """Matrix product of `x` and a weight, in the dtype of `x`."""
    return ops.matmul(x, ops.cast(kernel, x.dtype))
