"""Other configurations that a model file may have; see `hostile_keras`."""

import json
import pathlib
import zipfile

import keras
from hostile_files import CANARY
from hostile_files import SECRET
from hostile_files import a_function
from hostile_files import a_lambda
from hostile_files import case
from hostile_files import with_config
from hostile_files import with_layer
from hostile_files import write_zip


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
    with_layer(path, "hostile_configs", "Reads", config, **registered)


for _what, _activation in {
    "in a string": "hostile>touch",
    "by its whole name": a_function("hostile_configs", "hostile>touch"),
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


@case("a state for a gigantic batch")
def _(path, folder):
    config = {"units": 1000, "stateful": True}
    build = {"input_shape": [10**9, 3, 3]}
    with_layer(path, "keras.layers", "LSTM", config, build_config=build)


@case("a kernel of a million channels")
def _(path, folder):
    with_layer(
        path,
        "eca_keras.layers.eca",
        "ECA",
        {"kernel_size": 10**6 + 1},
        registered_name="eca_keras>ECA",
    )


for _name, _config in {
    "IntegerLookup": {"num_oov_indices": 10**8, "vocabulary": [1]},
    "StringLookup": {"num_oov_indices": 10**8, "vocabulary": ["a"]},
    "TextVectorization": {"ngrams": 10**8, "vocabulary": ["a"]},
    "Discretization": {"num_bins": 10**10},
    "MelSpectrogram": {"fft_length": 2**27},
    "RandAugment": {"num_ops": 10**9},
    "AugMix": {"num_chains": 10**9},
}.items():

    def _write(path, folder, name=_name, config=_config):
        with_layer(path, "keras.layers", name, config)

    case(f"a gigantic count in {_name}")(_write)


for _mean, _size in ((0.0, 4 * 10**8), ([0.0], 10**10)):

    def _write(path, folder, mean=_mean, size=_size):
        config = {"mean": mean, "variance": mean, "axis": [-1]}
        build = {"input_shape": [None, size]}

        def change(whole):
            layer = whole["config"]["layers"][-2]
            layer.update(
                class_name="Normalization",
                config={"name": "pool", **config},
                build_config=build,
            )

        with_config(path, change)

    case(f"means of the size {_size}")(_write)


@case("a tensor that is taken apart into very many")
def _(path, folder):
    inputs = keras.Input((9,), name="image")
    outputs = keras.ops.unstack(inputs, axis=1)[0]
    keras.Model(inputs, outputs).save(path.with_suffix(".keras"))
    path.with_suffix(".keras").replace(path)
    members = dict.fromkeys(
        ("config.json", "metadata.json", "model.weights.h5")
    )
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in members}
    text = members["config.json"].decode()
    text = text.replace("9]", "200000]").replace('"num": 9', '"num": 200000')
    write_zip(path, {**members, "config.json": text})


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
