"""The layers and networks on the JAX backend, against NumPy and TensorFlow."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import CASES
from cases import NETWORKS
from cases import ZOO
from cases import images
from cases import network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None, reason="jax is not installed"
    ),
]

HERE = pathlib.Path(__file__).parent


def run_checks(*arguments):
    """Runs the script on JAX and returns what it reports."""
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, str(HERE / "jax_checks.py"), *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_layers_equal_numpy():
    checks = run_checks("layers")
    assert len(checks) == len(CASES) * 2 * 3  # data formats, ranks
    for check in checks:
        # float32 against float64.
        assert check["outputs"] < 1e-5, check
        assert all(error < 1e-4 for error in check["gradients"]), check


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the logits to compare with are TensorFlow's",
)
@pytest.mark.parametrize("model", [*NETWORKS, *ZOO])
def test_networks_equal_tensorflow(model, tmp_path):
    # Compiling takes long: one network has all modules.
    names = list(CASES) if model == "ECAResNet20" else ["eca"]
    logits = {
        f"{model}/{name}": np.asarray(network(model, name)(images(model)))
        for name in names
    }
    np.savez(tmp_path / "logits.npz", **logits)
    checks = run_checks("networks", tmp_path / "logits.npz")
    assert len(checks) == len(names) * 2  # data formats
    for check in checks:
        # On TensorFlow, float32 and float64 differ by up to 4e-6 of the
        # largest logit, and the two images by more than 5e-2. How far float32
        # sums are apart depends on the processor: 5.004e-5 at most was seen.
        assert check["outputs"] < 1e-4, check
    for values in logits.values():
        assert np.isfinite(values).all()
        distance = np.abs(values[0] - values[1]).max()
        assert distance > 0.05 * np.abs(values).max()
