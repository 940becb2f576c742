"""Checkpoints that are broken, of something else, or made to do harm.

Each must end in one sentence, and no code in a file may run.
"""

import io
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch_writer
from reference import golden_state
from reference import rule_tensor
from test_weights import mobilenet_state
from test_weights import save_authors
from test_weights import save_authors_legacy
from test_weights import save_bare

from eca_keras.weights import CheckpointError
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint


def refused(path, sentence, **arguments):
    """Checks that a file is refused with one sentence that names it."""
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_checkpoint(path, **arguments)
    message = str(caught.value)
    assert message.startswith(f"Cannot load {str(path)!r}: ")
    assert "\n" not in message
    # The sentence is all there is: no traceback of another error.
    assert caught.value.__suppress_context__


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(data, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")


def legacy(data, path):
    stream = io.BytesIO()
    for header in (torch_writer.LEGACY_MAGIC, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    path.write_bytes(stream.getvalue() + data + pickle.dumps([], protocol=2))


@pytest.mark.parametrize("container", [zipped, legacy])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_would_run_code(tmp_path, container, protocol):
    target = tmp_path / "made-by-the-pickle"
    data = pickle.dumps({"state_dict": {"a.b": Bomb(target)}}, protocol)
    container(data, tmp_path / "bomb.pth")
    refused(
        tmp_path / "bomb.pth",
        r"asks for (posix|nt)\.mkdir, which was not run.*state_dict\(\), path",
    )
    assert not target.exists()
    pickle.loads(data)  # what would have happened
    assert target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "torch._utils _rebuild_tensor_v2.__globals__",
        "collections OrderedDict.__init__",
        "torch load",
        "numpy.core.multiarray scalar",
    ],
)
def test_names_outside_of_the_list(tmp_path, name):
    module, attribute = name.encode().split()
    data = b"\x80\x02c" + module + b"\n" + attribute + b"\n."
    zipped(data, tmp_path / "names.pth")
    asked = f"asks for {module.decode()}.{attribute.decode()}, which was not"
    refused(tmp_path / "names.pth", f"it holds no state dict: it {asked}")


def test_bare_pickle_is_not_run(tmp_path):
    target = tmp_path / "made-by-the-pickle"
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb(target)))
    refused(tmp_path / "bomb.pth", "a pickle, but not one of torch.save")
    assert not target.exists()


def test_pickle_with_a_huge_memo(tmp_path):
    # LONG_BINPUT to slot 2 ** 31 makes Python's unpickler allocate 32 GiB.
    data = b"\x80\x02}r" + struct.pack("<I", 2**31) + b"."
    zipped(data, tmp_path / "memo.pth")
    refused(tmp_path / "memo.pth", "its pickle is not one of torch.save")


def test_tensor_larger_than_its_storage(tmp_path):
    # A stride of 0 repeats one number as often as the shape asks for.
    one = np.ones(1, "float32")
    huge = np.lib.stride_tricks.as_strided(one, (2**40,), (0,))
    path = tmp_path / "huge.pth"
    torch_writer.save({"a": huge}, path, storage=one)
    refused(path, "a tensor in it is larger than its storage")


HEADERS = {
    "header of 8 EiB": struct.pack("<Q", 2**63) + b'{"a":1}',
    "header of 100 MiB": struct.pack("<Q", 100 * 2**20) + b'{"a":1}',
    "no JSON": struct.pack("<Q", 8) + b"{" * 8,
    "tensor outside of the file": struct.pack("<Q", 60)
    + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_damaged_safetensors(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    refused(path, "it is truncated or damaged .*Download it again")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sound file of each container of torch.save."""
    folder = tmp_path_factory.mktemp("sound")
    save_authors(mobilenet_state(), folder / "new.pth.tar")
    save_authors_legacy(mobilenet_state(), folder / "old.pth.tar")
    return folder


@pytest.mark.parametrize("name", ["new.pth.tar", "old.pth.tar"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.99, 0.999999])
def test_truncated_file(files, tmp_path, name, share):
    data = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "truncated")


@pytest.mark.parametrize("name", ["new.pth.tar", "old.pth.tar"])
def test_any_damage_ends_in_a_sentence(files, tmp_path, name):
    """Random bytes in the pickle: never another error than CheckpointError."""
    data = bytearray((files / name).read_bytes())
    start = data.index(b"state_dict")
    rng = np.random.default_rng(0)
    path = tmp_path / name
    for _ in range(60):
        damaged = data.copy()
        for position in rng.integers(0, 20_000, 3):
            damaged[start + position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            inspect_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017


def _central(data, member):
    """Where an entry of the directory at the end of an archive begins."""
    return data.rindex(member) - 46


def _encrypted(data):
    for start in (_central(data, b"archive/data.pkl") + 8, 6):
        data[start] |= 1


def _newer(data):
    data[_central(data, b"archive/data.pkl") + 6] = 99  # version to extract


def _no_text(data):
    start = _central(data, b"archive/data.pkl")
    data[start + 8 : start + 10] = b"\x00\x08"  # the name is UTF-8
    data[start + 46] = 0xFF


def _shorter(data):
    """An array of fewer bytes than the directory and the pickle say."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = archive.read("archive/data/0")[:-4]
    start = _central(data, b"archive/data/0")
    struct.pack_into("<II", data, start + 16, zlib.crc32(content), len(content))


@pytest.mark.parametrize("damage", [_encrypted, _newer, _no_text, _shorter])
def test_damaged_archive(tmp_path, damage):
    path = tmp_path / "model.pth"
    save_bare(mobilenet_state(), path)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    refused(path, "Download it again|not one of torch.save")


def test_damaged_numbers_are_noticed(files, tmp_path):
    """The zip archive has a checksum of every storage."""
    data = bytearray((files / "new.pth.tar").read_bytes())
    stem = mobilenet_state()["features.0.0.weight"].tobytes()
    data[data.index(stem)] ^= 1
    path = tmp_path / "flipped.pth"
    path.write_bytes(data)
    refused(path, "it is damaged in 'data/.*CRC", input_shape=(32, 32, 3))


STRANGERS = {
    "page.pth": (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page"),
    "error.pth": (b"\n  <html><h1>404</h1>", "it is a web page"),
    "lfs.pth": (b"version https://git-lfs.example/v1\n", "Git LFS pointer"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5 file of Keras"),
    "empty.pth": (b"", "it is empty"),
    "text.pth": (b"these are not the weights", "neither a file of torch.save"),
    "short.pth": (b"\x80", "a pickle, but not one of torch.save"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_files_of_another_kind(tmp_path, name):
    data, sentence = STRANGERS[name]
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, sentence)


def test_zip_archives_of_another_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    refused(tmp_path / "model.keras", "keras.models.load_model")
    zipped(pickle.dumps({}), tmp_path / "small.pth", zipfile.ZIP_DEFLATED)
    refused(tmp_path / "small.pth", "compressed zip archive")


@pytest.mark.parametrize(
    "saved", [[], {}, {"state_dict": {}}, {"epoch": 3}, np.ones(3, "float32")]
)
def test_no_state_dict(tmp_path, saved):
    torch_writer.save(saved, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "it holds no state dict")


def plain(name, keep):
    """A golden state dict of which only the keys that `keep` takes."""
    return {k: v for k, v in golden_state(name).items() if keep(k)}


def change(name, **tensors):
    state = golden_state(name)
    for key, shape in tensors.items():
        state[key] = rule_tensor(key, shape)
    return state


RESEMBLANCES = {
    "plain": (
        plain("eca_resnet18_k3577", lambda key: ".eca." not in key),
        "looks like a plain ResNet18: it has no ECA modules. "
        "Pass attention=None",
    ),
    "squeeze-and-excitation": (
        plain("eca_resnet18_k3577", lambda key: ".eca." not in key)
        | {"layer1.0.se.fc1.weight": np.ones((4, 64, 1, 1), "float32")},
        r"looks like a ResNet18 with attention other than ECA.*se\.fc1",
    ),
    "depth": (
        plain("eca_resnet18_k3577", lambda key: "layer4.1." not in key),
        r"a ResNet that no builder makes: basic blocks \(2, 2, 2, 1\)",
    ),
    "width": (
        change("eca_resnet18_k3577", **{"conv1.weight": (48, 3, 7, 7)}),
        r"a ResNet that no builder makes: .*stem of \(48,\) channels",
    ),
    "kernels in one stage": (
        change("eca_resnet18_k3577", **{"layer1.0.eca.conv.weight": (1, 1, 5)}),
        r"one odd kernel size per stage, and the file has \[\[3, 5\], \[5\]",
    ),
    "even kernel": (
        change(
            "eca_resnet18_k3577",
            **{f"layer1.{i}.eca.conv.weight": (1, 1, 4) for i in (0, 1)},
        ),
        r"one odd kernel size per stage, and the file has \[\[4\], \[5\]",
    ),
    "mobilenet": (
        mobilenet_state() | {"features.0.0.weight": np.ones((17, 3, 3, 3))},
        r"MobileNetV2 whose widths no multiplier gives: \[17, 8, 12,",
    ),
    "vgg": (
        {"features.0.weight": np.ones((64, 3, 3, 3))},
        "looks like VGG or AlexNet",
    ),
    "transformer": (
        {"blocks.0.attn.qkv.weight": np.ones((6, 2))},
        "looks like a vision transformer",
    ),
    "unknown": ({"w": np.ones(2)}, r"unknown architecture.*begins with w\."),
}


@pytest.mark.parametrize(
    ("state", "sentence"), RESEMBLANCES.values(), ids=RESEMBLANCES
)
def test_other_architectures(tmp_path, state, sentence):
    save_bare(state, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", sentence)


def test_plain_network_on_request(tmp_path):
    state = plain("eca_resnet18_k3577", lambda key: ".eca." not in key)
    save_bare(state, tmp_path / "plain.pth")
    model = load_checkpoint(
        tmp_path / "plain.pth", attention=None, include_top=False
    )
    assert model.get_layer("conv5_block2_2_conv").kernel.shape[-1] == 512
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("conv1_bn").moving_mean),
        state["bn1.running_mean"],
    )


def test_missing_and_unexpected_tensors(tmp_path):
    state = mobilenet_state()
    state = {
        key: value
        for key, value in state.items()
        if not key.endswith(".running_var")
    }
    state["features.0.1.weight"] = np.ones(3, "float32")
    state["features.99.weight"] = np.ones(3, "float32")
    save_bare(state, tmp_path / "partial.pth")
    refused(
        tmp_path / "partial.pth",
        r"missing features\.0\.1\.running_var, (features[^,]*, ){8}"
        r"features[^,]*, and 42 more; unexpected features\.99\.weight; "
        r"unfitting features\.0\.1\.weight of shape \(3,\) for \(16,\)\.$",
        input_shape=(32, 32, 3),
    )


def test_names_of_any_length_and_form(tmp_path):
    save_bare({"a\nb" * 999: np.ones(1)}, tmp_path / "names.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "names.pth")
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_missing_package(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'eca-keras\[convert\]"):
        load_checkpoint(path)
