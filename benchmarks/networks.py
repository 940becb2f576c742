"""Networks beside those of keras.applications and PyTorch.

    python -m benchmarks.networks ECAResNet50 --against torch

The columns of the ECA-Net paper's Table 3, and its Figure 1.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys
from typing import Annotated

from tyro.conf import Positional

from eca_keras import cli
from eca_keras.commands.networks import KernelSize
from eca_keras.commands.networks import attention_field
from eca_keras.commands.networks import kernel_size_field
from eca_keras.errors import InputError

LEGEND = """\
parameters: trainable parameters. GMAC: 10^9 multiply-accumulates of an image.
ms: median of a call, with quartiles. ratio: median over the rounds of the time
by that of the same library's network with the first attention in the same
round. CPU: the same of the CPU time of all threads. by ours: the time by that
of this library's network with that attention."""


@dataclasses.dataclass(frozen=True)
class Networks:
    """Count and time networks, with those of other libraries taking turns.

    Args:
        models: Names of networks.
        attention: Attention modules to compare, or none; the first is what
            the others are compared with.
        against: Other libraries: 'keras.applications' (without attention),
            'torch' (without, and with eca, as the authors have it), or both.
        torch_python: The Python that has PyTorch, for --against torch; by
            default the one of this command.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (the kernel
            sizes of the released checkpoints), an odd integer, or one for
            each stage: 3 5 5 7.
        image_size: Height and width in pixels; by default that of the
            network.
        batch_sizes: Batch sizes of inference.
        training_batch_size: Batch size of the training step; 0 leaves
            training out.
        rounds: Number of timed calls.
        output: CSV file for the table.
        figure: File for a figure, such as networks.png: parameters, speed
            (or --accuracy) and multiply-accumulates as bubbles.
        accuracy: CSV file with the columns network, attention and top1 (in
            percent), for the figure to show accuracy instead of speed.
    """

    models: Annotated[tuple[str, ...], Positional] = ("ECAResNet50",)
    attention: tuple[str, ...] = attention_field(("none", "eca"))
    against: tuple[str, ...] = ()
    torch_python: str | None = None
    kernel_size: KernelSize = kernel_size_field()
    image_size: int | None = None
    batch_sizes: tuple[int, ...] = (8, 1)
    training_batch_size: int = 8
    rounds: int = 20
    output: pathlib.Path | None = None
    figure: pathlib.Path | None = None
    accuracy: pathlib.Path | None = None

    ALIASES = {"model": "models", "attentions": "attention"}

    def check(self):
        from eca_keras.utils.figures import check_figure

        goes_with = {
            "torch_python": ("`against torch`", "torch" in self.against),
            "accuracy": ("`figure`", self.figure),
        }
        for name, (other, there) in goes_with.items():
            if getattr(self, name) is not None and not there:
                raise InputError(
                    f"`{name}` must only be given with {other}. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.figure:  # before the minutes that it takes to measure
            check_figure(self.figure)

    def run(self):
        from benchmarks import bubbles
        from benchmarks import network_contest
        from eca_keras.profiling.tables import write_csv

        accuracies = None
        if self.accuracy:
            accuracies = bubbles.read_accuracies(self.accuracy)
        rows = []
        for model in self.models:
            rows += network_contest.compare_networks(
                model,
                self.attention,
                against=self.against,
                torch_python=self.torch_python,
                kernel_size=self.kernel_size,
                image_size=self.image_size,
                batch_sizes=self.batch_sizes,
                training_batch_size=self.training_batch_size or None,
                rounds=self.rounds,
                progress=functools.partial(print, file=sys.stderr),
            )
        print(network_contest.format_networks(rows))
        print(f"\n{LEGEND}")
        if self.figure:
            bubbles.write_bubbles(rows, self.figure, accuracies)
        if self.output:
            write_csv(rows, self.output)


if __name__ == "__main__":
    program = "python -m benchmarks.networks"
    sys.exit(cli.run_command(Networks, sys.argv[1:], program))
