"""What a pickle asks for beside its tensors: skipped, never run.

The pickles here would run code or fill the memory in Python's own reader.
"""

import copyreg
import os
import pickle
import struct
import tracemalloc
from io import BytesIO

import narrow
import numpy as np
import pytest
import torch_writer
from test_weights_hostile import Bomb
from test_weights_hostile import legacy
from test_weights_hostile import refused
from test_weights_hostile import zipped

from eca_keras.weights import CheckpointError
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import torch_pickle
from eca_keras.weights.tensors import Opaque

STATE = narrow.state()


class MakesInState:
    """Its `__setstate__` would run."""

    def __init__(self, path):
        self.path = str(path)

    def __setstate__(self, state):
        os.mkdir(state["path"])


class MakesInNew:
    """Its `__new__` would run, called with keywords in protocol 4."""

    def __new__(cls, path=None):
        if path is not None:
            os.mkdir(path)
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"path": self.path}

    def __getstate__(self):
        return None


class MakesInItems(dict):
    """Its `__setitem__` would run."""

    def __setitem__(self, key, value):
        os.mkdir(value)


class MakesInAppend(list):
    """Its `append` and `extend` would run."""

    def append(self, value):
        os.mkdir(value)

    def extend(self, values):
        os.mkdir(next(iter(values)))


class MakesAsKey:
    """Its `__hash__` would run."""

    def __init__(self, path):
        self.path = str(path)

    def __hash__(self):
        if os.path.isdir(os.path.dirname(self.path)):
            os.makedirs(self.path, exist_ok=True)
        return 1


def in_new(path):
    made = MakesInNew()
    made.path = str(path)
    return made


def in_items(path):
    made = MakesInItems()
    dict.__setitem__(made, "key", str(path))
    return made


def in_append(path):
    made = MakesInAppend()
    list.append(made, str(path))
    return made


def as_key(path):
    made = MakesAsKey("/no/such/folder")
    holder = {made: 1}
    made.path = str(path)
    return holder


BOMBS = {
    "call": Bomb,
    "state": MakesInState,
    "keywords": in_new,
    "items": in_items,
    "append": in_append,
    "key": as_key,
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_not_needed_does_not_run(tmp_path, name, protocol, legacy):
    target = tmp_path / "made-by-the-pickle"
    bomb = BOMBS[name](target)
    saved = {"args": bomb, "state_dict": {**STATE, "extra": bomb}, "end": bomb}
    torch_writer.save(saved, tmp_path / "a", legacy, protocol=protocol)
    _, tensors = narrow.read(tmp_path / "a")
    narrow.assert_holds(tensors, STATE)
    assert not target.exists()
    pickle.loads(pickle.dumps(bomb, protocol))  # what would have happened
    assert target.exists()


@pytest.mark.parametrize("name", BOMBS)
def test_a_tensor_that_would_run_code(tmp_path, name):
    target = tmp_path / "made-by-the-pickle"
    bomb = BOMBS[name](target)
    if isinstance(bomb, dict) and type(bomb) is dict:
        bomb = next(iter(bomb))
    saved = {**STATE, "layer2.0.conv1.weight": bomb}
    torch_writer.save(saved, tmp_path / "a")
    sentence = r"its layer2.0.conv1.weight is no plain tensor: it asks for \w+"
    refused(tmp_path / "a", sentence + r"\.\w+, which was not run")
    assert not target.exists()


# By opcodes that no pickler writes for such objects.
PROGRAMS = {
    "INST": b"(S'/tmp'\nios\nmkdir\n.",
    "OBJ": b"(cos\nmkdir\nS'/tmp'\no.",
    "NEWOBJ of a function": b"\x80\x02cos\nmkdir\n(tU\x01a0\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pos.mkdir\n.",
    "a method": b"\x80\x04\x8c\x02os\x8c\x0cpath.os.mkdir\x93.",
    "a class of ours": b"ceca_keras.weights.tensors\nTensor\n(tR.",
    "a reduction": b"cos\nmkdir\n(S'/tmp'\ntR(S'/tmp'\ntR.",
    "a builder": b"cbuiltins\nlist\n(tR(cos\nmkdir\nS'a'\ne}b.",
    "a buffer": b"\x80\x05\x97\x98.",
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("container", [zipped, legacy])
def test_programs_make_nothing(tmp_path, monkeypatch, name, container):
    called = []
    monkeypatch.setattr(os, "mkdir", called.append)
    container(PROGRAMS[name], tmp_path / "program.pth")
    with pytest.raises(CheckpointError) as caught:
        inspect_checkpoint(tmp_path / "program.pth")
    assert "\n" not in str(caught.value)
    assert not called


def test_extensions_are_not_looked_up(tmp_path, monkeypatch):
    monkeypatch.setitem(copyreg._inverted_registry, 1, ("os", "mkdir"))
    zipped(b"\x80\x02\x82\x01X\x01\x00\x00\x00a\x85R.", tmp_path / "a")
    refused(tmp_path / "a", "asks for extension, which was not run")


def test_opaque_objects_hold_nothing():
    stream = pickle.dumps(BOMBS["items"]("/tmp/a"))
    loaded = torch_pickle.load(BytesIO(stream))
    assert loaded == Opaque(f"{__name__}.MakesInItems")
    assert not hasattr(loaded, "__dict__")


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


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_damage_runs_nothing(tmp_path, monkeypatch, legacy):
    called = []
    for function in ("mkdir", "system", "remove"):
        monkeypatch.setattr(os, function, called.append)
    torch_writer.save(
        {
            "bomb": MakesInState("/no/such"),
            "state_dict": STATE,
            "call": Bomb("a"),
        },
        tmp_path / "sound",
        legacy,
        protocol=4,
    )
    data = bytearray((tmp_path / "sound").read_bytes())
    start = data.index(b"state_dict")
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = data.copy()
        for position in rng.integers(-200, 9000, 4):
            damaged[max(0, start + position)] = rng.integers(256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            inspect_checkpoint(tmp_path / "damaged")
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert not called
