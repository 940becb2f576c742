"""Checkpoints: whole or absent, and damage is noticed."""

import errno
import os

import numpy as np
import pytest

from eca_keras.training.run.checkpoints import Checkpoints
from eca_keras.utils.files import staged_files

ARRAYS = [
    np.arange(1000, dtype="float32").reshape(10, 100),
    np.array(7, "int64"),
    np.array([2**32 - 1], "uint32"),
]


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def test_round_trip(checkpoints):
    checkpoints.save(3, ARRAYS, {"step": 3, "rows": [{"loss": 0.1}]})
    arrays, facts, notes = checkpoints.load()
    for array, expected in zip(arrays, ARRAYS, strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert facts == {"step": 3, "rows": [{"loss": 0.1}]}
    assert notes == []


def test_nothing_to_load(checkpoints):
    assert checkpoints.load() == (None, None, [])


def test_the_newest_two_are_kept(checkpoints):
    for step in (1, 2, 10, 9):
        checkpoints.save(step, ARRAYS, {"step": step})
    assert [path.name for path in checkpoints.paths()] == [
        "step-000000010.npz",
        "step-000000009.npz",
    ]
    assert checkpoints.load()[1]["step"] == 10


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:2000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not an archive"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(checkpoints, damage):
    checkpoints.save(1, ARRAYS, {"step": 1})
    path = checkpoints.save(2, ARRAYS, {"step": 2})
    damage(path)
    _, facts, [note] = checkpoints.load()
    assert facts["step"] == 1
    assert note.startswith(f"{path} is damaged and was passed over: ")


def test_all_damaged(checkpoints):
    flip(checkpoints.save(1, ARRAYS, {"step": 1}))
    arrays, facts, notes = checkpoints.load()
    assert (arrays, facts, len(notes)) == (None, None, 1)


def test_a_full_disk_leaves_the_last_checkpoint(checkpoints, monkeypatch):
    path = checkpoints.save(1, ARRAYS, {"step": 1})

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match=r"Could not write .*No space left"):
            checkpoints.save(2, ARRAYS, {"step": 2})
    assert list(checkpoints.folder.iterdir()) == [path]
    assert checkpoints.load()[1]["step"] == 1


def test_what_a_killed_process_left_is_removed(checkpoints):
    path = checkpoints.save(1, ARRAYS, {"step": 1})
    context = staged_files(checkpoints.folder / "step-000000002.npz")
    [partial] = context.__enter__()
    with open(partial, "wb") as file:
        file.write(b"half")
    assert len(list(checkpoints.folder.iterdir())) == 2
    assert checkpoints.load()[1]["step"] == 1
    assert list(checkpoints.folder.iterdir()) == [path]
