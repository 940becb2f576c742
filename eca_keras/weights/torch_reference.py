"""The outputs of PyTorch with the weights of a checkpoint.

This is the check of a conversion: PyTorch reads the file by itself, and the
forward pass here follows the names in the file, not the Keras model. Networks
of timm are built by timm. All of it runs in a process of its own, as a
script: TensorFlow and torchvision do not bear each other in one process.
"""

import dataclasses
import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

from eca_keras.applications.mobilenet_v2 import MOBILENET_V2
from eca_keras.errors import InputError
from eca_keras.utils.checks import listed
from eca_keras.weights import hub
from eca_keras.weights import safetensors_files
from eca_keras.weights.layouts import find_state_dict
from eca_keras.weights.loading import inspect_checkpoint
from eca_keras.weights.loading import tensors_of
from eca_keras.weights.tensors import CheckpointError

BN_EPSILON = 1e-5  # PyTorch's default


def predict(path, network, images):
    """Return the output of the network in a checkpoint.

    Args:
        path: The checkpoint.
        network: What `inspect_checkpoint` says about it, with the EMA of the
            weights or without, with `classes=None` to leave a classifier out.
        images: Array of shape `(batch, height, width, 3)`, normalized.

    Returns:
        Array of the logits, of shape `(batch, classes)`, or of the last
        feature map, `(batch, height, width, channels)`, where the checkpoint
        has no classifier.

    Raises:
        CheckpointError: if PyTorch cannot make sense of the file.
        ImportError: if PyTorch or, for its networks, timm is not installed.
    """
    _require("torch")
    if network.builder in hub.TIMM_NAMES:
        _require("timm")
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (
            os.path.join(folder, name) for name in ("images.npy", "outputs.npy")
        )
        np.save(inputs, images)
        result = subprocess.run(
            [
                *(sys.executable, "-m", __name__, path, inputs, outputs),
                *(["ema"] if network.ema else []),
                *([] if network.classes else ["no-top"]),
            ],
            env={**os.environ, "KERAS_BACKEND": "torch"},
            capture_output=True,
            text=True,
        )
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ["it crashed"]
            raise CheckpointError(f"PyTorch failed: {lines[-1]}")
        return np.load(outputs)


def main(path, inputs, outputs, *flags):
    """Run in the other process: read images, write outputs."""
    import torch

    network = inspect_checkpoint(path, ema="ema" in flags)
    if "no-top" in flags:
        network = dataclasses.replace(network, classes=None, head=None)
    images = np.moveaxis(np.load(inputs), -1, 1).astype("float32")
    state = _state(path, network)
    with torch.no_grad():
        if network.builder in hub.TIMM_NAMES:
            x = _timm(state, network, torch.from_numpy(images))
        else:
            x = _Forward(state).network(torch.from_numpy(images))
    x = x.numpy()
    np.save(outputs, x if network.classes else np.moveaxis(x, 1, -1))


def _require(module):
    if importlib.util.find_spec(module) is None:
        raise ImportError(
            f"Comparing with PyTorch needs {module}: pip install {module}"
        )


def _state(path, network):
    """Return the tensors of the network as PyTorch itself reads them."""
    import torch

    try:
        with open(path, "rb") as file:
            head = file.read(9)
        if safetensors_files.is_safetensors(head):
            from safetensors.torch import load_file

            loaded = load_file(path)
        else:
            if strangers := _strangers(path):
                torch.serialization.add_safe_globals(strangers)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"PyTorch cannot load {str(path)!r}: {reason}"
        ) from None
    state = find_state_dict(loaded, network.ema, torch.Tensor)
    tensors = tensors_of(state, network)
    return {name: tensor.float() for name, tensor in tensors.items()}


class _Stranger:
    """Stands for what a checkpoint names and PyTorch would refuse."""

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


def _strangers(path):
    """Return a substitute for each class that the file asks for."""
    import torch

    # Not in PyTorch before 2.6, and not for the older container.
    name = "get_unsafe_globals_in_checkpoint"
    names_in = getattr(torch.serialization, name, None)
    if names_in is None or not zipfile.is_zipfile(path):
        return []
    names = names_in(path)
    return [(type("Stranger", (_Stranger,), {}), name) for name in names]


def _timm(state, network, x):
    name = hub.TIMM_NAMES[network.builder]
    if network.attention != "eca":
        raise CheckpointError(
            f"timm has no {name} with attention={network.attention!r} to "
            "compare with."
        )
    import timm

    model = timm.create_model(name, num_classes=network.classes or 0).eval()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"It is not timm's {name}: {reason}") from None
    return model(x) if network.classes else model.forward_features(x)


class _Forward:
    """Runs the authors' networks from the tensors under their names."""

    def __init__(self, state):
        self.state = state
        self.used = set()

    def network(self, x):
        """Return logits, or the last feature map without a classifier."""
        if "conv1.weight" in self.state:
            x, head = self.resnet(x), "fc"
        else:
            x, head = self.mobilenet(x), "classifier.1"
        if self.has(head):
            x = x.mean((2, 3)) @ self.tensor(f"{head}.weight").T
            x = x + self.tensor(f"{head}.bias")
        if unused := [name for name in self.state if name not in self.used]:
            raise CheckpointError(
                f"the reference network has no use for {listed(unused)}."
            )
        return x

    def resnet(self, x):
        from torch.nn import functional

        x = self.bn("bn1", self.conv("conv1", x, 2)).relu()
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(1, 5):
            block = 0
            while self.has(f"layer{stage}.{block}.conv1"):
                stride = 2 if stage > 1 and block == 0 else 1
                x = self.residual(f"layer{stage}.{block}", x, stride)
                block += 1
        return x

    def residual(self, block, x, stride):
        bottleneck = self.has(f"{block}.conv3")
        y = self.conv(f"{block}.conv1", x, 1 if bottleneck else stride)
        y = self.bn(f"{block}.bn1", y).relu()
        y = self.conv(f"{block}.conv2", y, stride if bottleneck else 1)
        y = self.bn(f"{block}.bn2", y)
        if bottleneck:
            y = self.conv(f"{block}.conv3", y.relu())
            y = self.bn(f"{block}.bn3", y)
        y = self.attention(f"{block}.eca.conv", y)
        if self.has(f"{block}.downsample.0"):
            x = self.conv(f"{block}.downsample.0", x, stride)
            x = self.bn(f"{block}.downsample.1", x)
        return (x + y).relu()

    def mobilenet(self, x):
        x = self.conv_bn_relu6("features.0", x, 2)
        index = 1
        for row in MOBILENET_V2.depths:
            for block in range(row.blocks):
                stride = row.strides if block == 0 else 1
                x = self.inverted(f"features.{index}.conv", x, row, stride)
                index += 1
        return self.conv_bn_relu6(f"features.{index}", x)

    def inverted(self, block, x, row, stride):
        y, module = x, 0
        if row.expansion > 1:
            y, module = self.conv_bn_relu6(f"{block}.0", y), 1
        y = self.conv_bn_relu6(f"{block}.{module}", y, stride)
        y = self.conv(f"{block}.{module + 1}", y)
        y = self.bn(f"{block}.{module + 2}", y)
        y = self.attention(f"{block}.{module + 3}.conv", y)
        return x + y if stride == 1 and x.shape == y.shape else y

    def conv_bn_relu6(self, name, x, stride=1):
        x = self.conv(f"{name}.0", x, stride)
        return self.bn(f"{name}.1", x).clamp(0, 6)

    def conv(self, name, x, stride=1):
        from torch.nn import functional

        weight = self.tensor(f"{name}.weight")
        groups = x.shape[1] // weight.shape[1]
        padding = weight.shape[-1] // 2
        return functional.conv2d(
            x, weight, None, stride, padding, groups=groups
        )

    def bn(self, name, x):
        from torch.nn import functional

        leaves = ("running_mean", "running_var", "weight", "bias")
        values = [self.tensor(f"{name}.{leaf}") for leaf in leaves]
        return functional.batch_norm(x, *values, eps=BN_EPSILON)

    def attention(self, name, x):
        """Apply ECA, or ECA-NS with a kernel for each channel."""
        from torch.nn import functional

        if not self.has(name):
            return x
        kernel = self.tensor(f"{name}.weight")[:, 0]  # (1 or channels, k)
        size = kernel.shape[-1]
        means = functional.pad(x.mean((2, 3)), (size // 2, size // 2))
        logits = (means.unfold(1, size, 1) * kernel).sum(-1)
        return x * logits.sigmoid()[:, :, None, None]

    def has(self, name):
        return f"{name}.weight" in self.state

    def tensor(self, name):
        self.used.add(name)
        try:
            return self.state[name]
        except KeyError:
            raise CheckpointError(f"it has no tensor {name}.") from None


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (InputError, OSError, ImportError) as error:
        sys.exit(str(error))
