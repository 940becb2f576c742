"""Files of the safetensors format, which timm's weights come in."""

import functools

import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy

from eca_keras import errors
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Tensor

# Bytes after which the file is opened anew: the library maps it into memory,
# and what has been read counts as the process's until the file is closed.
# Opening it for every tensor would be ten times as slow as reading it.
_REOPEN_AFTER = 32 * 2**20


def is_safetensors(head):
    """Tell whether a file that begins with `head` may be of this format.

    It begins with the size of a JSON header, eight bytes, and the header.
    """
    return head[8:9] == b"{"


def read(file, stack):
    """Return the tensors in a safetensors file.

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
        reader = _Reader(functools.partial(safetensors.safe_open, file.name))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"it is truncated or damaged ({error}). Download it again."
        ) from None
    stack.callback(reader.close)
    return reader.tensors()


class _Reader:
    def __init__(self, open_file):
        self._open = functools.partial(open_file, framework="numpy")
        self._file = self._open()
        self._count = 0  # bytes read since the file was opened

    def tensors(self):
        return {
            name: Tensor(
                tuple(self._file.get_slice(name).get_shape()),
                functools.partial(self._read, name),
            )
            for name in self._file.keys()  # noqa: SIM118  it is no mapping
        }

    def close(self):
        self._file = None

    def _read(self, name):
        if self._count > _REOPEN_AFTER:
            self._file, self._count = self._open(), 0
        values = self._file.get_tensor(name)
        self._count += values.nbytes
        return values
