"""The two containers of `torch.save`.

Since PyTorch 1.6 it is a zip archive, nothing in it compressed, with the pickle
in `NAME/data.pkl` and each storage in `NAME/data/KEY`. Before, as in the
released weights of ECA-Net, it was a run of pickles (a magic number, the
version, what the system is, the object, the keys of the storages) and
then the storages, each after its number of elements.
"""

import io
import os
import zipfile

from eca_keras.weights import torch_pickle
from eca_keras.weights.tensors import ZIP_FAULTS
from eca_keras.weights.tensors import CheckpointError

_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_LEGACY_VERSION = 1001


def is_zip(head):
    """Tell whether a file that begins with `head` is a zip archive."""
    return head.startswith(b"PK\x03\x04")


def is_legacy(head):
    """Tell whether a file that begins with `head` has the older container."""
    return head.startswith(b"\x80") and _MAGIC in head


def read_zip(file, stack):
    """Return the object in a zip archive of `torch.save`.

    Args:
        file: The file, open for as long as the tensors are read.
        stack: `contextlib.ExitStack` that ends what reads it.

    Returns:
        What was saved, with a `Tensor` for each tensor.

    Raises:
        CheckpointError: if the file is damaged, or not one of torch.save.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
    except ZIP_FAULTS:
        raise CheckpointError(
            "it is a truncated or damaged zip archive. Download it again."
        ) from None
    members = {info.filename: info for info in archive.infolist()}
    roots = [
        name.removesuffix("data.pkl")
        for name in members
        if name.endswith("/data.pkl")
    ]
    if len(roots) != 1:
        raise CheckpointError(
            "it is a zip archive, but not one of torch.save. A .keras file "
            "loads with keras.models.load_model."
        )
    if f"{roots[0]}constants.pkl" in members:
        raise CheckpointError(
            "it is a TorchScript program, which was not run. Save its weights, "
            "torch.save(torch.jit.load(path).state_dict(), path)."
        )
    if members[f"{roots[0]}data.pkl"].file_size > torch_pickle.MAX_BYTES:
        raise torch_pickle.too_large()
    # What is compressed can be far larger than the file.
    if any(info.compress_type for info in members.values()):
        raise CheckpointError(
            "it is a compressed zip archive, which torch.save never writes. "
            "Unpack it first."
        )

    def read(name):
        try:
            return archive.read(roots[0] + name)
        except ZIP_FAULTS as error:
            raise CheckpointError(
                f"it is damaged in {name!r} ({error}). Download it again."
            ) from None

    if f"{roots[0]}byteorder" in members and read("byteorder") != b"little":
        raise _big_endian()
    storages = {}
    loaded = torch_pickle.load(
        io.BytesIO(read("data.pkl")),
        lambda storage: read(f"data/{storage.key}"),
        storages,
    )
    for storage in storages.values():
        member = members.get(f"{roots[0]}data/{storage.key}")
        if member is None or member.file_size < storage.nbytes:
            raise CheckpointError(
                f"its storage {storage.key!r} is missing or too short. "
                "Download it again."
            )
    return loaded


def read_legacy(file):
    """Return the object in a file of the older container.

    Args, returns and raises as `read_zip`.
    """
    starts = {}  # position of each storage, in bytes

    def read(storage):
        file.seek(starts[storage.key])
        return file.read(storage.nbytes)

    torch_pickle.load(file)  # the magic number
    version = torch_pickle.load(file)
    if version != _LEGACY_VERSION:
        raise CheckpointError("torch.save wrote it in an unknown version.")
    system = torch_pickle.load(file)
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise _big_endian()
    storages = {}
    loaded = torch_pickle.load(file, read, storages)
    keys = torch_pickle.load(file)
    keys = keys if isinstance(keys, list) else []
    names = [key for key in keys if type(key) is str]
    if len(names) != len(storages) or set(names) != set(storages):
        raise CheckpointError("its storages are not those of its tensors.")
    for key in names:
        size = int.from_bytes(file.read(8), "little", signed=True)
        if size != storages[key].size:
            raise _truncated()
        starts[key] = file.tell()
        file.seek(storages[key].nbytes, os.SEEK_CUR)
    if file.tell() > os.fstat(file.fileno()).st_size:
        raise _truncated()
    return loaded


def _truncated():
    return CheckpointError("it is truncated. Download it again.")


def _big_endian():
    return CheckpointError(
        "its numbers are big-endian. Save it again on a little-endian machine."
    )
