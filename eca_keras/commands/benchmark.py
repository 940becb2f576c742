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
    """Count and time networks with and without attention, taking turns.

    Args:
        models: Names of networks.
        attention: Attention modules to compare; the first is what the others
            are compared with.
        against: Have the same networks of other libraries take turns:
            'keras.applications' (without attention), 'torch' (without, and
            with eca, as the authors have it), or both.
        torch_python: The Python that has PyTorch, for --against torch; by
            default the one of this command.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (the released
            sizes), an integer, or one per stage with commas between.
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
        picture: File for a picture, such as networks.png: parameters,
            speed (or --accuracy) and multiply-accumulates as bubbles; with
            --runtime a bar chart for each network and batch size, the second
            and further ones with a number in the name.
        accuracy: CSV file with the columns network, attention and top1 (in
            percent), for the picture to show accuracy instead of speed.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = (
        "ECAResNet50",
    )
    attention: tuple[str, ...] = ("none", "eca")
    against: tuple[str, ...] = ()
    torch_python: str | None = None
    kernel_size: str = "adaptive"
    runtime: str | None = None
    threads: int | None = None
    image_size: int | None = None
    batch_sizes: tuple[int, ...] | None = None
    training_batch_size: int = 8
    rounds: int = 20
    output: pathlib.Path | None = None
    picture: pathlib.Path | None = None
    accuracy: pathlib.Path | None = None

    def run(self):
        from eca_keras.profiling.tables import write_csv

        self._check()
        try:
            rows = self._runtimes() if self.runtime else self._keras()
        except ValueError as error:
            raise InputError(str(error)) from error
        if self.output:
            write_csv(rows, self.output)

    def _check(self):
        """Refuses options that would have no effect, or not the asked one."""
        from eca_keras.utils.figures import check_picture

        needed = {
            "threads": self.runtime,
            "torch_python": "torch" in self.against,
            "accuracy": self.picture and not self.runtime,
        }
        goes_with = {
            "threads": "`runtime`",
            "torch_python": "`against torch`",
            "accuracy": "`picture`, and without `runtime`",
        }
        for name, there in needed.items():
            if getattr(self, name) is not None and not there:
                raise InputError(
                    f"`{name}` must only be given with {goes_with[name]}. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.runtime and self.against:
            raise InputError(
                "`against` must only be given without `runtime`. "
                f"Received: against={' '.join(self.against)}"
            )
        if self.picture:  # before the minutes that it takes to measure
            check_picture(self.picture)

    def _keras(self):
        import benchmarks as comparison

        accuracies = None
        if self.accuracy:
            accuracies = comparison.read_accuracies(self.accuracy)
        rows = []
        for model in self.models:
            rows += comparison.compare_networks(
                model,
                self.attention,
                against=self.against,
                torch_python=self.torch_python,
                kernel_size=self.kernel_size,
                image_size=self.image_size,
                batch_sizes=self.batch_sizes or (8, 1),
                training_batch_size=self.training_batch_size or None,
                rounds=self.rounds,
                progress=functools.partial(print, file=sys.stderr),
            )
        print(comparison.format_networks(rows))
        print(
            "\nparameters: those that train. GMAC: 10^9 multiply-accumulates "
            "of an image. ms: median of\na call, with quartiles. ratio: "
            "median over the rounds of the time by that of the same\n"
            "library's network with the first attention in the same round. "
            "CPU: processor time of all\nthreads. by ours: the same, by the "
            "time of this library's network with that attention."
        )
        if self.picture:
            comparison.write_bubbles(rows, self.picture, accuracies)
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
        from eca_keras.training.classification.model import build_network
        from eca_keras.training.classification.model import default_size
        from eca_keras.training.classification.model import kernel_size_of

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
                kernel_size=kernel_size_of(attention, self.kernel_size),
                input_shape=(size, size, 3),
            )
            for attention in self.attention
        }
