"""Layers with state in attributes that Keras does not track, by what it is."""

import collections
import decimal
import enum
import fractions

import keras
import numpy as np
from keras import layers


class Kind(enum.Enum):
    THREE = 3


class Slotted:
    __slots__ = ("m",)

    def __init__(self, m):
        self.m = m


class Holder:
    def __init__(self, m):
        self.m = m


class Scaled(layers.Layer):
    """Multiplies by 1, or by what `read` gets from an attribute set later."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.state = None

    def call(self, inputs):
        if self.state is None:
            return inputs
        return inputs * keras.ops.cast(READ[self.name](self.state), "float32")


def _tensor():
    return keras.ops.convert_to_tensor(3.0)


# Name: what the attribute is, and how the layer reads 3 from it.
CASES = {
    "tensor": (_tensor, lambda s: s),
    "tensor_in_dict": (lambda: {"m": _tensor()}, lambda s: s["m"]),
    "tensor_in_list": (lambda: [1, _tensor()], lambda s: s[1]),
    "tensor_in_tuple": (lambda: (_tensor(), "a"), lambda s: s[0]),
    "tensor_in_object": (lambda: Holder(_tensor()), lambda s: s.m),
    "object_array": (lambda: np.array([3, "a"], object), lambda s: s[0]),
    "deque": (lambda: collections.deque([3.0]), lambda s: s[0]),
    "slots": (lambda: Slotted(3.0), lambda s: s.m),
    "range": (lambda: range(3), len),
    "fraction": (lambda: fractions.Fraction(3), float),
    "decimal": (lambda: decimal.Decimal(3), float),
    "enum": (lambda: Kind.THREE, lambda s: s.value),
    "bytearray": (lambda: bytearray(b"\x03"), lambda s: s[0]),
    "beside_a_function": (lambda: {"k": 3.0, "f": len}, lambda s: s["k"]),
    "nested_lists": (lambda: [[3.0], [1.0]], lambda s: s[0][0]),
    "function": (lambda: lambda: 3.0, lambda s: s()),
}
READ = {name: read for name, (_, read) in CASES.items()}

# What a copy cannot have: the layer is named.
HIDDEN = {
    "variable_in_object": lambda: Holder(keras.Variable(3.0)),
    "layer_in_object": lambda: Holder(_built()),
}


def _built():
    dense = layers.Dense(2)
    dense.build((None, 3))
    return dense


def model(name, make):
    """A network with such a layer, and another that attention may follow."""
    layer = Scaled(name=name)
    image = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3, name="here")(layer(image))
    made = keras.Model(image, x)
    layer.state = make()
    return made
