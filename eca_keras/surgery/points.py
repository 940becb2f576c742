"""Where attention belongs in a model that someone else built."""

import dataclasses
import typing

import keras
import numpy as np

from eca_keras.utils.keras_graph import count_kernels

# At the end of a residual branch: what only acts in training, and scales
# each channel by a constant, which in a new network is next to nothing. The
# means that attention looks at are those before.
TAIL = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("DropPath", "StochasticDepth", "LayerScale"),
)

# A feature map this many times smaller or larger has another resolution; a
# window without padding takes less.
CHANGE = 1.5


@dataclasses.dataclass(frozen=True)
class InsertionPoint:
    """A feature map that attention is put on.

    Attributes:
        tensor: The symbolic tensor in the given model.
        reader: The one call that reads it with attention; `None` for all.
    """

    tensor: typing.Any
    reader: typing.Any = None


def chosen_points(graph, is_chosen):
    """Return an `InsertionPoint` behind each layer that `is_chosen`."""
    return [
        InsertionPoint(tensor)
        for node in graph.nodes
        if not node.is_input and is_chosen(node.operation)
        for tensor in node.outputs
    ]


def residual_points(graph):
    """Return an `InsertionPoint` on the residual branch of each residual add.

    A residual add takes feature maps of one shape that come from the same one:
    the shortcut, with at most one layer that has a kernel (a projection), and
    branches with more of them. A projection is closed, that is, nothing inside
    it is read elsewhere; a branch is closed or fed by a single one, and does
    not go to a lower resolution and back, as the top-down path of a feature
    pyramid does.
    """
    points = []
    for i, node in enumerate(graph.nodes):
        terms = _terms(node)
        if len(terms) < 2:
            continue
        branches = [graph.upto(graph.producer[id(t)]) for t in terms]
        lengths = [
            _kernels(graph, branch & ~_common(branches)) for branch in branches
        ]
        short = int(np.argmin(lengths))
        if lengths[short] > 1 or not _is_kept(node, terms, short):
            continue
        for tensor, branch, length in zip(
            terms, branches, lengths, strict=True
        ):
            inside = branch & ~branches[short]
            projection = branches[short] & ~branch
            if (
                length > lengths[short]
                and branch & branches[short]
                and _is_closed(graph, projection, i)
                and _is_block(graph, inside, i)
            ):
                points.append(_before_tail(graph, node, tensor, inside))
    return points


def stage_points(graph, *, nested):
    """Return an `InsertionPoint` at the end of each stage.

    A stage is a part of the network that is connected without a change of
    resolution and that has a layer with a kernel. Its end is its last
    feature map from which all comes that leaves it for good; what comes
    back, as the gate of squeeze-and-excitation does, does not leave. Those of
    a single position, which have no mean to speak of, are not counted.

    Args:
        graph: The graph.
        nested: Whether the model is inside another one. What it returns
            then belongs to a stage out there.

    Raises:
        ValueError: if it is not known which axis holds the channels behind a
            layer with a kernel.
    """
    for i, node in enumerate(graph.nodes):
        for tensor in node.outputs if graph.kernels[i] else ():
            if graph.channels.is_open(tensor) and not graph.positions(tensor):
                graph.channels.data_format(tensor, node.operation.name)
    points = []
    for region in _regions(graph):
        within = [graph.producer[id(tensor)] for tensor in region]
        if not any(graph.kernels[i] for i in within):
            continue
        if nested and any(id(tensor) in graph.outputs for tensor in region):
            continue
        leaving = _leaving(graph, region, within)
        if not leaving:
            continue
        common = _common(
            [graph.upto(graph.producer[id(tensor)]) for tensor in leaving]
        )
        ends = [
            (i, tensor)
            for i, tensor in zip(within, region, strict=True)
            if common >> i & 1
            and not graph.is_border(i)
            and not graph.nodes[i].is_input
        ]
        if ends:
            points.append(InsertionPoint(max(ends, key=lambda end: end[0])[1]))
        else:
            points.extend(InsertionPoint(tensor) for tensor in leaving)
    return points


def _inputs(node):
    return list({id(tensor): tensor for tensor in node.input_tensors}.values())


def _terms(node):
    """Return the feature maps that a call may be the sum of."""
    if count_kernels(node.operation) or len(node.outputs) != 1:
        return []
    shape = node.outputs[0].shape
    terms = _inputs(node)
    if len(shape) not in (3, 4, 5) or any(t.shape != shape for t in terms):
        return []
    return terms


def _common(calls):
    common = calls[0]
    for others in calls[1:]:
        common &= others
    return common


def _kernels(graph, calls):
    return sum(graph.kernels[i] for i in graph.members(calls))


def _is_kept(node, terms, short):
    """Tell whether a call adds multiples of the other terms to term `short`.

    That is found by calling a copy of the layer: networks add by layers of
    their own, such as the one that scales the branches of InceptionResNetV2.
    """
    if isinstance(node.operation, keras.layers.Add):
        return True
    rng = np.random.default_rng(0)
    shape = (1, *[2] * (len(terms[0].shape) - 1))
    values = [rng.normal(size=shape).astype("float32") for _ in terms]
    try:
        copy = type(node.operation).from_config(node.operation.get_config())
        alone = [
            _call(copy, node, terms, [v * (v is x) for v in values])
            for x in values
        ]
        together = _call(copy, node, terms, values)
    except Exception:  # whatever a layer of someone else's may raise
        return False
    close = {"rtol": 1e-2, "atol": 1e-2}  # it may compute in half precision
    return (
        together.shape == shape
        and np.allclose(together, sum(alone), **close)
        and np.allclose(alone[short], values[short], **close)
        and all(np.abs(one).max() > 0 for one in alone)
    )


def _call(operation, node, terms, values):
    arguments, keywords = node.arguments.fill_in(
        {
            id(tensor): keras.ops.convert_to_tensor(value)
            for tensor, value in zip(terms, values, strict=True)
        }
    )
    outputs = operation(*arguments, **keywords)
    return keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))


def _is_closed(graph, inside, end):
    """Tell whether only the sum `end` reads what the calls `inside` give."""
    return all(
        reader == end or inside >> reader & 1
        for i in graph.members(inside)
        for tensor in graph.nodes[i].outputs
        for reader in graph.readers.get(id(tensor), [])
    )


def _is_block(graph, inside, end):
    """Tell whether the calls `inside` are a residual branch of `end`."""
    numbers = graph.members(inside)
    entries = {
        id(tensor)
        for i in numbers
        for tensor in graph.nodes[i].input_tensors
        if not inside >> graph.producer[id(tensor)] & 1
    }
    if len(entries) != 1 and not _is_closed(graph, inside, end):
        return False
    size = _size(graph, graph.nodes[end].outputs[0])
    tensors = (tensor for i in numbers for tensor in graph.nodes[i].outputs)
    # A single position, or no feature map: the inside of a gate.
    return not any(
        found > 1 and found * CHANGE <= size
        for found in (_size(graph, tensor) for tensor in tensors)
    )


def _size(graph, tensor):
    """Return the longest side of a feature map; 0 for other tensors."""
    return max(graph.positions(tensor) or (0,))


def _before_tail(graph, reader, tensor, inside):
    while True:
        i = graph.producer[id(tensor)]
        node = graph.nodes[i]
        if not inside >> i & 1 or not _is_tail(node):
            return InsertionPoint(tensor, reader)
        reader, [tensor] = node, node.input_tensors


def _is_tail(node):
    operation = node.operation
    if len(node.input_tensors) != 1 or len(node.outputs) != 1:
        return False
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return any(cls.__name__ in TAIL for cls in type(operation).__mro__)


def _regions(graph):
    """Return lists of feature maps connected at one resolution."""
    region, positions = {}, {}
    for i, node in enumerate(graph.nodes):
        for tensor in node.outputs:
            positions[id(tensor)] = graph.positions(tensor)
            if graph.is_border(i):
                [source] = node.input_tensors
                positions[id(tensor)] = positions[id(source)]
            if max(positions[id(tensor)] or (0,)) < 2:
                continue
            members = region[id(tensor)] = [tensor]
            for source in _inputs(node):
                found = region.get(id(source))
                if (
                    found is not None
                    and found is not members
                    and _similar(positions[id(source)], positions[id(tensor)])
                ):
                    members = found + members
                    region.update((id(member), members) for member in members)
    return list({id(members): members for members in region.values()}.values())


def _similar(one, other):
    return len(one) == len(other) and all(
        max(a, b) < CHANGE * min(a, b) for a, b in zip(one, other, strict=True)
    )


def _leaving(graph, region, within):
    """Return the feature maps of a region that are read elsewhere."""
    ids = {id(tensor) for tensor in region}
    returning = 0
    for i in within:
        returning |= graph.before[i]
    leaving = []
    for tensor in region:
        readers = graph.readers.get(id(tensor), [])
        outside = [
            i
            for i in readers
            if not returning >> i & 1
            and not any(id(out) in ids for out in graph.nodes[i].outputs)
        ]
        if outside or id(tensor) in graph.outputs:
            leaving.append(tensor)
    return leaving
