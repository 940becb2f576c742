"""Parameters and multiply-accumulates of a model, counted layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras

from eca_keras.errors import InputError
from eca_keras.layers.feature_map import FeatureMapLayer
from eca_keras.profiling import layer_costs
from eca_keras.utils import checks
from eca_keras.utils.keras_graph import check_compatible
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.keras_graph import functional
from eca_keras.utils.keras_graph import run_through


@dataclasses.dataclass(frozen=True)
class CallCost:
    """What one call of one layer costs, per sample.

    Attributes:
        name: Name of the layer, after the names of the models around it:
            `"backbone/conv1"`.
        layer: Name of the layer's class.
        macs, thop_macs: As in `Profile`.
    """

    name: str
    layer: str
    macs: int
    thop_macs: int


@dataclasses.dataclass(frozen=True)
class Profile:
    """What `profile` counts.

    Attributes:
        parameters: All numbers that a checkpoint holds, the moving averages
            of BatchNormalization included.
        trainable_parameters: Those that training changes. PyTorch, and with
            it the ECA-Net paper, call these the parameters.
        attention_parameters: Those of the channel attention layers.
        macs: Multiply-accumulates per sample, of convolutions (also those
            inside attention layers) and dense layers. Biases, normalization,
            activations, pooling and element-wise products count nothing.
        thop_macs: FLOPs as thop counts them, the tool of the paper's
            authors: `macs`, and 4 for each element that
            leaves a BatchNormalization, and `window + 1` for each element
            that leaves an average pooling (also the one inside an attention
            layer), where `window` is the number of elements averaged.
        calls: A `CallCost` for each call that costs something, in order.
        uncounted: Class names of layers that have weights but no rule here:
            what they compute is missing in both sums.
    """

    parameters: int
    trainable_parameters: int
    attention_parameters: int
    macs: int
    thop_macs: int
    calls: tuple[CallCost, ...]
    uncounted: tuple[str, ...]

    @property
    def trainable_parameters_millions(self) -> float:
        """Trainable parameters by 10^6."""
        return self.trainable_parameters / 1e6

    @property
    def trainable_parameters_mebi(self) -> float:
        """Trainable parameters by 2^20, the "M" of the ECA-Net paper."""
        return self.trainable_parameters / 2**20

    @property
    def macs_millions(self) -> float:
        """Multiply-accumulates by 10^6."""
        return self.macs / 1e6

    @property
    def thop_macs_mebi(self) -> float:
        """FLOPs as thop counts them by 2^20, the "M" for MobileNetV2."""
        return self.thop_macs / 2**20

    @property
    def thop_macs_gibi(self) -> float:
        """FLOPs as thop counts them by 2^30, the paper's "G" for ResNets."""
        return self.thop_macs / 2**30


def profile(
    model: keras.Model,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
) -> Profile:
    """Count the parameters and multiply-accumulates of a model.

    A layer that is called twice costs twice, but has its parameters once.
    The two countings are defined in `Profile`. That of thop gives the
    numbers of the paper exactly, with one exception: its MobileNetV2 takes
    the last mean by a function that thop does not see, so that it
    misses the 50 * 1280 of `ECAMobileNetV2`'s `avg_pool`.

    A layer of your own that has a method `count_macs(input_shape)`, which
    returns `(macs, thop_macs)` for an input of that shape (batch
    included), is counted by it. It is taken for an attention layer if its
    attribute `is_attention` is true.

    Args:
        model: A functional or Sequential model that is built. Models inside
            it may be of either kind, too.
        input_shape: Shape of one sample, without the batch; for a model with
            several inputs, a list of shapes in the order of `model.inputs`.
            `None` stands for the shape that the model was built with.

    Returns:
        A `Profile`.

    Raises:
        ValueError: if `model` is of another kind, or a shape is unknown or
            not one that the model takes.

    Example:

    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, padding="same")]
    ... )
    >>> profile(model).macs  # 64 positions, a 3 x 3 window, 3 to 4 channels
    6912
    >>> profile(model, input_shape=(16, 16, 3)).macs
    27648

    Reference: [ECA-Net](https://arxiv.org/abs/1910.03151), Tables 2 and 3.
    """
    graph = _graph(model)
    shapes = _input_shapes(graph, input_shape)
    batch = shapes[0][0]
    ledger = _Ledger()
    ledger.walk(graph, shapes)
    # A fixed batch is divided out again: all sums are multiples of it.
    calls = tuple(
        CallCost(name, layer, macs // batch, thop_macs // batch)
        for name, layer, macs, thop_macs in ledger.calls
    )
    return Profile(
        parameters=_parameters(model.weights),
        trainable_parameters=_parameters(model.trainable_weights),
        attention_parameters=_parameters(
            weight
            for layer in flatten_layers(model)
            if is_attention(layer)
            for weight in layer.weights
        ),
        macs=sum(call.macs for call in calls),
        thop_macs=sum(call.thop_macs for call in calls),
        calls=calls,
        uncounted=tuple(sorted(ledger.uncounted)),
    )


def is_attention(layer: keras.layers.Layer) -> bool:
    """Tell whether `layer` is a channel attention layer."""
    return isinstance(layer, FeatureMapLayer) or getattr(
        layer, "is_attention", False
    )


def _parameters(weights):
    # By identity: a shared variable is in the list of each of its owners.
    unique = {id(weight): weight for weight in weights}
    return sum(layer_costs.size(weight.shape) for weight in unique.values())


def _graph(model):
    """Return the `keras.Function` that a model runs."""
    # None before the first build, and with a layer that infers no shapes.
    graph = functional(model)
    if graph is None:
        rule = (
            "must be a functional or Sequential keras.Model that is built, "
            "because others do not show which layers they call"
        )
        raise checks.refusal("model", model, rule)
    return graph


def _input_shapes(graph, input_shape):
    """Return one full shape per input, all with the same batch."""
    own = [tuple(tensor.shape) for tensor in graph.inputs]
    batch = next((shape[0] for shape in own if shape[0]), 1)
    given = [shape[1:] for shape in own]
    if input_shape is not None:
        given = [input_shape] if len(own) == 1 else input_shape
        given = [tuple(shape) for shape in given]
    fits = [len(shape) for shape in given] == [len(shape) - 1 for shape in own]
    known = all(
        checks.is_int(size) and size > 0 for shape in given for size in shape
    )
    if not (fits and known):
        rule = (
            "must be a tuple of positive integers, without the batch, that "
            "fits the model's input (several inputs: a list of them). It may "
            "only be None if the model's own input has no unknown size"
        )
        own = own if len(own) > 1 else own[0]
        raise checks.refusal("input_shape", input_shape, rule, expected=own)
    return [(batch, *shape) for shape in given]


class _Ledger:
    """Runs shapes through a graph and writes down what each call costs."""

    def __init__(self):
        self.calls = []
        self.uncounted = set()

    def walk(self, graph, shapes, prefix=""):
        tensors = [
            keras.KerasTensor(shape, dtype=tensor.dtype)
            for shape, tensor in zip(shapes, graph.inputs, strict=True)
        ]
        # Keras's own loop over the nodes. Calling the operations instead of
        # asking for their output would add nodes to the caller's layers.
        return run_through(
            graph, tensors, lambda operation: self._recorder(operation, prefix)
        )

    def _recorder(self, operation, prefix):
        def record(*args, **kwargs):
            first = (args or tuple(kwargs.values()))[0]
            if isinstance(operation, (keras.Function, keras.Sequential)):
                return self.walk(
                    _graph(operation),
                    [tensor.shape for tensor in keras.tree.flatten(first)],
                    f"{prefix}{operation.name}/",
                )
            if isinstance(operation, keras.layers.Layer):
                # A new `input_shape` may not suit, say, Flatten and Dense.
                check_compatible(operation, first)
            outputs = operation.compute_output_spec(*args, **kwargs)
            self._write(operation, prefix, first, outputs)
            return outputs

        return record

    def _write(self, layer, prefix, inputs, outputs):
        rule = layer_costs.rule(layer)
        if rule is None:
            if getattr(layer, "weights", None):
                self.uncounted.add(type(layer).__name__)
            return
        tensors = keras.tree.flatten((inputs, outputs))
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if any(size is None for shape in shapes for size in shape):
            raise InputError(
                "The shapes in `model` must follow from those of its inputs. "
                f"Received: a layer {layer.name!r} with the shapes {shapes}"
            )
        cost = rule(layer, shapes[0], shapes[-1])
        if any(cost):
            name = prefix + layer.name
            self.calls.append((name, type(layer).__name__, *cost))
