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
        runtime: Instead of inference and training in Keras, time inference in
            these runtimes, separated by commas, of 'keras', 'xla', 'tflite',
            'tflite-float16', 'tflite-dynamic', 'tflite-int8' and 'onnx'.
        threads: With --runtime: threads that a call may use.
        image_size: Height and width in pixels; by default that of the
            network.
        batch_sizes: Batch sizes of inference; by default 8 and 1, and 1 with
            --runtime.
        training_batch_size: Batch size of the training step; 0 leaves
            training out.
        rounds: How often each is timed.
        output: File for the table as CSV.
        picture: With --runtime: file for a bar chart, such as latency.png.
            Further networks and batch sizes get a number in its name.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = (
        "ECAResNet50",
    )
    attention: tuple[str, ...] = ("none", "eca")
    runtime: str | None = None
    threads: int | None = None
    image_size: int | None = None
    batch_sizes: tuple[int, ...] | None = None
    training_batch_size: int = 8
    rounds: int = 20
    output: pathlib.Path | None = None
    picture: pathlib.Path | None = None

    def run(self):
        from eca_keras.benchmarking import write_csv

        for name in ("threads", "picture"):
            if getattr(self, name) is not None and self.runtime is None:
                raise InputError(
                    f"`{name}` must only be given with `runtime`. "
                    f"Received: {name}={getattr(self, name)}"
                )
        try:
            rows = self._runtimes() if self.runtime else self._keras()
        except ValueError as error:
            raise InputError(str(error)) from error
        if self.output:
            write_csv(rows, self.output)

    def _keras(self):
        from eca_keras.benchmarking import benchmark
        from eca_keras.benchmarking import format_table

        rows = []
        for model in self.models:
            rows += benchmark(
                self._networks(model),
                batch_sizes=self.batch_sizes or (8, 1),
                training_batch_size=self.training_batch_size or None,
                rounds=self.rounds,
                progress=functools.partial(print, file=sys.stderr),
            )
        print(format_table(rows))
        print(
            "\nms: median of a call. ratio: median over the rounds of the "
            "time by that of the first\nattention in the same round. "
            "CPU: processor time of all threads."
        )
        return rows

    def _runtimes(self):
        from eca_keras.export import runtimes

        groups = []
        for model in self.models:
            for batch_size in self.batch_sizes or (1,):
                rows = runtimes.benchmark_runtimes(
                    self._networks(model),
                    runtimes=tuple(self.runtime.split(",")),
                    batch_size=batch_size,
                    threads=1 if self.threads is None else self.threads,
                    rounds=self.rounds,
                    progress=functools.partial(print, file=sys.stderr),
                )
                groups.append(rows)
        rows = sum(groups, [])
        print(runtimes.format_runtimes(rows))
        print(
            "\nms: median of a call. ratio: median over the rounds of the "
            "time by that of the first\nattention in the same round. of first "
            "runtime: the same, by the same network's in the\nfirst runtime. "
            "MB: the file, or for keras and xla the weights."
        )
        for number, group in enumerate(groups if self.picture else []):
            path = self.picture
            if number:
                path = path.with_stem(f"{path.stem}-{number + 1}")
            runtimes.write_picture(group, path)
        return rows

    def _networks(self, model):
        """Functions that build a network with each attention."""
        from eca_keras.training.classifier import build_network
        from eca_keras.training.classifier import default_size

        size = self.image_size
        if size is None:
            size = default_size(model)
        print(
            f"Timing {model} at {size} x {size}: {self.rounds} rounds",
            file=sys.stderr,
        )
        return {
            f"{model} {attention}": functools.partial(
                build_network,
                model,
                attention=attention,
                input_shape=(size, size, 3),
            )
            for attention in self.attention
        }
