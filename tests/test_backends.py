"""What is for any backend on JAX and PyTorch, against NumPy and TensorFlow."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import api_calls
import keras
import numpy as np
import pytest
from cases import CASES
from cases import NETWORKS
from cases import ZOO
from cases import images
from cases import network

import eca_keras
from eca_keras import applications
from eca_keras import layers
from eca_keras import visualize
from eca_keras import weights
from eca_keras.applications.registry import BUILDERS

HERE = pathlib.Path(__file__).parent

# What needs TensorFlow, and how its sentence begins.
TENSORFLOW_ONLY = {
    "export_onnx": "eca_keras.export",
    "export_saved_model": "eca_keras.export",
    "export_tflite": "eca_keras.export",
    "grad_cam": "grad_cam",
    "detection.RetinaNet": "RetinaNet",
    "training.train": "eca_keras.training",
}

backends = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(name) is None,
                reason=f"{name} is not installed",
            ),
        )
        for name in ("jax", "torch")
    ],
)


def run_python(backend, *arguments):
    """Runs Python on a backend and returns the finished process."""
    paths = [str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def run_checks(backend, *arguments):
    """Runs the script on a backend and returns what it reports."""
    script = HERE / "backend_checks.py"
    process = run_python(backend, script, *arguments)
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.slow
@backends
def test_layers_equal_numpy(backend):
    checks = run_checks(backend, "layers")
    assert len(checks) == len(CASES) * 2 * 3  # data formats, ranks
    for check in checks:
        # float32 against float64.
        assert check["outputs"] < 1e-5, check
        assert all(error < 1e-4 for error in check["gradients"]), check


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the logits to compare with are TensorFlow's",
)
@backends
@pytest.mark.parametrize("model", [*NETWORKS, *ZOO])
def test_networks_equal_tensorflow(backend, model, tmp_path):
    # Compiling takes long: one network has all modules.
    names = list(CASES) if model == "ECAResNet20" else ["eca"]
    logits = {
        f"{model}/{name}": np.asarray(network(model, name)(images(model)))
        for name in names
    }
    np.savez(tmp_path / "logits.npz", **logits)
    checks = run_checks(backend, "networks", tmp_path / "logits.npz")
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


def test_every_public_function_is_called_or_needs_tensorflow(tmp_path):
    public = {
        *eca_keras.__all__,
        *weights.__all__,
        *visualize.__all__,
        *(set(applications.__all__) - set(BUILDERS)),
        *(f"layers.{name}" for name in layers.__all__ if name[0].isupper()),
    }
    called = {*api_calls.calls(tmp_path), *api_calls.TOGETHER, "layers.ECA"}
    known = called | set(TENSORFLOW_ONLY) | api_calls.NO_CALLS | {"ECA"}
    assert public <= known


@pytest.mark.slow
@backends
def test_every_public_function_runs(backend, tmp_path):
    checks = run_checks(backend, "api")
    assert {check["name"] for check in checks} == set(api_calls.calls(tmp_path))
    assert not [check for check in checks if check["error"]]


@pytest.mark.slow
@backends
def test_what_needs_tensorflow_says_so(backend, tmp_path):
    program = """
import sys
import eca_keras
from eca_keras import applications, training, visualize
from api_calls import images, small

folder = sys.argv[1]
for name in sys.argv[2:]:
    try:
        if name == "grad_cam":
            visualize.grad_cam(small(), images(), 0)
        elif name == "detection.RetinaNet":
            applications.detection.RetinaNet(input_shape=(64, 64, 3))
        elif name == "training.train":
            training.train(training.TrainConfig(output=folder))
        else:
            getattr(eca_keras, name)(small(), folder + "/exported")
    except ImportError as error:
        print(error)
"""
    process = run_python(backend, "-c", program, tmp_path, *TENSORFLOW_ONLY)
    assert process.stdout.splitlines() == [
        f"`{subject}` needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow "
        f"before the first import of keras. Received: backend={backend}"
        for subject in TENSORFLOW_ONLY.values()
    ], process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@backends
def test_the_command_line_says_so(backend, tmp_path):
    process = run_python(
        backend, "-m", "eca_keras", "train", "--output", tmp_path / "run"
    )
    assert process.returncode == 2
    [line] = process.stderr.splitlines()
    assert line.startswith("eca-keras: `eca_keras.training` needs Keras on")
    assert not list(tmp_path.iterdir())
