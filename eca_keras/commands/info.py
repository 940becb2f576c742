"""`eca-keras info`."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated
from typing import Any

from tyro.conf import Positional

from eca_keras.applications import registry
from eca_keras.commands.networks import KernelSize
from eca_keras.commands.networks import attention_field
from eca_keras.commands.networks import kernel_size_field
from eca_keras.utils.checks import check_count

LEGEND = """\
parameters  trainable parameters
Mi          the same in units of 2^20, which the paper reports as M
attention   those of the attention layers
MMAC        10^6 multiply-accumulates of convolutions and dense layers
GiFLOP      2^30 FLOPs as thop counts them, which the paper reports as GFLOP:
            MACs, 4 per element of BatchNormalization and window + 1 per
            output of an average pooling
kernels     size x number of blocks, from the first stage to the last"""
_ROW = "{:20}{:>11}{:>7}{:>10}{:>10}{:>7}  {}"
_TITLES = ("model", "parameters", "Mi", "attention", "MMAC", "GiFLOP")


@dataclasses.dataclass(frozen=True)
class Info:
    """List networks with parameters, multiply-accumulates and kernel sizes.

    Args:
        models: Names of networks; all by default.
        image_size: Height and width in pixels; by default 224, and 32 for
            the networks for small images.
        classes: Number of classes; by default 1000, and 10 for the networks
            for small images.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (the kernel
            sizes of the released checkpoints), an odd integer, or one for
            each stage: 3 5 5 7.
        attention: Attention module, or none.
    """

    models: Annotated[tuple[str, ...], Positional] = ()
    image_size: int | None = None
    classes: int | None = None
    kernel_size: KernelSize = kernel_size_field()
    attention: str = attention_field("eca")

    ALIASES = {"model": "models"}
    EXAMPLES = (
        "eca-keras info --kernel-size paper",
        "eca-keras info ECAResNet50 --attention se",
    )

    def check(self) -> None:
        for name in self.models:
            registry.check_builder(name)
        check_count("classes", self.classes, none=True)

    def run(self) -> None:
        heading = None
        # Line by line: the largest networks take a while to build.
        for name in self.models or registry.BUILDERS:
            size, classes = self._sizes(name)
            row = _ROW.format(*self._row(name, size, classes))
            if heading != (size, classes):
                heading = size, classes
                print(f"{size} x {size} pixels, {classes} classes:")
                print(_ROW.format(*_TITLES, "kernels"))
            print(row, flush=True)
        print(f"\n{LEGEND}")

    def _sizes(self, name):
        usual = registry.default_size(name)
        size = usual if self.image_size is None else self.image_size
        classes = self.classes
        if classes is None:
            classes = 10 if usual <= 32 else 1000
        return size, classes

    def _row(self, name, size, classes):
        from eca_keras.applications.building import build_network
        from eca_keras.profiling.counts import profile

        model = build_network(
            name,
            attention=self.attention,
            kernel_size=self._kernel_size(name),
            input_shape=(size, size, 3),
            classes=classes,
        )
        counts = profile(model)
        return (
            name,
            f"{counts.trainable_parameters:,}",
            f"{counts.trainable_parameters_mebi:.2f}",
            f"{counts.attention_parameters:,}",
            f"{counts.macs_millions:,.2f}",
            f"{counts.thop_macs_gibi:.3f}",
            kernels(model),
        )

    def _kernel_size(self, name):
        """Return the released kernels, where all networks are asked for."""
        if (
            self.kernel_size == "paper"
            and not self.models
            and registry.released_kernels(name) is None
        ):
            return "adaptive"
        return self.kernel_size


def kernels(model: Any) -> str:
    """Return the channel kernels of a model as `size x blocks` in order."""
    from eca_keras.utils.keras_graph import kernel_sizes

    sizes = kernel_sizes(model)
    runs = [(size, len(list(run))) for size, run in itertools.groupby(sizes)]
    return " ".join(f"{size}x{count}" for size, count in runs) or "-"
