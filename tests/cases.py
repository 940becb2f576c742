"""The attention layers: what to make, and what must come out.

Nothing here belongs to one backend.
"""

import dataclasses
import math
import typing

import attention_numpy
import keras
import numpy as np

from eca_keras import applications
from eca_keras import layers
from eca_keras.layers import adaptive_kernel_size


@dataclasses.dataclass(frozen=True)
class Case:
    """One attention layer.

    Attributes:
        layer: The class.
        reference: The same layer in `attention_numpy`.
        count: Number of parameters, given the number of channels, the number
            of position axes, and arguments of the layer.
        arguments: A value other than the default for each argument that has
            one of its own (`data_format`, which all have, is not here).
        fixed: Arguments that make the case.
    """

    layer: type
    reference: typing.Callable
    count: typing.Callable
    arguments: dict = dataclasses.field(default_factory=dict)
    fixed: dict = dataclasses.field(default_factory=dict)

    def make(self, **arguments):
        return self.layer(**self.fixed, **arguments)


def _se(c, axes, reduction=16):
    return 2 * c * max(1, c // reduction)


def _group_conv(c, axes, groups=16):
    return c * c // math.gcd(c, groups)


def _eca(c, axes, kernel_size=None):
    return kernel_size or adaptive_kernel_size(c)


def _eca_ns(c, axes, kernel_size=None):
    return _eca(c, axes, kernel_size) * c


def _spatial(axes, size):
    return 2 * size**axes


def _cbam(c, axes, reduction=16, spatial_kernel_size=7):
    return _se(c, axes, reduction) + _spatial(axes, spatial_kernel_size)


def _eca_spatial(c, axes, kernel_size=None, spatial_kernel_size=7):
    return _eca(c, axes, kernel_size) + _spatial(axes, spatial_kernel_size)


def _global_context(c, axes, reduction=16):
    hidden = max(4, c // reduction)
    return c + 2 * c * hidden + 2 * hidden


# By the name that a builder's `attention` takes.
CASES = {
    "eca": Case(layers.ECA, attention_numpy.eca, _eca, {"kernel_size": 7}),
    "eca_circular": Case(
        layers.ECA,
        attention_numpy.eca,
        _eca,
        {"kernel_size": 7},
        fixed={"padding": "circular"},
    ),
    "eca_ns": Case(
        layers.ECANS, attention_numpy.eca_ns, _eca_ns, {"kernel_size": 7}
    ),
    "se": Case(
        layers.SqueezeExcite,
        attention_numpy.squeeze_excite,
        _se,
        {"reduction": 4},
    ),
    "se_var1": Case(layers.SEVar1, attention_numpy.se_var1, lambda c, axes: 0),
    "se_var2": Case(layers.SEVar2, attention_numpy.se_var2, lambda c, axes: c),
    "se_var3": Case(
        layers.SEVar3, attention_numpy.se_var3, lambda c, axes: c * c
    ),
    "se_gc": Case(
        layers.SEGroupConv,
        attention_numpy.se_group_conv,
        _group_conv,
        {"groups": 4},
    ),
    "cbam": Case(
        layers.CBAM,
        attention_numpy.cbam,
        _cbam,
        {"reduction": 4, "spatial_kernel_size": 3},
    ),
    "gc": Case(
        layers.GlobalContext,
        attention_numpy.global_context,
        _global_context,
        {"reduction": 2},
    ),
    "eca_spatial": Case(
        layers.ECASpatial,
        attention_numpy.eca_spatial,
        _eca_spatial,
        {"kernel_size": 7, "spatial_kernel_size": 5},
    ),
}


def positions(rank):
    """Position axes of different lengths, for an input of this rank."""
    return (6, 5, 4)[: rank - 2]


def make_map(shape, seed=0):
    """A float64 map; every sample and channel has a mean of its own."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(shape[0], *[1] * (len(shape) - 2), shape[-1]))
    return rng.normal(means, size=shape)


# Small networks: the builder, its arguments, and the size of the images.
NETWORKS = {
    "ECAResNet20": (applications.ECAResNet20, {}, 16),
    "ECAMobileNetV2": (applications.ECAMobileNetV2, {"alpha": 0.35}, 32),
}

# One network for each kind of stem, shortcut and convolution of the zoo, at
# full width.
ZOO = {
    name: (getattr(applications, name), {}, 64)
    for name in (
        "ECAResNet18",
        "ECAResNet26T",
        "ECAResNet50D",
        "ECAResNetLight",
        "ECAResNeXt26T",
    )
}

# Two gates halve a map twice: without it all images would look the same.
GAINS = {"cbam": 1.3, "eca_spatial": 1.3}


def network(name, attention):
    """A network in the current data format that tells images apart."""
    builder, arguments, size = {**NETWORKS, **ZOO}[name]
    image = to_format(
        np.empty((1, size, size, 3)), keras.config.image_data_format()
    )
    model = builder(
        input_shape=image.shape[1:],
        classes=10,
        classifier_activation=None,
        attention=attention,
        **arguments,
    )
    randomize(model, gain=GAINS.get(attention, 1))
    return model


def images(name):
    """Two channels_last images for a network."""
    size = {**NETWORKS, **ZOO}[name][2]
    return make_map((2, size, size, 3)).astype("float32")


def to_format(x, data_format):
    """Moves the channels of a channels_last array where they belong."""
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def randomize(target, seed=0, gain=1):
    """Gives a layer or a model weights by which no two outputs are alike.

    The values depend on the order of the weights and not on the backend.
    `gain` scales what the normalizations give.
    """
    rng = np.random.default_rng(seed)
    target.set_weights([_values(rng, w, gain) for w in target.weights])


def _values(rng, weight, gain):
    if weight.name == "moving_variance":
        return rng.uniform(0.5, 1.5, weight.shape)
    if weight.name == "gamma":
        return rng.uniform(0.5 * gain, 1.5 * gain, weight.shape)
    if len(weight.shape) < 2:
        return rng.normal(0, 0.1, weight.shape)
    # He initialisation by the fan-in; a depthwise kernel is (h, w, c, 1).
    axes = slice(-2) if "depthwise" in weight.path else slice(-1)
    deviation = np.sqrt(2 / np.prod(weight.shape[axes]))
    return rng.normal(0, deviation, weight.shape)


def values_of(layer):
    """The layer's weights as float64, as `attention_numpy` takes them."""
    return [np.float64(values) for values in layer.get_weights()]


def expected(case, layer, x, kept=None, weights=None, **arguments):
    """What the layer must answer to a channels_last map, by NumPy."""
    if kept is None:
        kept = np.ones(x.shape[:-1], bool)
    if weights is None:
        weights = values_of(layer)
    return case.reference(x, weights, kept, **case.fixed, **arguments)


def slope(case, layer, x, directions, step=1e-5):
    """Derivative of `sum(outputs ** 2)` along `directions`, by NumPy."""
    ahead, behind = (
        np.sum(
            expected(
                case,
                layer,
                x,
                weights=[
                    w + sign * step * d
                    for w, d in zip(values_of(layer), directions, strict=True)
                ],
            )
            ** 2
        )
        for sign in (1, -1)
    )
    return (ahead - behind) / (2 * step)
