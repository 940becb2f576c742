"""Networks by the words of a command line or a config."""

import re

from eca_keras.applications.attention import WITH_KERNEL
from eca_keras.applications.registry import find_builder
from eca_keras.errors import InputError


def build_network(model, attention="eca", kernel_size="adaptive", **arguments):
    """Build a network by its name.

    Args:
        model: Name of the builder.
        attention: As in the builders, or `"none"`.
        kernel_size: As in the builders, or one size per stage as text with
            commas between them: `"3,5,5,7"`.
        **arguments: Further arguments of the builder.

    Raises:
        InputError: with the builder's own sentence if an argument is bad.
    """
    build = find_builder(model)
    try:
        return build(
            attention=None if attention == "none" else attention,
            kernel_size=parse_kernel_size(kernel_size),
            **arguments,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def parse_kernel_size(kernel_size):
    """Make a list of text such as `"3,5,5,7"`, leave all else as it is."""
    if isinstance(kernel_size, str) and re.fullmatch(r"[\d,]+", kernel_size):
        return [int(size) for size in kernel_size.split(",") if size]
    return kernel_size


def kernel_size_of(attention, kernel_size):
    """Return the kernel size for one of several kinds of attention.

    Args:
        attention: Name of the attention module, or `"none"`.
        kernel_size: What is asked of those that have a kernel.
    """
    return kernel_size if attention in WITH_KERNEL else "adaptive"
