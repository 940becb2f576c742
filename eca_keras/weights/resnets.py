"""Reads off the shapes of a state dict which ResNet it is of."""

from __future__ import annotations

import dataclasses
import itertools

from eca_keras.applications import resnet
from eca_keras.utils.checks import shown
from eca_keras.weights.tensors import CheckpointError


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """What tells the rows of the ResNets apart."""

    stem: tuple
    average_shortcut: bool
    groups: int
    blocks: tuple  # widths of the convolutions, by stage and block

    @property
    def but_widths(self):
        return dataclasses.replace(
            self,
            blocks=tuple(
                tuple(len(widths) for widths in stage) for stage in self.blocks
            ),
        )

    def __str__(self):
        widths = self.blocks[0][0]
        block = "bottleneck" if len(widths) == 3 else "basic"
        shortcut = "average-pool" if self.average_shortcut else "strided"
        depths = tuple(len(stage) for stage in self.blocks)
        return (
            f"{block} blocks {shown(depths)}, stem of {self.stem} channels, "
            f"{shortcut} shortcuts, first block {widths} wide in "
            f"{self.groups} groups"
        )


def recognise(shapes: dict[str, tuple]) -> tuple[str, dict, tuple]:
    """Return the builder, its arguments for the widths, and the widths.

    Args:
        shapes: Shapes by PyTorch's names, without a prefix.

    Raises:
        CheckpointError: if no builder makes it.
    """
    geometry = _of_file(shapes)
    rows = {
        name: _of_row(row)
        for name, row in resnet.RESNETS.items()
        # Nobody has published weights of the networks for small images.
        if row.stem is not resnet.small_stem
    }
    for name, row in rows.items():
        if row == geometry:
            return name, {}, geometry.blocks
    for name, row in rows.items():
        if row.but_widths == geometry.but_widths:
            _check_widths(shapes, geometry)
            return name, {"block_widths": geometry.blocks}, geometry.blocks
    raise CheckpointError(f"it is a ResNet that no builder makes: {geometry}.")


def _of_row(row):
    return _Geometry(
        row.stem_widths,
        row.shortcut is resnet.average_shortcut,
        row.groups,
        row.blocks,
    )


def _of_file(shapes):
    stem = ("conv1.weight",)
    if "conv1.0.weight" in shapes:
        stem = ("conv1.0.weight", "conv1.3.weight", "conv1.6.weight")
    inputs = _channels(shapes, "layer1.0.conv1.weight")
    group_width = _channels(shapes, "layer1.0.conv2.weight", 1)
    return _Geometry(
        tuple(_channels(shapes, name) for name in stem),
        len(shapes.get("layer2.0.downsample.1.weight", ())) == 4,
        inputs // group_width if group_width else 0,
        tuple(_stages(shapes)),
    )


def _channels(shapes, name, axis=0):
    """Return the size of an axis of a convolution, 0 where there is none."""
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) == 4 else 0


def _stages(shapes):
    """Yield the widths of the convolutions in the blocks of each stage."""
    for stage in itertools.count(1):
        blocks = tuple(_blocks(shapes, f"layer{stage}"))
        if not blocks:
            return
        yield blocks


def _blocks(shapes, stage):
    for block in itertools.count():
        names = [f"{stage}.{block}.conv{i}.weight" for i in (1, 2, 3)]
        widths = [_channels(shapes, name) for name in names if name in shapes]
        if not widths:
            return
        yield tuple(widths)


def _check_widths(shapes, geometry):
    """Refuse widths of which the network would be larger than its file."""
    inputs = geometry.stem[-1]
    for stage, blocks in enumerate(geometry.blocks, 1):
        for block, widths in enumerate(blocks):
            prefix = f"layer{stage}.{block}"
            chain = (inputs, *widths)
            expected = {
                f"{prefix}.conv{index + 1}": (width, source)
                for index, (source, width) in enumerate(
                    itertools.pairwise(chain)
                )
            }
            if inputs != widths[-1] or (stage > 1 and block == 0):
                index = int(geometry.average_shortcut)  # its pooling counts
                shortcut = f"{prefix}.downsample.{index}"
                expected[shortcut] = (widths[-1], inputs)
            inputs = widths[-1]
            for name, channels in expected.items():
                _check_convolution(shapes, name, channels, geometry.groups)


def _check_convolution(shapes, name, channels, groups):
    outputs, inputs = channels
    if name.endswith("conv2"):
        inputs //= groups
    found = (
        _channels(shapes, f"{name}.weight"),
        _channels(shapes, f"{name}.weight", 1),
    )
    if found != (outputs, inputs) or not outputs or not inputs:
        raise CheckpointError(
            f"its {name} maps {found[1]} to {found[0]} channels, not "
            f"{inputs} to {outputs} as its neighbours."
        )
