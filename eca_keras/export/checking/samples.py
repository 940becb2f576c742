"""Inputs on which an export is compared with its model."""

import itertools

import keras
import numpy as np
from keras import layers

from eca_keras.errors import InputError
from eca_keras.export.backend import tf

COUNT = 8  # generated samples
SEED = 0
VARIABLE_SIZE = 128  # of a generated sample where the model takes any size


def resolve(samples, model, shape, count=COUNT, name="samples"):
    """Return the caller's samples, see `checked`, or generate `count`."""
    dtype = tf.as_dtype(model.inputs[0].dtype).as_numpy_dtype
    if samples is None:
        shape = tuple(VARIABLE_SIZE if n is None else n for n in shape)
        return generate(model, shape, count).astype(dtype)
    return checked(samples, shape, dtype, name)


def checked(samples, shape, dtype, name="samples"):
    """Return the caller's samples as an array.

    Args:
        samples: Array of shape `(count, *shape)`, or what becomes one.
        shape: Shape of one sample; `None` stands for any size.
        dtype: What the array shall have.
        name: What the caller calls them.

    Raises:
        InputError: if they do not fit.
    """
    expected = ", ".join(["count", *map(str, shape)])
    rule = f"`{name}` must have the shape ({expected}), with one sample or more"
    try:
        samples = np.asarray(samples)
    except ValueError:
        raise InputError(
            f"{rule}. Received: arrays of several shapes"
        ) from None
    if not _fits(samples.shape, shape):
        raise InputError(f"{rule}. Received: {name}.shape={samples.shape}")
    if not np.can_cast(samples.dtype, dtype, "same_kind"):
        raise InputError(
            f"`{name}` must be {np.dtype(dtype).name}, as the model's input. "
            f"Received: {name}.dtype={samples.dtype}"
        )
    samples = samples.astype(dtype)
    finite = np.isfinite(samples)
    if not finite.all():
        raise InputError(
            f"`{name}` must be finite. Received: {finite.size - finite.sum()} "
            "values that are NaN or infinite"
        )
    return samples


def _fits(shape, expected):
    return (
        len(shape) == 1 + len(expected)
        and shape[0] > 0
        and all(
            n in (None, m) for m, n in zip(shape[1:], expected, strict=True)
        )
    )


def generate(model, shape, count=COUNT):
    """Generate images in the range of values that a model expects.

    A model that starts with `Rescaling` or `Normalization` gets values that
    these layers map to the usual ranges; one of another kind gets values of
    mean 0 and variance about 1, as normalized images have, or, if its input
    is of an integer type, values from 0 to 255.

    Args:
        model: The model, with one input.
        shape: Shape of one sample, all known.
        count: Number of samples.

    Returns:
        Array of shape `(count, *shape)`, the same one every time.
    """
    first = list(_first_affine_layers(model))
    dtype = tf.as_dtype(model.inputs[0].dtype)
    values = _patterns(count, shape)
    normalized = any(isinstance(x, layers.Normalization) for x in first)
    if (first or dtype.is_integer) and not normalized:
        values = np.clip(0.5 + values / 4, 0, 1)
        if any(np.any(layer.offset) for layer in first):
            values = 2 * values - 1  # such layers map to [-1, 1], not [0, 1]
        if not first:
            values = 255 * values
    for layer in reversed(first):
        values = _inverse(layer, values)
    if dtype.is_integer:
        values = np.clip(np.round(values), 0, min(255, dtype.max))
    return values


def pixels(count, shape):
    """Return uint8 images of shape `(count, *shape)`, always the same."""
    values = np.clip(0.5 + _patterns(count, shape) / 4, 0, 1)
    return np.round(255 * values).astype("uint8")


def _patterns(count, shape):
    """Images of coarse and fine patterns, of any contrast and brightness.

    White noise alone would not do: to a network that ends in the mean over
    all positions, every image of it is the same.
    """
    rng = np.random.default_rng(SEED)
    images = []
    for number in range(count):
        cell = 2 ** (number % 5)  # pixels: 1 to 16
        steps = [cell if extent > 2 * cell else 1 for extent in shape]
        cells = [-(-n // s) for n, s in zip(shape, steps, strict=True)]
        image = rng.normal(size=cells)
        for axis, step in enumerate(steps):
            image = np.repeat(image, step, axis)
        image = image[tuple(slice(extent) for extent in shape)]
        images.append(rng.uniform(0.5, 1.5) * image + rng.normal(scale=0.5))
    return np.stack(images)


def _first_affine_layers(model):
    return itertools.takewhile(
        lambda layer: isinstance(
            layer, (layers.Rescaling, layers.Normalization)
        ),
        _layers(model),
    )


def _layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif not isinstance(layer, layers.InputLayer):
            yield layer


def _inverse(layer, values):
    """What a layer maps to `values`."""
    if isinstance(layer, layers.Rescaling):
        return (values - np.asarray(layer.offset)) / np.asarray(layer.scale)
    mean = keras.ops.convert_to_numpy(layer.mean)
    std = np.sqrt(keras.ops.convert_to_numpy(layer.variance))
    std = np.maximum(std, keras.config.epsilon())
    if layer.invert:
        return (values - mean) / std
    return values * std + mean
