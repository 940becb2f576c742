"""`eca-keras info`."""

import dataclasses
import typing

import tyro


@dataclasses.dataclass(frozen=True)
class Info:
    """Print the networks with parameters, operations and kernel sizes.

    Args:
        models: Names of networks; all by default.
        image_size: Height and width in pixels; by default that of each
            network.
        kernel_size: 'adaptive', 'paper', an odd integer, or a list of one
            per stage.
        attention: 'eca', another attention module, or 'none'.
        classes: Number of classes.
    """

    models: typing.Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    image_size: int | None = None
    kernel_size: int | list[int] | str = "adaptive"
    attention: str = "eca"
    classes: int = 1000

    def run(self):
        pass
