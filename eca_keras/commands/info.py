"""`eca-keras info`."""

import dataclasses
import itertools
import typing

import tyro

LEGEND = """\
parameters  trainable ones; M is 10^6, Mi is 2^20, which the paper prints as M
attention   those of the attention layers
MMAC        10^6 multiply-accumulates of convolutions and dense layers
GiFLOP      2^30 operations in the counting of the authors' tool (thop), which
            the paper prints as GFLOP: MACs, 4 per element of BatchNormalization
            and window + 1 per output of an average pooling
kernels     size x number of blocks, from the first stage to the last"""


@dataclasses.dataclass(frozen=True)
class Info:
    """Print the networks with parameters, operations and kernel sizes.

    Args:
        models: Names of networks; all by default.
        image_size: Height and width in pixels; by default 224, and 32 for
            the networks for small images.
        classes: Number of classes; by default 1000, and 10 for the networks
            for small images.
        kernel_size: 'adaptive', 'paper', an odd integer, or one per stage
            with commas between them: 3,5,5,7.
        attention: 'eca', another attention module, or 'none'.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    image_size: int | None = None
    classes: int | None = None
    kernel_size: int | str = "adaptive"
    attention: str = "eca"

    def run(self):
        from eca_keras.training.classification.model import BUILDERS

        print(_ROW.format(*_TITLES), flush=True)
        # Line by line: the largest networks take a while to build.
        for name in self.models or BUILDERS:
            print(_ROW.format(*self._row(name)), flush=True)
        print(f"\n{LEGEND}")

    def _row(self, name):
        from eca_keras.profiling.counts import profile
        from eca_keras.training.classification.model import build_network
        from eca_keras.training.classification.model import default_size

        usual = default_size(name)
        size = usual if self.image_size is None else self.image_size
        classes = self.classes
        if classes is None:
            classes = 10 if usual <= 32 else 1000
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
            f"{size}",
            f"{classes}",
            f"{counts.trainable_parameters:,}",
            f"{counts.trainable_parameters_millions:.2f} M",
            f"{counts.trainable_parameters_mebi:.2f} Mi",
            f"{counts.attention_parameters:,}",
            f"{counts.macs_millions:,.2f}",
            f"{counts.thop_macs_gibi:.3f}",
            kernels(model),
        )

    def _kernel_size(self, name):
        """The released kernels where there are any, when all are asked for."""
        from eca_keras.training.classification.model import released_kernels

        if (
            self.kernel_size == "paper"
            and not self.models
            and released_kernels(name) is None
        ):
            return "adaptive"
        return self.kernel_size


_TITLES = (
    *("model", "size", "classes", "parameters", "", "", "attention"),
    *("MMAC", "GiFLOP", "kernels"),
)
_ROW = "{:22}{:>5}{:>8}{:>13}{:>10}{:>11}{:>11}{:>11}{:>9}  {}"


def kernels(model):
    """Describes the channel kernels of a model as `size x blocks` in order."""
    from eca_keras.utils.keras_graph import kernel_sizes

    groups = itertools.groupby(kernel_sizes(model))
    runs = [(size, len(list(run))) for size, run in groups]
    return " ".join(f"{size}x{count}" for size, count in runs) or "-"
