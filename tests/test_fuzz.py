"""The readers neither crash nor hang on damaged files; see `fuzz_readers`."""

import random

import fuzz_readers
import pytest

pytestmark = pytest.mark.slow

# A million are tried by hand, with the program.
INPUTS = {"keras model": 60, "keras HDF5": 200}


@pytest.mark.parametrize("target", fuzz_readers.targets())
@pytest.mark.filterwarnings("ignore")  # of NumPy, about what is in the files
def test_damaged_files(target, tmp_path):
    counts = fuzz_readers.fuzz(INPUTS.get(target, 400), 1, tmp_path, [target])
    found = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
    assert not found, f"{len(found)}, such as {found[0]}"
    assert counts[target, "refused"] > 10


def test_a_finding_is_found(tmp_path, monkeypatch):
    """A reader that fails in another way, or takes too long."""
    monkeypatch.setattr(fuzz_readers, "SECONDS", 0.05)

    def read(path):
        with open(path, "rb") as file:
            if len(file.read()) % 2:
                raise KeyError("odd")
        while True:
            pass

    target = fuzz_readers.Target(read, [b"12345678" * 9])
    monkeypatch.setattr(fuzz_readers, "targets", lambda: {"bad": target})
    counts = fuzz_readers.fuzz(20, 0, tmp_path)
    assert counts == {("bad", "finding"): 20}
    texts = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert {text.splitlines()[-1].split(":")[0] for text in texts} == {
        "KeyError",
        "fuzz_readers.Hang",
    }


def test_the_same_seed_makes_the_same_files():
    target = fuzz_readers.targets()["pickle"]
    made = [
        [target.make(rng, ["a"]) for _ in range(9)]
        for rng in (random.Random(3), random.Random(3))
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 5
