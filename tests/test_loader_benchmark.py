"""The comparison of the input pipeline with torchvision's."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from benchmarks import loaders as loader_benchmark


def test_photos(tmp_path):
    loader_benchmark.make_photos(tmp_path, 12)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == 12
    assert len({file.parent for file in files}) == 4
    shapes = set()
    for file in files:
        with Image.open(file) as image:
            shapes.add(image.size)
            assert "comment" not in image.info
        assert 10_000 < file.stat().st_size < 200_000
    assert shapes == {(500, 375), (375, 500)}
    again = tmp_path / "again"
    again.mkdir()
    loader_benchmark.make_photos(again, 12)
    for file in files:
        copy = again / file.relative_to(tmp_path)
        assert copy.read_bytes() == file.read_bytes()


def test_report():
    rates = {
        "eca-keras": [300.0, 310.0, 500.0],
        "torchvision": [100.0, 100.0, 200.0],
    }
    lines = loader_benchmark.report(rates)
    assert lines[0].endswith(
        " 310 images/s, 3.00 times torchvision (2.50 to 3.10)"
    )
    assert lines[1].endswith(" 100 images/s")
    del rates["torchvision"]
    lines = loader_benchmark.report(rates)
    assert lines[0].endswith(" 310 images/s")
    assert "not installed, see --torch-python" in lines[1]


@pytest.mark.slow
def test_the_command(tmp_path):
    loader_benchmark.make_photos(tmp_path, 40)
    root = pathlib.Path(__file__).parent.parent
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.loaders",
            "--rounds=2",
            "--batches=3",
            "--batch-size=8",
            f"--folder={tmp_path}",
            "--json",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    rates = json.loads(process.stdout.splitlines()[-1])
    assert set(rates) >= {"eca-keras", "eca-keras-antialias"}
    for values in rates.values():
        assert len(values) == 2
        assert min(values) > 1
