"""What converting the largest network needs."""

import json
import pathlib
import subprocess
import sys

import pytest
import safetensors.numpy
import torch_writer
from reference import rule_tensor

from eca_keras import applications
from eca_keras.weights.naming import torch_variables

CHILD = """
import json, pathlib, sys
import eca_keras
from eca_keras.weights import load_checkpoint

def kibibytes(field):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0])

imported = kibibytes("VmRSS")
model = load_checkpoint(sys.argv[1])
peak = kibibytes("VmHWM")
print(json.dumps([model.name, model.count_params(), peak - imported]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(),
    reason="reads the memory of a process from /proc",
)
@pytest.mark.parametrize("kind", ["pth", "old.pth", "safetensors"])
def test_memory_of_the_largest_conversion(tmp_path, kind):
    variables = torch_variables(applications.ECAResNet269D(), "se")
    state = {
        name: rule_tensor(name, variable.torch_shape)
        for name, variable in variables.items()
    }
    path = tmp_path / f"model.{kind}"
    if kind == "safetensors":
        safetensors.numpy.save_file(state, path)
    else:
        torch_writer.save(state, path, legacy=kind == "old.pth")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        check=True,
    )
    name, parameters, kibibytes = json.loads(child.stdout)
    assert name == "ecaresnet269d"
    assert parameters > 102_093_077  # with the moments of BatchNorm
    # The model itself is 1; 1.4 to 1.7 were measured.
    assert kibibytes * 1024 < 3 * path.stat().st_size
