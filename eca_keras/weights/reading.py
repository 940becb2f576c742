"""Opens a checkpoint, whatever its format, and finds the state dict in it."""

import collections.abc
import contextlib
import os

from eca_keras.weights import safetensors_files
from eca_keras.weights import torch_files
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Tensor

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

# Where training scripts put the state dict, in the order of preference.
_STATE_DICTS = ("state_dict", "model_state_dict", "model")
# What wrappers (DataParallel, torch.compile) put before every key.
_PREFIXES = ("module.", "_orig_mod.")
# Counters of BatchNorm and of the authors' profiler: no weights.
_COUNTERS = ("num_batches_tracked", "total_ops", "total_params")


@contextlib.contextmanager
def open_checkpoint(path):
    """Open the checkpoint at `path`.

    Yields:
        Dictionary from PyTorch's names, without wrappers' prefixes, to
        `Tensor`, readable until the context ends.

    Raises:
        CheckpointError: if the file holds no state dict, or is damaged.
        OSError: if the file cannot be read.
        ImportError: if a package that reads the format is missing.
    """
    with open(path, "rb") as file, contextlib.ExitStack() as stack:
        try:
            yield state_dict(_read(file, stack))
        except CheckpointError as error:
            raise CheckpointError(
                f"Cannot load {os.fspath(path)!r}: {error}"
            ) from None


def _read(file, stack):
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


def state_dict(loaded, tensor_type=Tensor):
    """Return the tensors of a state dict, wherever it is in what was saved.

    Args:
        loaded: The object that was saved.
        tensor_type: Class of the tensors in it.

    Raises:
        CheckpointError: if there is none.
    """
    for name in _STATE_DICTS:
        if isinstance(loaded, collections.abc.Mapping) and isinstance(
            loaded.get(name), collections.abc.Mapping
        ):
            loaded = loaded[name]
            break
    if not isinstance(loaded, collections.abc.Mapping) or not any(
        isinstance(value, tensor_type) for value in loaded.values()
    ):
        raise CheckpointError(
            "it holds no state dict. Save one with "
            "torch.save(model.state_dict(), path)."
        )
    state = {
        name: value
        for name, value in loaded.items()
        if isinstance(name, str)
        and isinstance(value, tensor_type)
        and not name.endswith(_COUNTERS)
    }
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {n.removeprefix(prefix): t for n, t in state.items()}
    return state
