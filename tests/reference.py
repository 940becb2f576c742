"""Weights and inputs of the PyTorch reference networks, made by rule.

tests/golden holds what the public PyTorch code, the authors' or timm's,
answers with these weights: NAME.json lists every key of the state dict with
its shape, NAME.npz has the logits for `golden_images`.
"""

import json
import pathlib
import zlib

import numpy as np

from eca_keras.weights.naming import torch_variables

GOLDEN = pathlib.Path(__file__).parent / "golden"


def golden_logits(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return file["logits"]


def golden_images(size=128):
    """Images of shape (2, size, size, 3)."""
    rng = np.random.Generator(np.random.PCG64(0))
    images = rng.normal(size=(2, 3, size, size)).astype("float32")
    return images.transpose(0, 2, 3, 1)


def golden_state(name):
    """State dict in PyTorch's layout."""
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["state_dict"]
    return {
        key: rule_tensor(key, tuple(shape)) for key, shape in shapes.items()
    }


def rule_tensor(key, shape):
    """The tensor that stands under a key of a reference state dict."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if leaf == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif leaf == "running_mean":
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1 and leaf == "weight":
        values = rng.uniform(0.2, 0.7, shape)
    elif len(shape) == 1:
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 3:
        values = rng.normal(0, 0.5, shape)
    else:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return values.astype("float32")


def load_golden(model, name):
    """Loads the reference weights; every weight of the model must get one."""
    state = golden_state(name)
    module = "se" if name.startswith("timm_") else "eca"
    variables = torch_variables(model, module)
    for key, variable in variables.items():
        assert variable.torch_shape == state[key].shape
        variable.assign(state[key])
    unused = {k for k in state if not k.endswith("num_batches_tracked")}
    unused -= set(variables)
    assert not unused, unused
