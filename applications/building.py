"""Networks by the words of a command line or a config."""

from eca_keras.applications.attention import WITH_KERNEL
from eca_keras.applications.registry import find_builder
from eca_keras.errors import InputError


def build_network(model, attention="eca", kernel_size="adaptive", **arguments):
    """Build a network by its name.

    Args:
        model: Name of the builder.
        attention: As in the builders, or `"none"`.
        kernel_size: As in the builders.
        **arguments: Further arguments of the builder.

    Raises:
        InputError: with the builder's own sentence if an argument is bad.
    """
    build = find_builder(model)
    try:
        return build(
            attention=None if attention == "none" else attention,
            kernel_size=kernel_size,
            **arguments,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def kernel_size_of(attention, kernel_size):
    """Return the kernel size for one of several kinds of attention.

    Args:
        attention: Name of the attention module, or `"none"`.
        kernel_size: What is asked of those that have a kernel.
    """
    return kernel_size if attention in WITH_KERNEL else "adaptive"
