"""The configurations of known faults of Keras; see `hostile_keras`."""

import base64
import pickle
import tarfile

from hostile_files import CANARY
from hostile_files import SECRET
from hostile_files import Opens
from hostile_files import a_function
from hostile_files import a_lambda
from hostile_files import case
from hostile_files import code
from hostile_files import legacy
from hostile_files import with_config
from hostile_files import with_layer


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


@case("CVE-2026-1462: a SavedModel of a TFSMLayer")
def _(path, folder):
    config = {"filepath": str(folder), "call_endpoint": "serve"}
    with_layer(path, "keras.layers", "TFSMLayer", config)


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
