"""Files of the safetensors format, which timm's weights come in."""

import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy

from eca_keras import errors
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Tensor


def is_safetensors(head):
    """Whether a file that begins with `head` may be of this format.

    It begins with the size of a JSON header, eight bytes, and the header.
    """
    return head[8:9] == b"{"


def read(file, stack):
    """Returns the tensors in a safetensors file.

    Args:
        file: The file, open.
        stack: `contextlib.ExitStack` that ends what reads it.

    Returns:
        Dictionary from names to `Tensor`.

    Raises:
        CheckpointError: if the file is damaged.
        ImportError: if the package `safetensors` is not installed.
    """
    errors.require("convert", "Reading a .safetensors file", "safetensors")
    import safetensors

    try:
        tensors = stack.enter_context(safetensors.safe_open(file.name, "numpy"))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"it is truncated or damaged ({error}). Download it again."
        ) from None
    return {name: _tensor(tensors, name) for name in tensors.keys()}  # noqa: SIM118


def _tensor(tensors, name):
    shape = tensors.get_slice(name).get_shape()
    return Tensor(tuple(shape), lambda: tensors.get_tensor(name))
