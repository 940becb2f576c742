"""Weights and inputs of the PyTorch reference networks, made by rule.

tests/golden holds what the authors' released PyTorch code answers with these
weights: NAME.json lists every key of the state dict with its shape, NAME.npz
has the logits for `golden_images`.
"""

import json
import pathlib
import re
import zlib

import numpy as np

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
    return {key: _tensor(key, tuple(shape)) for key, shape in shapes.items()}


def _tensor(key, shape):
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
    rename = _resnet_key if "resnet" in name else _mobilenet_key
    used = set()
    for layer in model.layers:
        if not layer.weights:
            continue
        prefix = rename(layer.name)
        weights = []
        for variable in layer.weights:
            leaf = _LEAVES[variable.name]
            if f"{prefix}.{leaf}" not in state:
                leaf = f"conv.{leaf}"  # the convolution inside an ECA module
            used.add(f"{prefix}.{leaf}")
            weights.append(_to_keras(state[f"{prefix}.{leaf}"], variable))
        layer.set_weights(weights)
    unused = {k for k in state if not k.endswith("num_batches_tracked")} - used
    assert not unused, unused


_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _to_keras(tensor, variable):
    if tensor.ndim == 4:
        # (out, in, h, w); depthwise in Keras: (h, w, channels, 1)
        tensor = tensor.transpose(2, 3, 1, 0)
        if tensor.shape != tuple(variable.shape):
            tensor = tensor.transpose(0, 1, 3, 2)
    elif tensor.ndim in (2, 3):
        tensor = tensor.transpose()
    return tensor


def _resnet_key(name):
    if name == "predictions":
        return "fc"
    if name in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn1"}[name]
    stage, block, part = re.match(r"conv(\d)_block(\d+)_(\w+)", name).groups()
    prefix = f"layer{int(stage) - 1}.{int(block) - 1}."
    if part.startswith("0_"):
        return prefix + f"downsample.{int(part.endswith('bn'))}"
    if part == "eca":
        return prefix + "eca"
    number, kind = part.split("_")
    return prefix + kind + number


def _mobilenet_key(name):
    fixed = {
        "Conv1": "features.0.0",
        "bn_Conv1": "features.0.1",
        "Conv_1": "features.18.0",
        "Conv_1_bn": "features.18.1",
        "predictions": "classifier.1",
    }
    if name in fixed:
        return fixed[name]
    first = name.startswith("expanded_conv")
    block, part = re.match(
        r"(?:expanded_conv|block_(\d+))_(\w+)", name
    ).groups()
    # The first block has no expansion, so its modules begin one earlier.
    module = {
        "expand": "0.0",
        "expand_BN": "0.1",
        "depthwise": "0.0" if first else "1.0",
        "depthwise_BN": "0.1" if first else "1.1",
        "project": "1" if first else "2",
        "project_BN": "2" if first else "3",
        "eca": "3" if first else "4",
    }[part]
    return f"features.{int(block or 0) + 1}.conv.{module}"
