"""Detectors on several replicas and hosts: equal results, and what fails.

Each host is a process of its own on 127.0.0.1.
"""

import json
import pathlib
import signal
import time

import numpy as np
import pytest
from detect_runs import QUICK
from detect_runs import coco_folder
from test_distributed import assert_same_end
from test_distributed import outcome
from test_distributed import start
from test_distributed import succeed

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.slow

TESTS = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("coco"))


def test_replicas_and_hosts_do_what_one_device_does(data, tmp_path):
    script = TESTS / "detect_equality.py"
    succeed([script, tmp_path, data, "one"])
    succeed([script, tmp_path, data, "two", "--replicas", "2"])
    succeed([script, tmp_path, data, "hosts"], hosts=2)
    one = np.load(tmp_path / "one-0.npz")
    expected = json.loads((tmp_path / "one-0.json").read_text())
    assert one["replicas"] == 1
    assert expected["ids"] == [10, 20, 30, 40]
    assert len(expected["found"]) > 4
    for name in ("two-0", "hosts-0", "hosts-1"):
        other = np.load(tmp_path / f"{name}.npz")
        assert other["replicas"] == 2
        for key in set(one.files) - {"replicas"}:
            np.testing.assert_allclose(other[key], one[key], rtol=0, atol=1e-5)
        result = json.loads((tmp_path / f"{name}.json").read_text())
        assert result["metrics"] == pytest.approx(expected["metrics"], abs=1e-6)
        if name == "hosts-1":  # the first host has them all
            assert result["found"] == result["ids"] == []
            continue
        assert result["ids"] == expected["ids"]
        for found, wanted in zip(
            result["found"], expected["found"], strict=True
        ):
            np.testing.assert_allclose(found["bbox"], wanted["bbox"], atol=1e-2)
            assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
            assert found["category_id"] == wanted["category_id"]


def arguments(data, output):
    options = {**QUICK, "detector": "FasterRCNN", "data": data}
    options |= {"epochs": 3, "checkpoint_seconds": 0, "output": output}
    flags = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        flags += [option] if value is True else [option, str(value)]
    return ["-m", "eca_keras", "detect", "train", *flags, "--resume"]


def test_hosts_that_lose_one_another_resume(data, tmp_path):
    succeed(arguments(data, tmp_path / "whole"), hosts=2)
    output = tmp_path / "torn"
    for number, expected in ((signal.SIGTERM, 75), (signal.SIGKILL, 69)):
        # Resumes what the one before left.
        steps = {p.name for p in output.glob("checkpoints/*.npz")}
        processes = start(arguments(data, output), hosts=2)
        while {p.name for p in output.glob("checkpoints/*.npz")} <= steps:
            assert processes[0].poll() is None
            time.sleep(0.05)
        processes[1].send_signal(number)
        code, text = outcome([processes[0]])[0]
        outcome([processes[1]])
        assert code == expected, text[-3000:]
        sentence = "lost another worker" if code == 69 else "stopped by"
        assert sentence in text.splitlines()[-1]
    succeed(arguments(data, output), hosts=2)
    assert_same_end(output, tmp_path / "whole")
    for name in ("history.csv", "metrics.json", "model.keras"):
        assert (output / name).is_file()
