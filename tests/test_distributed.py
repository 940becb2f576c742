"""Several replicas and several hosts: equal results, and what fails.

Each host is a process of its own on 127.0.0.1.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from eca_keras.errors import InputError
from eca_keras.training.run.cluster import Cluster

TESTS = pathlib.Path(__file__).parent


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(arguments, hosts=1):
    """Starts a Python command, once per host."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(hosts)]
    processes = []
    for index in range(hosts):
        environment = dict(os.environ)
        if hosts > 1:
            task = {"type": "worker", "index": index}
            environment["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": addresses}, "task": task}
            )
        processes.append(
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def outcome(processes, timeout=300):
    """Returns exit code and output of each, when all have ended."""
    texts = []
    for process in processes:
        try:
            texts.append(process.communicate(timeout=timeout)[0])
        except subprocess.TimeoutExpired:
            process.kill()
            texts.append(process.communicate()[0])
    return [(p.returncode, t) for p, t in zip(processes, texts, strict=True)]


def succeed(arguments, hosts=1):
    for code, text in outcome(start(arguments, hosts)):
        assert code == 0, text[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--no-batchnorm"], ["--sync"], ["--sync", "--stepped"]]
)
def test_replicas_and_hosts_train_what_one_device_trains(tmp_path, options):
    script = TESTS / "equality.py"
    succeed([script, tmp_path, "one", *options])
    succeed([script, tmp_path, "two", "--replicas", "2", *options])
    succeed([script, tmp_path, "hosts", *options], hosts=2)
    one = np.load(tmp_path / "one-0.npz")
    assert one["replicas"] == 1
    for name in ("two-0", "hosts-0", "hosts-1"):
        other = np.load(tmp_path / f"{name}.npz")
        assert other["replicas"] == 2
        for key in set(one.files) - {"replicas", "evaluated"}:
            np.testing.assert_allclose(other[key], one[key], rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            other["evaluated"], one["evaluated"], rtol=0, atol=1e-9
        )


QUICK = ["-m", "eca_keras", "train", "--image-size", "8", "--export"]
QUICK += ["--epochs", "3", "--batch-size", "128", "--checkpoint-seconds", "0"]


def final_arrays(folder):
    path = max((folder / "checkpoints").glob("*.npz"))
    with np.load(path) as archive:
        return {x: archive[x] for x in archive.files if x != "facts.json"}


def assert_same_end(folder, reference):
    arrays = final_arrays(folder)
    for name, expected in final_arrays(reference).items():
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.slow
def test_hosts_that_lose_one_another_resume(tmp_path):
    succeed([*QUICK, "--output", tmp_path / "whole"], hosts=2)
    output = tmp_path / "torn"
    for lost, number, expected in (
        (1, signal.SIGTERM, 75),  # both save
        (1, signal.SIGKILL, 69),
        (0, signal.SIGKILL, 69),
    ):
        # Resumes what the one before left.
        steps = {p.name for p in output.glob("checkpoints/*.npz")}
        arguments = [*QUICK, "--output", output, "--resume"]
        processes = start(arguments, hosts=2)
        while {p.name for p in output.glob("checkpoints/*.npz")} <= steps:
            assert processes[0].poll() is None
            time.sleep(0.05)
        processes[lost].send_signal(number)
        began = time.monotonic()
        other = processes[1 - lost]
        code, text = outcome([other])[0]
        seconds = time.monotonic() - began
        outcome([processes[lost]])
        assert code == expected, text[-3000:]
        assert seconds < 60
        sentence = "lost another worker" if code == 69 else "stopped by"
        assert sentence in text.splitlines()[-1]
    succeed([*QUICK, "--output", output, "--resume"], hosts=2)
    assert_same_end(output, tmp_path / "whole")


@pytest.mark.slow
def test_a_host_that_never_appears(tmp_path):
    output = tmp_path / "run"
    arguments = [*QUICK, "--output", output, "--worker-timeout", "6"]
    processes = start(arguments, hosts=2)
    processes[1].kill()
    (code, text), _ = outcome(processes)
    assert code == -signal.SIGKILL
    assert "worker 0 waited 6 s: the others did not all appear" in text
    assert not output.exists()


@pytest.mark.slow
def test_random_moments(tmp_path):
    process = subprocess.run(
        [sys.executable, TESTS / "kill_points.py", tmp_path, "--count", "2"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr[-2000:]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", '
        '"index": 1}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", '
        '"index": 0}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["a:2"]}, "task": {"type": '
        '"ps", "index": 0}}',
    ],
)
def test_bad_tf_config(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match="TF_CONFIG must be such as"):
        Cluster("auto")


def test_no_hosts_are_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="needs the variable TF_CONFIG"):
        Cluster("multi-worker")


def test_hosts_that_slurm_names(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "2",
        "SLURM_STEP_NODELIST": "a1,a2",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster("auto")
    assert cluster.workers == ("a1:8888", "a1:8889", "a2:8888", "a2:8889")
    assert cluster.index == 2
    assert not cluster.chief
