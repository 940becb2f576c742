"""Model files that try to do harm do none, and are refused in a sentence."""

import json
import os
import pathlib
import subprocess
import sys

import hostile_keras
import numpy as np
import pytest
from PIL import Image

import eca_keras
from eca_keras import cli
from eca_keras.applications.image_settings import Preprocessing

pytestmark = pytest.mark.slow

TESTS = pathlib.Path(__file__).parent
CVES = """
2024-3660 2025-1550 2025-8747 2025-9906 2025-9905 2025-49655 2025-12058
2025-12060 2026-0897 2026-1462 2026-1669 2026-12479 2026-12481
"""
# More than a process that refuses a file may take beside what it has.
MEGABYTES = 100


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What happened to a process that opened all of them."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    }
    result = subprocess.run(
        [
            sys.executable,
            str(TESTS / "hostile_keras_checks.py"),
            str(tmp_path_factory.mktemp("hostile")),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


def is_sentence(text):
    return "\n" not in text and "Traceback" not in text and len(text) < 600


def test_a_good_file_loads(report):
    assert report[""] == {"python": None}


def test_every_known_fault_has_a_file():
    names = " ".join(hostile_keras.CASES)
    assert not [cve for cve in CVES.split() if f"CVE-{cve}" not in names]


@pytest.mark.parametrize("name", hostile_keras.CASES)
def test_hostile_files(report, name):
    found = report[name]
    assert found["events"] == []
    assert found["files"] == []
    assert found["memory"] < MEGABYTES
    for door in ("python", "weights"):
        assert found[door].startswith("Cannot load '")
        assert is_sentence(found[door])
    for code, out, err in found["lines"]:
        assert (code, out) == (2, "")
        [line] = err.splitlines()
        assert line.startswith("eca-keras: Cannot load '")
        assert is_sentence(line)
        assert ("; if you trust" in found["python"]) == ("--trust" in line)


@pytest.mark.parametrize(
    "name",
    [
        "CVE-2024-3660: code in a Lambda",
        "a class that another library has registered",
        "a function that another library has registered, by its whole name",
        "code as an activation",
    ],
)
def test_with_trust_their_code_runs(tmp_path, monkeypatch, name):
    """So the files are no straw men."""
    monkeypatch.chdir(tmp_path)
    path, canary = tmp_path / "a.keras", tmp_path / hostile_keras.CANARY
    secret = tmp_path / hostile_keras.SECRET
    secret.write_text("secret")
    hostile_keras.CASES[name](path, tmp_path)
    with pytest.raises(eca_keras.weights.CheckpointError):
        eca_keras.load_model(path)
    assert not canary.exists()
    model = eca_keras.load_model(path, trust=True)
    model(np.zeros((1, 4, 4, 3)))
    read = getattr(model.layers[-1], "text", None) == "secret"
    assert canary.exists() or read


def test_trust_does_not_mend_a_damaged_file(tmp_path):
    name = "a zip archive that is cut off"
    hostile_keras.CASES[name](tmp_path / "a.keras", tmp_path)
    with pytest.raises(eca_keras.weights.CheckpointError) as caught:
        eca_keras.load_model(tmp_path / "a.keras", trust=True)
    assert is_sentence(str(caught.value))


def test_the_command_line_trusts(tmp_path, capfd):
    name = "CVE-2024-3660: code in a Lambda"
    hostile_keras.CASES[name](tmp_path / "model.keras", tmp_path)
    Preprocessing(("a", "b", "c"), 4, 3, 1.0).save(tmp_path)
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(image)
    command = ["predict", str(image), "--model", str(tmp_path)]
    assert cli.main(command) == cli.EXIT_BAD_INPUT
    assert "pass --trust" in capfd.readouterr().err
    assert not (tmp_path / hostile_keras.CANARY).exists()
    assert cli.main([*command, "--trust"]) == 0
    assert (tmp_path / hostile_keras.CANARY).exists()
