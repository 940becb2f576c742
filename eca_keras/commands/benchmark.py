"""`eca-keras benchmark`."""

import dataclasses
import pathlib
import typing

import tyro


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Time networks with and without attention, alternating in one process.

    Args:
        models: Names of networks.
        attention: Attention modules to compare; the first is the baseline.
        image_size: Height and width in pixels.
        batch_sizes: Batch sizes of the inference.
        training_batch_size: Batch size of the training step; 0 leaves
            training out.
        rounds: How often each is timed.
        output: File for the table as CSV.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = (
        "ECAResNet50",
    )
    attention: tuple[str, ...] = ("none", "eca")
    image_size: int = 224
    batch_sizes: tuple[int, ...] = (8, 1)
    training_batch_size: int = 8
    rounds: int = 15
    output: pathlib.Path | None = None

    def run(self):
        pass
