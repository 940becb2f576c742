"""Archives that are more than a model; see `hostile_keras`."""

import copy
import io
import pickle
import struct
import zipfile

import numpy as np
from hostile_files import CANARY
from hostile_files import SECRET
from hostile_files import Opens
from hostile_files import base_members
from hostile_files import case
from hostile_files import write_zip


def archive(change):
    """A case that changes the members of the good archive."""

    def write(path, folder):
        write_zip(path, {**base_members(), **change(folder)})

    return write


for _name, _change in {
    "pickled weights of NumPy": lambda folder: {
        "model.weights.npz": pickle.dumps(Opens(folder))
    },
    "a member outside the folder": lambda folder: {
        f"assets/../../{CANARY}": "a"
    },
    "a member with an absolute path": lambda folder: {
        str(folder / CANARY): "a"
    },
    "a member with a path of Windows": lambda folder: {
        "assets\\..\\..\\canary": "a"
    },
    "a member on a drive": lambda folder: {"c:/canary": "a"},
    "a member that no model has": lambda folder: {"setup.py": "a"},
    "members by the thousand": lambda folder: {
        f"assets/{i}": "" for i in range(30_000)
    },
}.items():
    case(f"{_name}, in the zip archive")(archive(_change))


@case("a member inside another one, in the zip archive")
def _(path, folder):
    write_zip(path, {**base_members(), "assets/a": "a", "assets/a/b": "b"})


@case("pickled weights of NumPy alone")
def _(path, folder):
    members = base_members()
    del members["model.weights.h5"]
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([Opens(folder)], object), allow_pickle=True)
    write_zip(path, {**members, "model.weights.npz": buffer.getvalue()})


@case("a zip bomb")
def _(path, folder):
    members = {**base_members(), "assets/a": bytes(2**28)}
    write_zip(path, members, compression=zipfile.ZIP_DEFLATED)


@case("a zip bomb in the configuration")
def _(path, folder):
    members = {**base_members(), "config.json": b" " * 2**26}
    write_zip(path, members, compression=zipfile.ZIP_DEFLATED)


@case("another compression in the zip archive")
def _(path, folder):
    write_zip(path, base_members(), compression=zipfile.ZIP_LZMA)


def special(mode):
    def write(path, folder):
        write_zip(path, base_members())
        link = zipfile.ZipInfo("assets/a")
        link.external_attr = (mode | 0o777) << 16
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(link, str(folder / SECRET))

    return write


case("a symbolic link in the zip archive")(special(0o120000))
case("a device in the zip archive")(special(0o020000))


@case("a member twice in the zip archive")
def _(path, folder):
    write_zip(path, {**base_members(), "config.jsom": "{}"})
    path.write_bytes(path.read_bytes().replace(b"config.jsom", b"config.json"))


@case("a member with a NUL in its name, in the zip archive")
def _(path, folder):
    write_zip(path, {**base_members(), "assets/a#/../canary": "a"})
    path.write_bytes(path.read_bytes().replace(b"a#/..", b"a\0/.."))


@case("an encrypted zip archive")
def _(path, folder):
    write_zip(path, base_members())
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    flags = struct.unpack_from("<H", data, start + 8)[0]
    struct.pack_into("<H", data, start + 8, flags | 1)
    path.write_bytes(data)


@case("a zip archive that is cut off")
def _(path, folder):
    write_zip(path, base_members())
    path.write_bytes(path.read_bytes()[:-300])


@case("numbers that are not those of the zip archive's check sum")
def _(path, folder):
    members = base_members()
    write_zip(path, members)
    data = bytearray(path.read_bytes())
    at = data.index(members["model.weights.h5"][:64]) + 40
    data[at] ^= 255
    path.write_bytes(data)


@case("weights that are no HDF5")
def _(path, folder):
    write_zip(path, {**base_members(), "model.weights.h5": b"x" * 500})


@case("no weights")
def _(path, folder):
    members = copy.copy(base_members())
    del members["model.weights.h5"]
    write_zip(path, members)


@case("an empty file")
def _(path, folder):
    path.write_bytes(b"")


@case("a web page")
def _(path, folder):
    path.write_text("<!doctype html><title>Sign in</title>")
