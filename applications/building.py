"""Networks by the words of a command line or a config."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from eca_keras.applications.attention import WITH_KERNEL
from eca_keras.applications.registry import find_builder
from eca_keras.errors import InputError
from eca_keras.utils.types import KernelSize

if TYPE_CHECKING:
    import keras


def build_network(
    model: str,
    attention: str = "eca",
    kernel_size: KernelSize = "adaptive",
    **arguments: Any,
) -> keras.Model:
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


def kernel_size_of(attention: str, kernel_size: KernelSize) -> KernelSize:
    """Return the kernel size for one of several kinds of attention.

    Args:
        attention: Name of the attention module, or `"none"`.
        kernel_size: What is asked of those that have a kernel.
    """
    return kernel_size if attention in WITH_KERNEL else "adaptive"
