"""The test-side writer and the reader against PyTorch itself.

PyTorch is no dependency, so this only runs where it happens to be installed.
"""

import argparse
import collections

import numpy as np
import pytest
import torch_writer
from test_weights import authors_checkpoint
from test_weights import mobilenet_state

from eca_keras.weights.reading import open_checkpoint

torch = pytest.importorskip("torch", reason="compares with PyTorch itself")


@pytest.mark.parametrize("legacy", [False, True])
def test_pytorch_reads_what_the_test_writer_writes(tmp_path, legacy):
    state = mobilenet_state()
    torch_writer.save(authors_checkpoint(state), tmp_path / "a", legacy)
    loaded = torch.load(tmp_path / "a", weights_only=True)
    assert loaded["optimizer"]["param_groups"][0]["lr"] == 1e-4
    assert len(loaded["state_dict"]) == len(state)
    for name, values in state.items():
        tensor = loaded["state_dict"][f"module.{name}"]
        np.testing.assert_array_equal(tensor.numpy(), values)


@pytest.mark.parametrize("legacy", [False, True])
def test_reads_what_pytorch_writes(tmp_path, legacy):
    state = {
        name: torch.from_numpy(values)
        for name, values in mobilenet_state().items()
    }
    # What state dicts of PyTorch may hold besides plain tensors.
    state["parameter"] = torch.nn.Parameter(torch.arange(3.0))
    state["transposed"] = torch.arange(6.0).reshape(2, 3).T
    state["part"] = torch.arange(10.0)[4:8:2]
    state["scalar"] = torch.tensor(2.0)
    state["bfloat16"] = torch.tensor([1.5], dtype=torch.bfloat16)
    state["float8"] = torch.tensor([1.5]).to(torch.float8_e4m3fn)
    state["uint16"] = torch.tensor([1, 9]).to(torch.uint16)[1:]
    state["buffer"] = torch.nn.parameter.Buffer(torch.arange(3.0))
    state["with.attribute"] = torch.arange(3.0)
    state["with.attribute"].note = argparse.Namespace(a=1)
    state["parameter.with"] = torch.nn.Parameter(torch.arange(3.0))
    state["parameter.with"].note = "note"
    ordered = collections.OrderedDict(state)
    ordered._metadata = collections.OrderedDict({"": {"version": 1}})
    torch.save(
        ordered, tmp_path / "a", _use_new_zipfile_serialization=not legacy
    )
    with open_checkpoint(tmp_path / "a") as opened:
        read = opened.tensors
        assert read.keys() == state.keys()
        for name, tensor in state.items():
            values = read[name].read().astype("float32")
            expected = tensor.detach().float().numpy()
            assert values.shape == read[name].shape == expected.shape
            np.testing.assert_array_equal(values, expected)
