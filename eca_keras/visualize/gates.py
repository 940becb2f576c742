"""The numbers by which attention layers weigh channels."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from eca_keras.errors import InputError
from eca_keras.layers import ECA
from eca_keras.layers import ECANS
from eca_keras.layers import GlobalContext
from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.layers.spatial_gate import SpatiallyGated
from eca_keras.utils.checks import refusal
from eca_keras.utils.types import Tensors
from eca_keras.visualize import taps


@dataclasses.dataclass(frozen=True)
class ChannelWeights:
    """The gates of one attention layer.

    Attributes:
        name: Name of the layer, after the names of the models around it:
            `"backbone/conv2_block1_eca"`. From its second call on, a layer
            that is called several times has `"#2"` behind it and so on.
        layer: Name of the layer's class.
        positions: Sizes of the feature map along its position axes, such as
            `(56, 56)`.
        gates: float32 array of shape `(images, channels)`: what each channel
            was multiplied by.
    """

    name: str
    layer: str
    positions: tuple[int, ...]
    gates: np.ndarray


class NoChannelWeights(InputError):
    """A model has no layer that weighs channels."""


def channel_weights(
    model: keras.Model, images: Tensors, batch_size: int = 32
) -> list[ChannelWeights]:
    """Measure the channel weights of each attention layer.

    Every layer of `eca_keras.layers` with a gate per channel counts, in
    nested models included; of `CBAM` and `ECASpatial` it is the channel
    gate that comes first. `GlobalContext` has no gate: it adds to a channel
    and does not weigh it.

    Args:
        model: Any Keras model that is built.
        images: What the model takes: an array whose first axis is that of
            the images, or, with several inputs, a structure of them.
        batch_size: Images per call of the model.

    Returns:
        A list with one `ChannelWeights` per call of an attention layer, in
        the order in which the model calls them.

    Raises:
        ValueError: if there is no image; `NoChannelWeights` if there is no
            such layer.

    Example:

    >>> import numpy as np
    >>> from eca_keras.applications import ECAResNet20
    >>> model = ECAResNet20(input_shape=(16, 16, 3), classes=10)
    >>> weights = channel_weights(model, np.zeros((5, 16, 16, 3)))
    >>> weights[0].name, weights[0].positions, weights[0].gates.shape
    ('conv2_block1_eca', (16, 16), (5, 16))
    """
    taps.check_images(images, batch_size)
    layers = _gated(model)
    if not layers:
        raise NoChannelWeights(_no_gate(model))
    recorder = _Recorder()
    listening = [
        (gate, "call", recorder.wrap(gate, name, kind))
        for gate, name, kind in layers
    ]
    with taps.replaced(listening):
        for batch in taps.batches(images, batch_size):
            recorder.add(taps.run(recorder.hear(model), model, batch))
    return recorder.results()


def _gated(model):
    """Return `(gate, name, class name)` of each layer with a gate."""
    found = {}
    for path, layer in taps.walk(model):
        gate = (
            layer.channel_gate if isinstance(layer, SpatiallyGated) else layer
        )
        # The channel gate inside goes by the name of the layer around it.
        if isinstance(gate, ChannelGate) and id(gate) not in found:
            found[id(gate)] = gate, path, type(layer).__name__
    return list(found.values())


def _no_gate(model):
    others = {
        type(layer).__name__
        for _, layer in taps.walk(model)
        if isinstance(layer, GlobalContext)
    }
    reason = "no layer of eca_keras.layers in it weighs channels"
    if others:
        reason += ": GlobalContext adds to channels and has no gate"
    return (
        f"`model` must have channel attention. Received: {model.name!r}, "
        f"{reason}"
    )


class _Recorder:
    """Collects the gates of tapped layers over the batches."""

    def __init__(self):
        self.heard = {}  # in this call of the model: name to gates
        self.about = {}  # name to class name and positions
        self.batches = collections.defaultdict(list)

    def wrap(self, gate, name, kind):
        call = gate.call

        def listening(inputs, mask=None):
            values = ops.sigmoid(gate._map_logits(inputs, mask))
            values = values * getattr(gate, "gate_scale", 1)
            shape = inputs.shape
            positions = tuple(int(shape[axis]) for axis in gate._positions)
            self._hear(name, values, (kind, positions))
            return call(inputs, mask=mask)

        return listening

    def _hear(self, name, values, about):
        names = itertools.chain(
            [name], (f"{name}#{number}" for number in itertools.count(2))
        )
        free = next(each for each in names if each not in self.heard)
        self.heard[free] = values
        self.about[free] = about

    def hear(self, model):
        """Return a function that calls the model and returns the gates."""

        def call(inputs):
            self.heard = {}
            model(inputs, training=False)
            return self.heard

        return call

    def add(self, heard):
        for name, values in heard.items():
            values = ops.convert_to_numpy(values).astype("float32")
            self.batches[name].append(values)

    def results(self):
        return [
            ChannelWeights(name, *about, np.concatenate(self.batches[name]))
            for name, about in self.about.items()
        ]


def class_means(
    gates: np.ndarray, labels: Tensors, classes: Sequence[int]
) -> np.ndarray:
    """Average gates over the images of each class.

    Args:
        gates: Array of shape `(images, channels)`.
        labels: Sequence with the label of each image.
        classes: The labels to average over.

    Returns:
        Array of shape `(len(classes), channels)`.

    Raises:
        ValueError: if a class has no image, or there is not one label per
            image.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(gates),):
        rule = "must be one per image"
        raise refusal("labels", labels.shape, rule, count=len(gates))
    absent = [label for label in classes if label not in labels]
    if absent:
        rule = "must be among the labels: of some there is no image"
        raise refusal("classes", absent, rule)
    return np.stack(
        [np.mean(gates[labels == label], axis=0) for label in classes]
    )


def class_spread(means: np.ndarray) -> float:
    """Return how far the mean gates of classes are apart.

    Args:
        means: Array of shape `(classes, channels)`.

    Returns:
        The standard deviation over the classes, averaged over the channels.
        0 where the attention does not tell the classes apart.
    """
    return float(np.mean(np.std(means, axis=0)))


def by_stage(
    weights: Iterable[ChannelWeights],
) -> dict[tuple[int, ...], list[ChannelWeights]]:
    """Group channel weights by the size of their feature map.

    Args:
        weights: List of `ChannelWeights`.

    Returns:
        Dictionary of `positions` to a list of `ChannelWeights`.
    """
    stages: dict[tuple[int, ...], list[ChannelWeights]] = {}
    for each in weights:
        stages.setdefault(each.positions, []).append(each)
    return stages


def channel_kernels(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the learned kernels along the channels.

    Args:
        model: Any Keras model that is built.

    Returns:
        Dictionary of the layer's name, as in `ChannelWeights`, to its kernel:
        shape `(kernel_size,)`, from the channel farthest before to the one
        farthest behind, for `ECA` and `ECASpatial`; `(kernel_size, channels)`
        for `ECANS`. Layers without such a kernel are left out.
    """
    return {
        name: _kernel(gate)
        for gate, name, _ in _gated(model)
        if isinstance(gate, (ECA, ECANS))
    }


def _kernel(gate):
    kernel = keras.ops.convert_to_numpy(gate.kernel)
    if isinstance(gate, ECANS):
        return kernel[:, 0]
    return kernel[:, 0, 0]
