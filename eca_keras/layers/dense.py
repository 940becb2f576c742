"""The fully-connected parts of the attention family."""

from keras import ops

from eca_keras.layers.eca import KERNEL_INITIALIZER


def add_kernel(layer, name, shape):
    """Add a weight that is read as it is stored, not in half precision."""
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=KERNEL_INITIALIZER,
        autocast=False,
    )


def project(x, kernel):
    """Matrix product of `x` and a weight, in the dtype of `x`."""
    return ops.matmul(x, ops.cast(kernel, x.dtype))
