"""Writes files as `torch.save` does, without PyTorch.

`test_weights_torch.py` compares them with PyTorch where it is installed.
"""

import collections
import io
import pickle
import sys
import types
import unittest.mock
import zipfile

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def save(obj, path, legacy=False, location="cpu", storage=None, protocol=2):
    """Saves an object with NumPy arrays in place of tensors.

    Args:
        obj: What is saved: dictionaries, lists, numbers, arrays.
        path: The file.
        legacy: Whether in the container of PyTorch before 1.6.
        location: The device that the tensors were on.
        storage: Array whose memory all tensors are views of; by default each
            has its own.
        protocol: Version of the pickle, at least 1. PyTorch's default is 2.
    """
    stream = io.BytesIO()
    with unittest.mock.patch.dict(sys.modules, _MODULES):
        pickler = _Pickler(stream, location, legacy, storage, protocol)
        pickler.dump(obj)
    if legacy:
        _write_legacy(path, stream.getvalue(), pickler.storages)
    else:
        _write_zip(path, stream.getvalue(), pickler.storages)


def _write_zip(path, data, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes("A"))
        archive.writestr("archive/version", "3\n")


def _write_legacy(path, data, storages):
    with open(path, "wb") as file:
        system = {
            "protocol_version": 1001,
            "little_endian": True,
            "type_sizes": {"short": 2, "int": 4, "long": 4},
        }
        for header in (LEGACY_MAGIC, 1001, system):
            pickle.dump(header, file, protocol=2)
        file.write(data)
        pickle.dump(list(storages), file, protocol=2)
        for array in storages.values():
            file.write(array.size.to_bytes(8, "little"))
            file.write(array.tobytes("A"))


class _StorageOf:
    """Stands for the memory of an array, in whatever order it is."""

    def __init__(self, array):
        self.array = array


class _Pickler(pickle.Pickler):
    """Replaces arrays as PyTorch's reducer of tensors does."""

    def __init__(self, stream, location, legacy, storage, protocol):
        super().__init__(stream, protocol)
        self.storage = storage
        self.location = location
        self.legacy = legacy
        self.storages = {}

    def reducer_override(self, obj):
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        strides = tuple(stride // obj.itemsize for stride in obj.strides)
        hooks = collections.OrderedDict()
        storage = _StorageOf(obj if self.storage is None else self.storage)
        arguments = (storage, 0, obj.shape, strides, False, hooks)
        return _rebuild_tensor_v2, arguments

    def persistent_id(self, obj):
        if not isinstance(obj, _StorageOf):
            return None
        key = str(len(self.storages))
        self.storages[key] = obj.array
        kind = _STORAGES[obj.array.dtype.name]
        pid = ("storage", kind, key, self.location, obj.array.size)
        return (*pid, None) if self.legacy else pid


def _rebuild_tensor_v2():
    raise AssertionError("only its name is written")


_rebuild_tensor_v2.__module__ = "torch._utils"

_STORAGES = {
    dtype: type(f"{name}Storage", (), {"__module__": "torch"})
    for dtype, name in {
        "float16": "Half",
        "float32": "Float",
        "float64": "Double",
        "int64": "Long",
        "bool": "Bool",
    }.items()
}

_MODULES = {
    "torch": types.ModuleType("torch"),
    "torch._utils": types.ModuleType("torch._utils"),
}
for _storage in _STORAGES.values():
    setattr(_MODULES["torch"], _storage.__name__, _storage)
_MODULES["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
_MODULES["torch"]._utils = _MODULES["torch._utils"]
