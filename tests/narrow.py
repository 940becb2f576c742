"""State dicts of a narrow network, in PyTorch's names, that load at once."""

import collections
import functools

import numpy as np

from eca_keras import applications
from eca_keras.weights import recognition
from eca_keras.weights.loading import tensors_of
from eca_keras.weights.naming import torch_variables
from eca_keras.weights.reading import open_checkpoint

CLASSES = 5
BUILDER = "ECAResNet26T"
# As many channels as images are told apart with.
WIDTHS = tuple(((w, w, 2 * w),) * 2 for w in (8, 8, 16, 16))


def network(**arguments):
    builder = getattr(applications, BUILDER)
    return builder(
        block_widths=WIDTHS,
        classes=CLASSES,
        **{"input_shape": (32, 32, 3), **arguments},
    )


@functools.cache
def _shapes():
    variables = torch_variables(network(), "se")
    return {name: v.torch_shape for name, v in variables.items()}


def state(seed=0):
    """The state dict that timm would save of the network."""
    rng = np.random.default_rng(seed)
    made = collections.OrderedDict()
    for name, shape in _shapes().items():
        if name.endswith(("running_var", "bn1.weight")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.3, shape)
        made[name] = values.astype("float32")
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            made[counter] = np.array(100)
    return made


def prefixed(state, prefix):
    return collections.OrderedDict((prefix + k, v) for k, v in state.items())


def with_head(state, head, prefix=""):
    """The same network behind a prefix, with its classifier elsewhere."""
    return collections.OrderedDict(
        (head + k[2:] if k.startswith("fc.") else prefix + k, v)
        for k, v in state.items()
    )


def read(path, ema=None):
    """What the file holds: the `Network`, and its tensors by name."""
    with open_checkpoint(path, ema) as opened:
        found = recognition.recognise(opened)
        tensors = tensors_of(opened, found)
        return found, {name: t.read() for name, t in tensors.items()}


def assert_holds(tensors, state):
    weights = {k: v for k, v in state.items() if "num_batches" not in k}
    assert tensors.keys() == weights.keys()
    for name, values in weights.items():
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)
