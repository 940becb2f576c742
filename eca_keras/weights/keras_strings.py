"""Checks the strings in an HDF5 file before the HDF5 library reads them.

They are the one thing in a file of Keras whose size the library does not
check: it takes as much memory as an attribute says that its string is long,
and goes from object to object of a heap by their sizes, for ever if one is 0.
Sections below are those of the HDF5 File Format Specification, version 3.0.
"""

import mmap
import struct

from eca_keras.weights import keras_bounds as bounds
from eca_keras.weights.keras_bounds import Refused
from eca_keras.weights.tensors import CheckpointError

_HEAP = b"GCOL\1\0\0\0"
_VARIABLE_LENGTH = 9  # class of a datatype

# The attributes that are read, by Keras or here.
NAMES = (b"name\0", b"dtype\0", b"model_config\0")


def check(path):
    """Refuse a file in which a string would take the library too far."""
    with open(path, "rb") as file:
        if len(file.read(16)) < 16:
            raise CheckpointError("it holds a damaged HDF5 file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_heaps(data)
            for name in NAMES:
                _check_attributes(data, name)


def _check_heaps(data):
    """Global heaps, section III.E."""
    sizes = data[13:15] if data[8:9] in (b"\0", b"\1") else data[9:11]
    if sizes != b"\x08\x08":
        raise Refused("its HDF5 file has addresses that are not of 8 bytes")
    at = data.find(_HEAP)
    while at >= 0:
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        if not _ends(data, at + 16, at + size):
            raise CheckpointError("it holds a damaged HDF5 file (its heap)")
        at = data.find(_HEAP, at + 8)


def _ends(data, at, end):
    """Tell whether going through the objects of a heap comes to its end."""
    if end > len(data):
        return False
    while at + 16 <= end:
        index, _, size = struct.unpack_from("<HHxxxxQ", data, at)
        # Object 0 is the free space, whose size has its header in it.
        step = 16 + -(-size // 8) * 8 if index else size
        if step < 16:
            return False
        at += step
    return True


def _check_attributes(data, name):
    """Attribute messages, section IV.A.2.m, wherever they are."""
    at = data.find(name)
    while at >= 0:
        for back, pad in ((8, 8), (8, 1), (9, 1)):  # of version 1, 2 and 3
            _check_attribute(data, at - back, at, name, pad)
        at = data.find(name, at + 1)


def _check_attribute(data, start, at, name, pad):
    if start < 0:
        return
    version, flags, *sizes = struct.unpack_from("<BBHHH", data, start)
    if version != {(8, 8): 1, (8, 1): 2, (9, 1): 3}[at - start, pad] or (
        sizes[0] != len(name)
    ):
        return
    name_size, type_size, space_size = (-(-s // pad) * pad for s in sizes)
    kind = at + name_size
    value = kind + type_size + space_size
    if value + 4 > len(data):
        return
    shared = version > 1 and flags
    long = data[kind] & 15 == _VARIABLE_LENGTH and (
        int.from_bytes(data[value : value + 4], "little") > bounds.CONFIG_BYTES
    )
    if shared or long:
        raise Refused(
            f"its HDF5 attribute {name[:-1].decode()} is longer than a model's"
        )
