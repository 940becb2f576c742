"""Counts the weights that layers make, before they are made."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator

import keras

_COUNTING = threading.RLock()


@contextlib.contextmanager
def limited_weights(limit: int, error: Exception) -> Iterator[None]:
    """Raise before the layers that are made have more weights than `limit`.

    Args:
        limit: Number of numbers, of all weights together.
        error: What is raised. Nothing is allocated for the weight that is one
            too many.
    """
    add_weight = keras.layers.Layer.add_weight
    thread, left = threading.get_ident(), limit

    @functools.wraps(add_weight)
    def counted(self, shape=None, *args, **kwargs):
        nonlocal left
        if threading.get_ident() == thread:
            sizes = (shape,) if isinstance(shape, int) else shape or ()
            left -= abs(math.prod(sizes))
            if left < 0:
                raise error
        return add_weight(self, shape, *args, **kwargs)

    with _COUNTING:  # one at a time: each puts back what it found
        keras.layers.Layer.add_weight = counted
        try:
            yield
        except Exception:
            if left < 0:  # Keras may have wrapped it
                raise error from None
            raise
        finally:
            keras.layers.Layer.add_weight = add_weight
