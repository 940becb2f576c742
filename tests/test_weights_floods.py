"""Small files that would fill the memory of a reader without bounds."""

import pickle
import struct
import tracemalloc

import narrow
import numpy as np
import pytest
import torch_writer
from test_weights_hostile import legacy
from test_weights_hostile import refused
from test_weights_hostile import zipped

from eca_keras.weights import torch_pickle

STATE = narrow.state()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def laughs(levels=60):
    """A list of two lists of two lists: 2 ** levels when it is printed."""
    twice = b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(levels))
    return b"]q\x00" + twice


def key_of_storage(key):
    arguments = text(b"storage") + b"ctorch\nFloatStorage\n"
    arguments += key + text(b"cpu") + b"K\x01"
    return b"\x80\x02(" + arguments + b"tQ."


def tensor(shape, strides, size=b"K\x08"):
    """A tensor of 8 numbers, said to have a shape."""
    storage = text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0")
    storage += text(b"cpu") + size
    body = b"(" + storage + b"tQK\x00" + shape + strides + b"\x89}"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + body + b"tR."


HUGE = b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20
PAIRS = b"(" + b"X\x01\x00\x00\x00aK\x01\x86" * 2000 + b"lq\x00"
COPIES = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 20_000
FLOODS = {
    "copies of a dictionary": (
        b"\x80\x02" + PAIRS + COPIES + b".",
        "its pickle is too large",
    ),
    "lists without end": (
        b"\x80\x02(" + b"]" * 2**17 + b"l.",
        "its pickle is too large",
    ),
    "nested lists": (
        b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b".",
        "it holds no state dict",
    ),
    "nested tuples as a key": (
        b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
        "it holds no state dict",
    ),
    "lists in a key of a storage": (
        key_of_storage(laughs()),
        "its storages are of an unknown kind",
    ),
    "a rank of 65": (
        tensor(b"(" + b"K\x01" * 65 + b"t", b"(" + b"K\x01" * 65 + b"t"),
        "a tensor in it has an impossible shape",
    ),
    "sizes of a million digits": (
        tensor(HUGE + b"\x85", HUGE + b"\x85"),
        "a tensor in it has an impossible shape",
    ),
    "a storage of a million digits": (
        tensor(b"K\x01\x85", b"K\x01\x85", HUGE),
        "its storages are of an unknown kind",
    ),
    "a string said to be long": (
        b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
        "it is truncated or damaged",
    ),
    "bytes said to be long": (
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"a.",
        "it is truncated or damaged",
    ),
    "a decimal number": (b"I" + b"9" * 10**6 + b"\n.", "truncated or damaged"),
}


@pytest.mark.parametrize("container", [zipped, legacy])
@pytest.mark.parametrize("name", FLOODS)
def test_memory_is_bounded(tmp_path, name, container, monkeypatch):
    data, sentence = FLOODS[name]
    monkeypatch.setattr(torch_pickle, "MAX_OPERATIONS", 2**17)
    container(data, tmp_path / "flood.pth")
    tracemalloc.start()
    try:
        refused(tmp_path / "flood.pth", sentence)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20, peak


def test_a_pickle_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_pickle, "MAX_BYTES", 2**16)
    data = b"\x80\x02" + text(b"a" * 2**16) + b"."
    for container in (zipped, legacy):
        container(data, tmp_path / "large.pth")
        refused(tmp_path / "large.pth", "its pickle is too large for one of")


def test_a_version_that_is_no_number(tmp_path):
    data = pickle.dumps(torch_writer.LEGACY_MAGIC, 2)
    (tmp_path / "a").write_bytes(data + b"\x80\x02" + laughs() + b".")
    refused(tmp_path / "a", "torch.save wrote it in an unknown version")


def test_a_state_dict_in_itself(tmp_path):
    saved = {"next": None, "list": []}
    saved["next"], saved["list"] = saved, [saved["list"]]
    saved["model"] = STATE
    torch_writer.save(saved, tmp_path / "cycle")
    _, tensors = narrow.read(tmp_path / "cycle")
    narrow.assert_holds(tensors, STATE)


def test_a_thousand_networks(tmp_path):
    one = np.ones((1, 1, 1, 1), "float32")
    saved = {f"{i}.layer1.0.conv1.weight": one for i in range(3000)}
    torch_writer.save(saved, tmp_path / "many", storage=one)
    refused(
        tmp_path / "many", "holds several networks, in 0, 1, 2,.* 2990 more"
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        # 4 MB in the file would make 36 TB of the next convolution.
        ("layer1.0.conv1.weight", (2**20, 1, 1, 1)),
        ("layer3.0.conv2.weight", (2**20, 1, 1, 1)),
        ("layer4.1.conv3.weight", (2**20, 16, 1, 1)),
        ("layer1.0.conv1.weight", (2**40, 0, 1, 1)),
    ],
)
def test_a_network_larger_than_its_file(tmp_path, name, shape):
    values = np.empty(shape, "float32")
    torch_writer.save({**STATE, name: values}, tmp_path / "wide")
    refused(tmp_path / "wide", r"maps \d+ to \d+ channels|no builder makes")


def test_classes_that_are_not_in_the_file(tmp_path):
    empty = np.empty((2**40, 0), "float32")
    saved = {**STATE, "fc.weight": empty}
    torch_writer.save(saved, tmp_path / "classes")
    refused(tmp_path / "classes", "it has no classifier of one linear layer")


def test_a_kernel_larger_than_its_network(tmp_path):
    saved = {
        name: np.ones((2, 1, 2**20 + 1), "float32")
        if values.ndim == 3
        else values
        for name, values in STATE.items()
    }
    torch_writer.save(saved, tmp_path / "kernel")
    refused(tmp_path / "kernel", "one odd kernel size per stage")
