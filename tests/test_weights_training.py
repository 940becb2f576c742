"""What training with PyTorch leaves in a file, written by PyTorch itself."""

import importlib.util
import subprocess
import sys

import narrow
import numpy as np
import pytest

from eca_keras.weights import CheckpointError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="compares with PyTorch itself",
)

# Not in the process of the test: TensorFlow and PyTorch may not share one.
_WRITE = """
import argparse, collections, pathlib, sys
import numpy as np, torch
folder = pathlib.Path(sys.argv[1])
state = collections.OrderedDict(
    (name, torch.from_numpy(values))
    for name, values in np.load(folder / "state.npz").items()
)
first = "layer1.0.conv1.weight"
weights = [torch.nn.Parameter(torch.ones(3))]
optimizer = torch.optim.AdamW(weights)
weights[0].sum().backward()
optimizer.step()

class Wrapper(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

class Subclass(torch.Tensor):
    pass

beside = {
    "args": argparse.Namespace(
        device=torch.device("cuda", 0),
        size=torch.Size([1, 2]),
        dtype=torch.float16,
        path=pathlib.Path("a"),
    ),
    "optimizer": optimizer.state_dict(),
    "model": state,
    "rng": torch.get_rng_state(),
    "numpy": np.random.get_state(),
    "metric": np.float64(3),
    "complex": torch.ones(2, dtype=torch.complex64),
    "sparse": torch.eye(2).to_sparse(),
    "module": Wrapper(),
}
average = torch.optim.swa_utils.AveragedModel(Wrapper()).state_dict()
parameters = {
    name: torch.nn.Parameter(values) if values.is_floating_point() else values
    for name, values in state.items()
}
parameters[first].note = argparse.Namespace(a=1)
with_first = lambda tensor: {**state, first: tensor}
saved = {
    "beside": beside,
    "parameters": parameters,
    "list": [state, optimizer.state_dict()],
    "channels_last": with_first(
        state[first].contiguous(memory_format=torch.channels_last)
    ),
    "module": Wrapper(),
    "average": {"model": state, "average": average},
    "complex": with_first(torch.ones(8, 64, 1, 1, dtype=torch.complex64)),
    "sparse": with_first(state[first].to_sparse()),
    "subclass": with_first(state[first].as_subclass(Subclass)),
}
for name, each in saved.items():
    torch.save(each, folder / name)
    old = {"_use_new_zipfile_serialization": False}
    torch.save(each, folder / f"{name}-old", **old)
    torch.save(each, folder / f"{name}-5", pickle_protocol=5)
program = torch.jit.trace(Wrapper().layer, torch.ones(1, 2))
torch.jit.save(program, folder / "program")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("torch")
    np.savez(made / "state.npz", **narrow.state())
    arguments = ["-W", "ignore", "-c", _WRITE, str(made)]
    subprocess.run([sys.executable, *arguments], check=True)
    return made


@pytest.mark.parametrize("kind", ["", "-old", "-5"])
@pytest.mark.parametrize(
    "name", ["beside", "parameters", "list", "channels_last"]
)
def test_weights_are_read(folder, name, kind):
    _, tensors = narrow.read(folder / f"{name}{kind}")
    narrow.assert_holds(tensors, narrow.state())


REFUSED = {
    "average": "its EMA of the weights, average.module.layer.weight, does not",
    "module": "it asks for __main__.Wrapper, which was not run. Save the",
    "complex": "conv1.weight is no plain tensor: it asks for .* complex or",
    "sparse": "it asks for torch._utils._rebuild_sparse_tensor, which was not",
    "subclass": "it asks for __main__.Subclass, which was not run",
}


@pytest.mark.parametrize("kind", ["", "-old", "-5"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_tensor_is_refused(folder, name, kind):
    with pytest.raises(CheckpointError, match=REFUSED[name]):
        narrow.read(folder / f"{name}{kind}")


def test_programs_are_refused(folder):
    with pytest.raises(CheckpointError, match="it is a TorchScript program"):
        narrow.read(folder / "program")
