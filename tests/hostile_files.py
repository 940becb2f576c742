"""What the writers of hostile model files share; see `hostile_keras`."""

import base64
import io
import json
import marshal
import os
import pathlib
import tempfile
import zipfile

import h5py
import keras

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


def legacy(path, layer):
    base_model().save(whole := path.with_suffix(".h5"))
    with h5py.File(whole, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1].update(layer)
        file.attrs["model_config"] = json.dumps(config)
    os.replace(whole, path)
