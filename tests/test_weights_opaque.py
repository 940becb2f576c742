"""What a pickle asks for beside its tensors: skipped, never run.

The pickles here would run code in Python's own reader.
"""

import copyreg
import os
import pickle
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
