"""Attention in a model that someone else built."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Literal

import keras

from eca_keras.applications.attention import resolve
from eca_keras.errors import InputError
from eca_keras.surgery.copying import ModelCopy
from eca_keras.surgery.points import chosen_points
from eca_keras.surgery.points import residual_points
from eca_keras.surgery.points import stage_points
from eca_keras.utils import checks
from eca_keras.utils.channels import ChannelAxes
from eca_keras.utils.checks import refusal
from eca_keras.utils.keras_graph import ModelGraph
from eca_keras.utils.keras_graph import functional
from eca_keras.utils.types import DataFormat

# These have a gate that can start at 1, see `identity_start`.
WITH_IDENTITY = ("eca", "eca_circular")

SHOWN_NAMES = 8

WHERE = "must be 'residual', 'stage', a regular expression or a callable"


def insert_attention(
    model: keras.Model,
    attention: str | Callable[[str], keras.layers.Layer] = "eca",
    where: str | Callable[[keras.Operation], bool] = "residual",
    *,
    kernel_size: int | Literal["adaptive"] | None = "adaptive",
    identity_start: bool = False,
    data_format: DataFormat = None,
    name: str | None = None,
) -> keras.Model:
    """Put attention into a model, and keep what it has learned.

    The result is a new model with layers and state of its own; the given one
    stays as it is, and each can be used and trained without the other. A
    layer is copied from its config, and its state after that: variables,
    assets such as the vocabulary of a `StringLookup`, what its
    `save_own_variables` stores, plain attributes. A layer whose copy would
    not be like it is refused by name. Names, dtype policies and `trainable`
    flags are kept, a layer that is called twice or is inside another one,
    too, still is one layer, and nested models are treated like the model.

    The new layers have the dtype policy of the layer before them and the data
    format of the feature map; they are called like the layer before them with
    `_eca` (or the name of the attention) behind it, and are trainable.

    The result is not compiled, even if the given model is: the state of an
    optimizer belongs to the weights of one model. Call `compile`.

    Args:
        model: A functional or built Sequential model: any of
            `keras.applications`, a KerasHub backbone, your own. Several
            inputs and outputs, shared layers and nested models are fine.
        attention: As in the builders of `eca_keras.applications`: a name
            such as `"eca"`, or a callable `name -> keras.layers.Layer`.
        where: What the attention follows.

            - `"residual"`: the residual branch of each residual add, right
              before the add as in the paper, but before dropout, stochastic
              depth and layer scale at its end. Adds are found by structure,
              not by names: the shortcut is the input itself or a projection
              of it, the branch has more layers with a kernel. Two branches
              alike, and the top-down path of a feature pyramid, are no
              residual blocks.
            - `"stage"`: the last feature map before each change of resolution,
              and the last of all, where the network has learned something at
              that resolution.
            - Another string: a regular expression. The layers (and
              operations of `keras.ops`) whose whole name it matches.
            - A callable: `layer -> bool`.

        kernel_size: `"adaptive"` or a positive odd integer, for attention
            with a kernel along the channels.
        identity_start: Whether the new model computes what the given one does
            until it is trained. A new gate is about 1/2 and would halve every
            feature map of a trained network. With `True` the layers are
            `ECA(gate_scale=2, kernel_initializer="zeros")`: every gate is
            exactly `2 * sigmoid(0) = 1`, and every weight has a gradient from
            the first step on, which a factor that blends the gate in from 0
            would not give. Multiplying by 1 rounds nothing, so the outputs of
            `model(x)` are those of the given model to the last bit, with
            `training=True`, too. In `predict`, `fit` and `tf.function` a
            compiler fuses layers, other ones where a gate is between them:
            outputs differ by float32 rounding, as those of `model(x)` and
            `model.predict(x)` do (1e-5 of the largest in ResNet50). After
            training, the 2 can be moved into the layer before, see `ECA`.
            For `"eca"` and `"eca_circular"`.
        data_format: `"channels_last"` or `"channels_first"`, for feature maps
            where no layer tells which axis holds the channels. Elsewhere, what
            made a feature map decides, or else what reads it.
        name: Name of the new model; that of the given one by default.

    Returns:
        A model. Its class is that of the given one if that has the
        constructor of `keras.Model`, and `keras.Model` otherwise: the
        constructor of a KerasHub backbone could not build what it is now.

    Raises:
        ValueError: if an argument is out of its range, nothing in the model
            fits `where`, a layer or its state cannot be copied, or the
            channel axis of a chosen feature map is not known.

    Example:

    >>> import keras
    >>> from eca_keras import insert_attention
    >>> plain = keras.applications.ResNet50(weights=None)
    >>> model = insert_attention(plain, identity_start=True)
    >>> [layer.name for layer in model.layers if "_eca" in layer.name][:2]
    ['conv2_block1_3_bn_eca', 'conv2_block2_3_bn_eca']
    >>> model.count_params() - plain.count_params()
    86
    """
    _check_model(model)
    resolved = _resolve(attention, kernel_size, identity_start, model)
    find = _finder(where)
    checks.data_format(data_format)
    channels = ChannelAxes(model, default=data_format)
    points = []
    for graph, nested in _graphs(model, channels):
        points.extend(find(graph, nested))
    if not points:
        raise InputError(_nothing_found(model, channels, where))
    return ModelCopy(model, resolved, points, channels).make(name)


def _check_model(model):
    if isinstance(model, keras.Sequential) and functional(model) is None:
        raise InputError(
            f"`model` must be built: {model.name!r} does not know the shape "
            "of its input. Begin it with a keras.Input, or call `build`."
        )
    if not isinstance(model, keras.Model) or functional(model) is None:
        rule = (
            "must be a functional or Sequential Keras model, whose layers are "
            "known; a subclass of keras.Model with a `call` of its own is not"
        )
        raise refusal("model", model, rule)


def _resolve(attention, kernel_size, identity_start, model):
    if attention is None:
        rule = "must be the name of an attention module or a callable"
        raise refusal("attention", attention, rule)
    resolved = resolve(
        attention, kernel_size, released=None, stages=1, model=model.name
    )
    if not identity_start:
        return resolved
    if resolved.suffix not in WITH_IDENTITY:
        raise InputError(
            "`identity_start=True` is for attention that is one of "
            f"{list(WITH_IDENTITY)}. Received: attention={attention!r}"
        )
    make = functools.partial(
        resolved.make, gate_scale=2, kernel_initializer="zeros"
    )
    return dataclasses.replace(resolved, make=make)


def _finder(where):
    """Return the function `(graph, nested) -> points` that `where` means."""
    if where == "residual":
        return lambda graph, nested: residual_points(graph)
    if where == "stage":
        return lambda graph, nested: stage_points(graph, nested=nested)
    if isinstance(where, str):
        try:
            pattern = re.compile(where)
        except re.error as error:
            reason = f"{WHERE}, and is no regular expression: {error}"
            raise refusal("where", where, reason) from error
        return lambda graph, nested: chosen_points(
            graph, lambda operation: pattern.fullmatch(operation.name)
        )
    if callable(where):
        return lambda graph, nested: chosen_points(graph, where)
    raise refusal("where", where, WHERE)


def _graphs(model, channels, nested=False, seen=None):
    """Yield the graph of a model and those inside it, each once."""
    seen = set() if seen is None else seen
    if id(model) in seen:
        return
    seen.add(id(model))
    yield ModelGraph(model, channels), nested
    for layer in model.layers:
        if functional(layer) is not None:
            yield from _graphs(layer, channels, True, seen)


def _nothing_found(model, channels, where):
    looked_for = {
        "residual": "no residual add",
        "stage": "no feature map of several positions behind a kernel",
    }
    what = looked_for.get(where, "no layer that `where` chooses")
    names = [
        node.operation.name
        for graph, _ in _graphs(model, channels)
        for node in graph.nodes
        if not node.is_input and graph.positions(node.outputs[0])
    ]
    step = max(1, len(names) // SHOWN_NAMES)
    shown = ", ".join(names[step - 1 :: step][:SHOWN_NAMES]) or "none"
    hint = "" if where == "stage" else "'stage', "
    return (
        f"There is {what} in {model.name!r}: choose layers by {hint}a regular "
        "expression for the whole name of a layer, or a callable. Some of "
        f"the {len(names)} layers that give a feature map: {shown}. "
        f"Received: where={where!r}"
    )
