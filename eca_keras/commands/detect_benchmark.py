"""`eca-keras detect benchmark`."""

import dataclasses
import functools
import pathlib
import sys


@dataclasses.dataclass(frozen=True)
class DetectBenchmark:
    """Time Mask R-CNN against torchvision's on the CPU, with equal weights.

    Each runs in a process of its own, with and without attention; once two
    libraries have found the same objects, all take turns, one image per call.

    Args:
        network: Name of the backbone: ECAResNet18, 34, 50, 101 or 152.
        attention: 'none', 'eca' or both; the first is what the other is
            compared with.
        torch_python: The Python that has torch and torchvision; by default
            the one of this command.
        kernel_size: Of eca: 'adaptive' (Eq. 12 of the paper), 'paper' (those
            of the released Mask R-CNN), an integer, or one per stage with
            commas between.
        image_size: Height and width in pixels.
        rounds: How often each is timed.
        threads: Threads that a call may use; by default one for each core.
        output: File for the table as CSV.
    """

    network: str = "ECAResNet50"
    attention: tuple[str, ...] = ("none", "eca")
    torch_python: str | None = None
    kernel_size: str = "adaptive"
    image_size: tuple[int, int] = (800, 1344)
    rounds: int = 20
    threads: int | None = None
    output: pathlib.Path | None = None

    def run(self):
        import benchmarks as comparison
        from eca_keras.profiling.tables import write_csv

        rows = comparison.compare_detectors(
            self.network,
            self.attention,
            torch_python=self.torch_python,
            kernel_size=self.kernel_size,
            image_size=self.image_size,
            rounds=self.rounds,
            threads=self.threads,
            progress=functools.partial(print, file=sys.stderr, flush=True),
        )
        print(comparison.format_detectors(rows))
        print(
            "\nms: median of a call, with quartiles. CPU: processor time of "
            "all threads. ratio: median\nover the rounds of the time by that "
            "of the same library's detector with the first\nattention in the "
            "same round. by ours: the same, by that of this library's "
            "detector with\nthe same attention. peak: most memory that the "
            "process had at one time."
        )
        if self.output:
            write_csv(rows, self.output)
