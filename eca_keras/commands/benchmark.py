"""`eca-keras benchmark`."""

import dataclasses
import functools
import pathlib
import sys
import typing

import tyro

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Time networks with and without attention, alternating in one process.

    Args:
        models: Names of networks.
        attention: Attention modules to compare; the first is what the others
            are compared with.
        image_size: Height and width in pixels; by default that of the
            network.
        batch_sizes: Batch sizes of inference.
        training_batch_size: Batch size of the training step; 0 leaves
            training out.
        rounds: How often each is timed.
        output: File for the table as CSV.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = (
        "ECAResNet50",
    )
    attention: tuple[str, ...] = ("none", "eca")
    image_size: int | None = None
    batch_sizes: tuple[int, ...] = (8, 1)
    training_batch_size: int = 8
    rounds: int = 20
    output: pathlib.Path | None = None

    def run(self):
        from eca_keras.benchmarking import benchmark
        from eca_keras.benchmarking import format_table
        from eca_keras.benchmarking import write_csv
        from eca_keras.training.classifier import build_network
        from eca_keras.training.classifier import default_size

        rows = []
        for model in self.models:
            size = self.image_size
            if size is None:
                size = default_size(model)
            networks = {
                f"{model} {attention}": functools.partial(
                    build_network,
                    model,
                    attention=attention,
                    input_shape=(size, size, 3),
                )
                for attention in self.attention
            }
            print(
                f"Timing {model} at {size} x {size}: {self.rounds} rounds",
                file=sys.stderr,
            )
            try:
                rows += benchmark(
                    networks,
                    batch_sizes=self.batch_sizes,
                    training_batch_size=self.training_batch_size or None,
                    rounds=self.rounds,
                    progress=functools.partial(print, file=sys.stderr),
                )
            except ValueError as error:
                raise InputError(str(error)) from error
        print(format_table(rows))
        print(
            "\nms: median of a call. ratio: median over the rounds of the "
            "time by that of the first\nattention in the same round. "
            "CPU: processor time of all threads."
        )
        if self.output:
            write_csv(rows, self.output)
