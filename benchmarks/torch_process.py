"""A network in PyTorch that takes turns with Keras models, see `benchmark`.

It runs in a process of its own, of this Python or another one: TensorFlow and
PyTorch each bring an OpenMP, and together in one process slow each other down.
"""

import os
import tempfile

import numpy as np

from benchmarks.worker import RemoteStep
from benchmarks.worker import TorchWorker
from eca_keras.applications.mobilenet_v2 import MOBILENET_V2
from eca_keras.applications.resnet import RESNETS
from eca_keras.applications.resnet import bottleneck_branch
from eca_keras.errors import ComparisonFailed
from eca_keras.layers import ECA
from eca_keras.weights import load_into

# The released networks: other ResNets differ in more than attention.
RESNET_NAMES = tuple(f"ECAResNet{depth}" for depth in (18, 34, 50, 101, 152))
ATTENTIONS = ("none", "eca")
# By which logits of the same weights may differ, of the largest one.
TOLERANCE = 1e-3


def has_counterpart(builder, attention):
    """Return whether the authors' code has a network with this attention."""
    names = (*RESNET_NAMES, "ECAMobileNetV2")
    return builder in names and attention in ATTENTIONS


def specification(builder, model):
    """Return what describes a network to `torch_networks`.

    Args:
        builder: Name of the network.
        model: The Keras model that it is the counterpart of.

    Returns:
        Dictionary of JSON values.
    """
    kernels = [
        layer.resolved_kernel_size
        for layer in model.layers
        if isinstance(layer, ECA)
    ]
    shared = {
        "kernel_sizes": kernels,
        "classes": model.output_shape[-1],
        "image_size": model.input_shape[1],
    }
    if builder in RESNETS:
        row = RESNETS[builder]
        return {
            **shared,
            "kind": "resnet",
            "depths": row.depths,
            "bottleneck": row.branch is bottleneck_branch,
        }
    return {
        **shared,
        "kind": "mobilenet_v2",
        "rows": MOBILENET_V2.depths,
        "stem": MOBILENET_V2.stem_filters,
        "head": MOBILENET_V2.head_filters,
    }


class TorchNetwork(TorchWorker):
    """The counterpart of a Keras model, until it is closed.

    The Keras model gets the weights of the network, and has to answer like
    it.

    Args:
        builder: Name of the network.
        model: The Keras model, which answers with logits.
        python: The Python that has PyTorch.
        threads: Threads that a call may use.

    Attributes:
        version: Of PyTorch.
        parameters: Number of them; PyTorch does not count moving averages.
        difference: Largest difference of a logit, by the largest logit.

    Raises:
        InputError: if that Python has no PyTorch.
        ComparisonFailed: if the two do not answer alike.
    """

    def __init__(self, builder, model, python=None, threads=None):
        super().__init__(
            "torch_networks",
            {
                **specification(builder, model),
                "threads": threads or os.cpu_count(),
            },
            python,
        )
        with self.closed_if_this_fails():
            about = self.ask("about")
            self.version = about["version"]
            self.parameters = about["parameters"]
            self.difference = self._same_answers(model)

    def _same_answers(self, model):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "weights.pth")
            self.ask("save", path=path)
            load_into(model, path)
        reply = self.ask("answer", seed=1)
        logits = np.array(reply["logits"])
        ours = model.predict_on_batch(np.array(reply["images"], "float32"))
        difference = abs(ours - logits).max() / abs(logits).max()
        if not difference < TOLERANCE:
            raise ComparisonFailed(
                f"{model.name!r} answers unlike PyTorch with the same "
                f"weights: logits differ by {difference:.1e} of the largest"
            )
        return float(difference)

    def step(self, task, batch_size):
        """Return a call of the network, as `benchmarking` times it."""
        return RemoteStep(self, {"task": task, "batch_size": batch_size})
