"""Mask R-CNN beside torchvision's, with equal weights.

python -m benchmarks.detectors --torch-python python-with-torch
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys

from eca_keras import cli
from eca_keras.commands.networks import KernelSize
from eca_keras.commands.networks import kernel_size_field

LEGEND = """\
ms: median of a call, with quartiles. ratio: median over the rounds of the time
by that of the same library's detector with the first attention in the same
round. CPU: the same of the CPU time of all threads. by ours: the time by that
of this library's detector with the same attention. first call: it compiles.
peak: most memory that the process had at one time."""


@dataclasses.dataclass(frozen=True)
class Detectors:
    """Time Mask R-CNN against torchvision's on the CPU, with equal weights.

    Each runs in a process of its own, with and without attention. Once two
    libraries have found the same objects, all take turns, one image per call.

    Args:
        network: Backbone: ECAResNet18, 34, 50, 101 or 152.
        attention: 'none', 'eca' or both; the first is what the other is
            compared with.
        torch_python: The Python that has torch and torchvision; by default
            the one of this command.
        kernel_size: Kernel size of eca: 'adaptive' (Eq. 12 of the paper),
            'paper' (those of the released Mask R-CNN), an odd integer, or
            one for each stage: 3 5 5 7.
        image_size: Height and width in pixels.
        rounds: Number of timed calls.
        threads: Threads that a call may use; by default one for each core.
        output: CSV file for the table.
    """

    network: str = "ECAResNet50"
    attention: tuple[str, ...] = ("none", "eca")
    torch_python: str | None = None
    kernel_size: KernelSize = kernel_size_field()
    image_size: tuple[int, int] = (800, 1344)
    rounds: int = 20
    threads: int | None = None
    output: pathlib.Path | None = None

    ALIASES = {"attentions": "attention"}

    def run(self):
        from benchmarks import detector_contest
        from eca_keras.profiling.tables import write_csv

        rows = detector_contest.compare_detectors(
            self.network,
            self.attention,
            torch_python=self.torch_python,
            kernel_size=self.kernel_size,
            image_size=self.image_size,
            rounds=self.rounds,
            threads=self.threads,
            progress=functools.partial(print, file=sys.stderr, flush=True),
        )
        print(detector_contest.format_detectors(rows))
        print(f"\n{LEGEND}")
        if self.output:
            write_csv(rows, self.output)


if __name__ == "__main__":
    program = "python -m benchmarks.detectors"
    sys.exit(cli.run_command(Detectors, sys.argv[1:], program))
