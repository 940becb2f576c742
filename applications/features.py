"""Feature maps inside a network, for detectors and segmenters."""

from __future__ import annotations

import re

import keras

from eca_keras.applications.mobilenet_v2 import MOBILENET_V2
from eca_keras.utils.checks import check

_RESNET_BLOCK = re.compile(r"conv(\d+)_block\d+_")
_MOBILENET_BLOCK = re.compile(r"block_(\d+)_")


def _mobilenet_levels():
    """Map the number of each block to the level of its output."""
    levels, level = [], 1
    for row in MOBILENET_V2.depths:
        for block in range(row.blocks):
            level += block == 0 and row.strides == 2
            levels.append(level)
    return levels


_MOBILENET_LEVELS = _mobilenet_levels()


def stage_outputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Return the output of each stage of a network of this library.

    Args:
        model: A model made by one of the builders.

    Returns:
        Dictionary from `"C2"`, `"C3"`, ... to the Keras tensors that the
        stages end in, in this order. In the networks for ImageNet, `Cn` is
        `2 ** n` times smaller than the image.

    Raises:
        ValueError: if `model` has no such stages.

    Example:

    >>> from eca_keras.applications import ECAResNet18
    >>> stages = stage_outputs(ECAResNet18(include_top=False))
    >>> {name: tensor.shape[-1] for name, tensor in stages.items()}
    {'C2': 64, 'C3': 128, 'C4': 256, 'C5': 512}

    A pyramid of features: `keras.Model(model.input, stages)`.
    """
    outputs = {}
    for layer in model.layers:  # in the order of the graph: the last one wins
        level = _level(layer.name)
        if level is not None and level >= 2:
            outputs[f"C{level}"] = layer.output
    rule = "must be made by a builder of eca_keras.applications"
    check("model", model, outputs, rule)
    return outputs


def _level(layer_name):
    if match := _RESNET_BLOCK.match(layer_name):
        return int(match[1])
    if match := _MOBILENET_BLOCK.match(layer_name):
        return _MOBILENET_LEVELS[int(match[1])]
    return None
