"""HDF5 files that are more than arrays; see `hostile_keras`."""

import struct

import h5py
import numpy as np
from hostile_files import SECRET
from hostile_files import base_members
from hostile_files import case
from hostile_files import legacy
from hostile_files import with_weights
from hostile_files import write_zip


@case("CVE-2026-0897: an array far larger than its file")
def _(path, folder):
    def change(file, group):
        del file[group]["0"]
        file[group].create_dataset(
            "0", (2**20, 2**16), "float32", chunks=(2**10, 2**10), fillvalue=1
        )

    with_weights(path, change)


@case("CVE-2026-0897: the same, compressed")
def _(path, folder):
    def change(file, group):
        del file[group]["0"]
        file[group].create_dataset(
            "0", (2**20, 2**16), "float32", compression="gzip"
        )

    with_weights(path, change)


def external(file, group, folder):
    del file[group]["1"]
    target = [(str(folder / SECRET), 0, 12)]
    file[group].create_dataset("1", (3,), "float32", external=target)


@case("CVE-2026-1669: an array in another file")
def _(path, folder):
    with_weights(path, lambda file, group: external(file, group, folder))


@case("CVE-2026-1669: the same in a legacy HDF5 file")
def _(path, folder):
    legacy(path, {})
    with h5py.File(path, "r+") as file:
        group = file["model_weights/dense/dense"]
        group["1"] = group.pop("bias")[()] if hasattr(group, "pop") else 0.0
        external(group, ".", folder)


def linked(kind):
    def write(path, folder):
        def change(file, group):
            del file[group]["1"]
            file[group]["1"] = {
                "hard": file[group]["0"],
                "soft": h5py.SoftLink(f"/{group}/0"),
                "external": h5py.ExternalLink(str(folder / SECRET), "/x"),
            }[kind]

        with_weights(path, change)

    return write


for _kind in ("hard", "soft", "external"):
    case(f"{_kind} links in HDF5")(linked(_kind))


@case("a group in HDF5 that holds itself")
def _(path, folder):
    def change(file, group):
        file[group]["self"] = file[group]

    with_weights(path, change)


@case("a virtual array in HDF5")
def _(path, folder):
    def change(file, group):
        del file[group]["1"]
        layout = h5py.VirtualLayout((3,), "float32")
        layout[:] = h5py.VirtualSource(str(folder / SECRET), "x", (3,))
        file[group].create_virtual_dataset("1", layout)

    with_weights(path, change)


def array_of(dtype, **options):
    def write(path, folder):
        def change(file, group):
            del file[group]["1"]
            file[group].create_dataset("1", (3,), dtype, **options)

        with_weights(path, change)

    return write


for _what, _dtype in {
    "records": [("a", "f4"), ("b", "i4")],
    "strings of any length": h5py.string_dtype(),
    "references": h5py.ref_dtype,
    "arrays": np.dtype((np.float32, (2,))),
    "opaque bytes": "V1000",
}.items():
    case(f"an array of {_what} in HDF5")(array_of(_dtype))


@case("a chunk in HDF5 far larger than its array")
def _(path, folder):
    options = {"chunks": (2**28,), "maxshape": (None,)}
    array_of("float32", **options)(path, folder)


@case("groups in HDF5 nested without end")
def _(path, folder):
    with_weights(
        path, lambda file, group: file.create_group("/".join("a" * 2_000))
    )


@case("an attribute in HDF5 that is many strings")
def _(path, folder):
    def change(file, group):
        attrs = file[group].attrs
        attrs["name"] = ["a" * 60_000] * 3

    with_weights(path, change)


def patched(change):
    """A case that changes bytes of the heap that has the strings."""

    def write(path, folder):
        members = base_members()
        data = bytearray(members["model.weights.h5"])
        change(data, data.index(b"GCOL"))
        write_zip(path, {**members, "model.weights.h5": bytes(data)})

    return write


def longer(data, heap):
    at = data.index(struct.pack("<IQ", len("dense"), heap))
    struct.pack_into("<I", data, at, 2**30)


def endless(data, heap):
    struct.pack_into("<HHxxxxQ", data, heap + 16, 0, 0, 0)


case("a string in HDF5 of a gigabyte")(patched(longer))
case("a heap in HDF5 that has no end")(patched(endless))


@case("an empty HDF5 file")
def _(path, folder):
    write_zip(path, {**base_members(), "model.weights.h5": b""})
