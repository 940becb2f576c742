"""Opens a checkpoint, whatever its format."""

from __future__ import annotations

import contextlib
import os
import typing
from collections.abc import Iterator

from eca_keras.utils.checks import check
from eca_keras.utils.types import PathLike
from eca_keras.weights import safetensors_files
from eca_keras.weights import torch_files
from eca_keras.weights.layouts import StateDict
from eca_keras.weights.layouts import find_state_dict
from eca_keras.weights.tensors import CheckpointError

# What else is found under a checkpoint's name, by how it begins.
_STRANGERS = {
    b"<": "it is a web page, not a checkpoint. The download needs a login or "
    "was refused: open the address in a browser.",
    b"version https://git-lfs": "it is a Git LFS pointer, not the checkpoint "
    "itself. Run `git lfs pull`.",
    b"\x89HDF": "it is an HDF5 file of Keras. Pass it to a builder as "
    "`weights`.",
    b"\x1f\x8b": "it is compressed with gzip. Unpack it first.",
    b"\x80": "it is a pickle, but not one of torch.save; it was not run.",
}


@contextlib.contextmanager
def open_checkpoint(
    path: PathLike, ema: bool | None = None
) -> Iterator[StateDict]:
    """Open the checkpoint at `path`.

    Args:
        path: The file.
        ema: As in `find_state_dict`.

    Yields:
        The `StateDict`, whose tensors are readable until the context ends.

    Raises:
        CheckpointError: if the file holds no state dict, or is damaged.
        OSError: if the file cannot be read.
        ImportError: if a package that reads the format is missing.
    """
    rule = "must be True, False or None"
    check("ema", ema, ema is None or isinstance(ema, bool), rule)
    with open(path, "rb") as file, contextlib.ExitStack() as stack:
        try:
            yield find_state_dict(_read(file, stack), ema)
        except CheckpointError as error:
            raise CheckpointError(
                f"Cannot load {os.fspath(path)!r}: {error}"
            ) from None


def _read(file: typing.BinaryIO, stack: contextlib.ExitStack) -> typing.Any:
    head = file.read(64)
    file.seek(0)
    if torch_files.is_zip(head):
        return torch_files.read_zip(file, stack)
    if torch_files.is_legacy(head):
        return torch_files.read_legacy(file)
    if safetensors_files.is_safetensors(head):
        return safetensors_files.read(file, stack)
    if not head:
        raise CheckpointError("it is empty. Download it again.")
    for start, reason in _STRANGERS.items():
        if head.lstrip().startswith(start):
            raise CheckpointError(reason)
    raise CheckpointError(
        "it is neither a file of torch.save nor of safetensors."
    )
