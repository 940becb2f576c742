"""Names for the types of arguments; nothing here is imported at run time."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import Protocol
from typing import TypeAlias

if TYPE_CHECKING:
    import keras

PathLike: TypeAlias = "str | os.PathLike[str]"
DataFormat: TypeAlias = 'Literal["channels_last", "channels_first"] | None'
Pooling: TypeAlias = 'Literal["avg", "max"] | None'

Activation: TypeAlias = "str | Callable[[Any], Any] | None"

# An image without the batch, sizes that are open as None.
InputShape: TypeAlias = "Sequence[int | None] | None"

# Of one layer, and of a network: one for each stage, or those that were
# released.
LayerKernelSize: TypeAlias = 'int | Literal["adaptive"] | None'
KernelSize: TypeAlias = (
    'int | Sequence[int] | Literal["adaptive", "paper"] | None'
)

# A name, or a function from a layer's name to a new layer.
Attention: TypeAlias = "str | Callable[[str], keras.layers.Layer] | None"

# A model, or the name of a builder.
Backbone: TypeAlias = "str | keras.Model"


class Normalization(Protocol):
    """What has a mean and a standard deviation, such as `Preprocessing`."""

    @property
    def mean(self) -> tuple[float, ...] | None: ...

    @property
    def std(self) -> tuple[float, ...] | None: ...


# An object of Keras, its name, or its config.
Serializable: TypeAlias = Any

# Arrays and tensors of any backend, and dictionaries and lists of them.
Tensors: TypeAlias = Any
