"""`eca-keras benchmark`."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys
from typing import Annotated

from tyro.conf import Positional

from eca_keras.applications import registry
from eca_keras.commands.networks import KernelSize
from eca_keras.commands.networks import attention_field
from eca_keras.commands.networks import kernel_size_field
from eca_keras.errors import InputError
from eca_keras.utils.checks import check
from eca_keras.utils.checks import check_count

LEGEND = """\
parameters: trainable parameters. GMAC: 10^9 multiply-accumulates of an image.
ms: median of a call, with quartiles. ratio: median over the rounds of the time
by that of the first attention in the same round. CPU: the same of the CPU
time of all threads."""
RUNTIME_LEGEND = """\
ms: median of a call. ratio: median over the rounds of the time by that of the
first attention in the same round. of first: the same, by the same network's in
the first runtime. MB: the file, or for keras and xla the weights."""


def _print(text):
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Count and time networks with and without attention, taking turns.

    Args:
        models: Names of networks.
        attention: Attention modules to compare, or none; the first is what
            the others are compared with.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (the kernel
            sizes of the released checkpoints), an odd integer, or one for
            each stage: 3 5 5 7.
        runtime: Instead of inference and training in Keras, time inference in
            these runtimes: keras, xla, tflite, tflite-float16,
            tflite-dynamic, tflite-int8, onnx.
        threads: Threads that a call may use; by default 1. With --runtime.
        image_size: Height and width in pixels; by default that of the
            network.
        batch_sizes: Batch sizes of inference; by default 8 and 1, and 1 with
            --runtime.
        training_batch_size: Batch size of the training step; 0 leaves
            training out.
        rounds: Number of timed calls.
        output: CSV file for the table.
        figure: File for a bar chart, such as latency.png: one for each
            network and batch size, the second and further ones with a number
            in the name. With --runtime.
    """

    models: Annotated[tuple[str, ...], Positional] = ("ECAResNet50",)
    attention: tuple[str, ...] = attention_field(("none", "eca"))
    kernel_size: KernelSize = kernel_size_field()
    runtime: tuple[str, ...] = ()
    threads: int | None = None
    image_size: int | None = None
    batch_sizes: tuple[int, ...] = ()
    training_batch_size: int = 8
    rounds: int = 20
    output: pathlib.Path | None = None
    figure: pathlib.Path | None = None

    ALIASES = {"model": "models", "runtimes": "runtime"}
    EXAMPLES = (
        "eca-keras benchmark ECAResNet18 --attention none eca se",
        "eca-keras benchmark ECAMobileNetV2 --runtime tflite onnx",
    )

    def check(self) -> None:
        for name in self.models:
            registry.check_builder(name)
        check_count("rounds", self.rounds)
        for name in ("attention", "runtime"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(
                    f"`{name}` must be different from each other. "
                    f"Received: {name}={' '.join(values)}"
                )
        check("attention", (), self.attention, "must have at least one name")
        for name in ("threads", "figure"):
            value = getattr(self, name)
            if value is not None and not self.runtime:
                raise InputError(
                    f"`{name}` must only be given with `runtime`. "
                    f"Received: {name}={value}"
                )
        if self.figure:  # before the minutes that it takes to measure
            from eca_keras.utils.figures import check_figure

            check_figure(self.figure)

    def run(self) -> None:
        from eca_keras.profiling.tables import write_csv

        try:
            rows = self._runtimes() if self.runtime else self._keras()
        except ValueError as error:
            raise InputError(str(error)) from error
        if self.output:
            write_csv(rows, self.output)

    def _keras(self):
        """Count and time the networks; return dictionaries for the file."""
        from eca_keras.profiling import tables
        from eca_keras.profiling.counts import profile
        from eca_keras.profiling.timing import benchmark

        counts, rows = [], []
        for name in self.models:
            models = {
                attention: build()
                for attention, build in self._networks(name).items()
            }
            for attention, model in models.items():
                counted = profile(model)
                counts.append(
                    {
                        "network": name,
                        "attention": attention,
                        "image_size": model.input_shape[1],
                        "parameters": counted.trainable_parameters,
                        "attention_parameters": counted.attention_parameters,
                        "macs": counted.macs,
                    }
                )
            rows += benchmark(
                {f"{name} {key}": model for key, model in models.items()},
                batch_sizes=self.batch_sizes or (8, 1),
                training_batch_size=self.training_batch_size or None,
                rounds=self.rounds,
                progress=_print,
            )
        print(tables.format_table(counts, _COUNTS), end="\n\n")
        print(tables.format_table(rows, (*_ROW, *tables.TIMES)))
        print(f"\n{LEGEND}")
        about = {f"{x['network']} {x['attention']}": x for x in counts}
        return [{**about[row.model], **_without(row, "model")} for row in rows]

    def _runtimes(self):
        from eca_keras.export import runtimes

        groups = []
        for name in self.models:
            for batch_size in self.batch_sizes or (1,):
                rows = runtimes.benchmark_runtimes(
                    {
                        f"{name} {key}": build
                        for key, build in self._networks(name).items()
                    },
                    runtimes=self.runtime,
                    batch_size=batch_size,
                    threads=1 if self.threads is None else self.threads,
                    rounds=self.rounds,
                    progress=_print,
                )
                groups.append(rows)
        rows = sum(groups, [])
        print(runtimes.format_runtimes(rows))
        print(f"\n{RUNTIME_LEGEND}")
        for number, group in enumerate(groups if self.figure else []):
            path = self.figure
            if number:
                path = path.with_stem(f"{path.stem}-{number + 1}")
            runtimes.write_figure(group, path)
        return rows

    def _networks(self, name):
        """Return functions that build a network, by attention."""
        from eca_keras.applications.building import build_network
        from eca_keras.applications.building import kernel_size_of

        size = self.image_size
        if size is None:
            size = registry.default_size(name)
        _print(f"Timing {name} at {size} x {size}: {self.rounds} rounds")
        return {
            attention: functools.partial(
                build_network,
                name,
                attention=attention,
                kernel_size=kernel_size_of(attention, self.kernel_size),
                input_shape=(size, size, 3),
            )
            for attention in self.attention
        }


def _without(row, name):
    values = dataclasses.asdict(row)
    del values[name]
    return values


_COUNTS = (
    ("network", lambda row: row["network"]),
    ("attention", lambda row: row["attention"]),
    ("parameters", lambda row: f"{row['parameters']:,}"),
    ("of attention", lambda row: f"{row['attention_parameters']:,}"),
    ("GMAC", lambda row: f"{row['macs'] / 1e9:.3f}"),
)
_ROW = (("network", "model"), ("task", "task"), ("batch", "batch_size"))
