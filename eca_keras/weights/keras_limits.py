"""Counts what layers make, before it is made."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator

import keras

from eca_keras.weights import keras_bounds as bounds

_COUNTING = threading.RLock()


@contextlib.contextmanager
def limited_weights(limit: int, error: Exception) -> Iterator[None]:
    """Raise before the layers that are made have more weights than `limit`.

    Symbolic tensors are counted, too, against a limit of their own.

    Args:
        limit: Number of numbers, of all weights together.
        error: What is raised. Nothing is allocated for the weight that is one
            too many.
    """
    left = {"weights": limit, "tensors": bounds.TENSORS}
    thread = threading.get_ident()

    def counting(kind, method, count):
        @functools.wraps(method)
        def counted(self, *args, **kwargs):
            if threading.get_ident() == thread:
                left[kind] -= count(self, *args, **kwargs)
                if left[kind] < 0:
                    raise error
            return method(self, *args, **kwargs)

        return counted

    methods = (
        (keras.layers.Layer, "add_weight", "weights", _weights),
        (keras.layers.Normalization, "build", "weights", _statistics),
        (keras.KerasTensor, "__init__", "tensors", lambda *_, **__: 1),
    )
    found = [(owner, name, getattr(owner, name)) for owner, name, *_ in methods]
    with _COUNTING:  # one at a time: each puts back what it found
        for owner, name, kind, count in methods:
            method = getattr(owner, name)
            setattr(owner, name, counting(kind, method, count))
        try:
            yield
        except Exception:
            if min(left.values()) < 0:  # Keras may have wrapped it
                raise error from None
            raise
        finally:
            for owner, name, method in found:
                setattr(owner, name, method)


def _weights(_, shape=None, *args, **kwargs):
    return abs(math.prod((shape,) if isinstance(shape, int) else shape or ()))


def _statistics(layer, input_shape, *args, **kwargs):
    """Return how many means and variances are made of given ones."""
    if layer.input_mean is None or input_shape is None:
        return 0
    axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    sizes = [input_shape[axis] or 1 for axis in axes if axis is not None]
    return 2 * abs(math.prod(sizes))
