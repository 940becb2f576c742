"""The `attention` and `kernel_size` arguments of every builder."""

import dataclasses
import functools

from eca_keras.errors import InputError
from eca_keras.utils import checks

# The names a builder's `attention` takes, besides None and a callable, and
# the classes in `eca_keras.layers` that they mean; a layer's name ends in the
# name of its attention.
ATTENTION = {
    "cbam": "CBAM",
    "eca": "ECA",
    "eca_circular": "ECA",
    "eca_ns": "ECANS",
    "eca_spatial": "ECASpatial",
    "gc": "GlobalContext",
    "se": "SqueezeExcite",
    "se_gc": "SEGroupConv",
    "se_var1": "SEVar1",
    "se_var2": "SEVar2",
    "se_var3": "SEVar3",
}
_ARGUMENTS = {"eca_circular": {"padding": "circular"}}

# Those with a kernel along the channels: they take `kernel_size`.
WITH_KERNEL = ("eca", "eca_circular", "eca_ns", "eca_spatial")

# A layer's class name means the same: "SqueezeExcite" is "se".
CLASS_NAMES = {
    kind: name for name, kind in ATTENTION.items() if name not in _ARGUMENTS
}


@dataclasses.dataclass(frozen=True)
class Attention:
    """Makes the attention layer of each block.

    Attributes:
        make: `None` (no attention), or a callable that takes the name of the
            layer and, with `kernel_sizes`, `kernel_size`.
        suffix: What a layer's name ends in.
        kernel_sizes: One kernel size (or `None`: adaptive) per stage; `None`
            for attention without a kernel.
    """

    make: object
    suffix: str
    kernel_sizes: tuple | None = None

    def __call__(self, x, stage, prefix):
        """Put attention on `x`.

        Args:
            x: Feature map of a block, before the residual sum.
            stage: Index of the block's stage, from 0.
            prefix: What the layer's name begins with, such as
                `"conv2_block1_"`.
        """
        import keras

        if self.make is None:
            return x
        name = prefix + self.suffix
        if self.kernel_sizes is None:
            layer = self.make(name=name)
        else:
            layer = self.make(kernel_size=self.kernel_sizes[stage], name=name)
        if not isinstance(layer, keras.layers.Layer):
            rule = "must return a keras.layers.Layer for a name"
            raise checks.refusal("attention", self.make, rule, returned=layer)
        return layer(x)


def resolve(attention, kernel_size, *, released, stages, model):
    """Check the two arguments and return the `Attention` they describe.

    Args:
        attention: `None`, a name in `ATTENTION`, the name of a class in
            `eca_keras.layers`, or a callable `name -> keras.layers.Layer`.
        kernel_size: `"adaptive"` or `None`, which mean the same as in the
            layers, `"paper"`, a positive odd integer, or a sequence of one
            such integer per stage.
        released: The kernel sizes of the released network, one per stage, or
            `None` where none was released.
        stages: Number of stages.
        model: Name of the builder, for messages.

    Raises:
        ValueError: if an argument is out of its range, or `kernel_size` is
            given for attention that has no kernel.
    """
    import keras

    if attention is None:
        resolved = Attention(None, "")
    elif isinstance(attention, str) and _canonical(attention) in ATTENTION:
        name = _canonical(attention)
        resolved = Attention(_maker(name), name)
    elif isinstance(attention, (type, keras.layers.Layer)):
        rule = (
            "must be a callable that makes a new layer for each name, such as "
            "`lambda name: ECA(name=name)`, and not a layer or its class"
        )
        raise checks.refusal("attention", attention, rule)
    elif callable(attention):
        resolved = Attention(lambda name: attention(name), "attention")
    else:
        rule = (
            f"must be None, one of {sorted(ATTENTION)}, the name of a class "
            "in eca_keras.layers, or a callable that takes a layer name and "
            "returns a layer"
        )
        raise checks.refusal("attention", attention, rule)
    if resolved.suffix not in WITH_KERNEL:
        rule = (
            "only applies to attention with a kernel along the channels, one "
            f"of {list(WITH_KERNEL)}"
        )
        adaptive = checks.is_adaptive(kernel_size)
        checks.check(
            "kernel_size", kernel_size, adaptive, rule, attention=attention
        )
        return resolved
    sizes = _kernel_sizes(kernel_size, released, stages, model)
    return dataclasses.replace(resolved, kernel_sizes=sizes)


def _canonical(name):
    return CLASS_NAMES.get(name, name)


def _maker(name):
    from eca_keras import layers

    kind = getattr(layers, ATTENTION[name])
    if name not in _ARGUMENTS:
        return kind
    return functools.partial(kind, **_ARGUMENTS[name])


def _kernel_sizes(kernel_size, released, stages, model):
    if hasattr(kernel_size, "tolist"):  # of NumPy
        kernel_size = kernel_size.tolist()
    if checks.is_adaptive(kernel_size):
        return (None,) * stages
    if isinstance(kernel_size, str) and kernel_size == "paper":
        if released is None:
            raise InputError(
                f"No kernel sizes were released for {model}, so "
                "kernel_size='paper' has no meaning for it. Use 'adaptive' or "
                "integers."
            )
        return released
    if checks.is_kernel_size(kernel_size):
        return (kernel_size,) * stages
    if (
        isinstance(kernel_size, (list, tuple))
        and len(kernel_size) == stages
        and all(checks.is_kernel_size(size) for size in kernel_size)
    ):
        return tuple(map(int, kernel_size))
    rule = (
        "must be 'adaptive' or None, 'paper', a positive odd integer, or a "
        f"sequence of {stages} of them, one per stage of {model}"
    )
    raise checks.refusal("kernel_size", kernel_size, rule)
