"""Signatures of a SavedModel that take images of any size, and files."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.checking import samples as sampling
from eca_keras.export.endpoints import OUTPUT_NAME
from eca_keras.export.endpoints import Network
from eca_keras.images.decode import decode
from eca_keras.images.decode import grey
from eca_keras.images.resize import shown_size

TOP = 5  # classes that are returned, as `eca-keras predict` prints them

# The suffix is how TensorFlow Serving tells bytes from text in JSON.
BYTES = "image_bytes"
PIXELS = "pixels"
LABELS = "labels"
PROBABILITIES = "probabilities"

# How far probabilities may be from adding up to 1: half-precision ones are.
SUM_TOLERANCE = 1e-2


class Signature(NamedTuple):
    """An endpoint of a SavedModel: a function of one input to outputs."""

    name: str
    spec: tf.TensorSpec
    function: Callable


def check_probabilities(outputs):
    """Check that the outputs of a model are probabilities."""
    sums = outputs.astype("float64").sum(-1)
    if outputs.min() < 0 or np.abs(sums - 1).max() > SUM_TOLERANCE:
        raise InputError(
            "`model` must return probabilities for `preprocessing`, as with "
            "classifier_activation='softmax'. Received: outputs from "
            f"{outputs.min():.2g} to {outputs.max():.2g} with sums up to "
            f"{sums.max():.2g}"
        )


def signatures(model, preprocessing):
    """Return the signatures `classify` and `classify_pixels`.

    Args:
        model: Model from images to probabilities.
        preprocessing: What images go through before it.
    """
    channels = preprocessing.channels

    def from_file(content):
        return _shown(decode(content, channels, python=False), preprocessing)

    def from_pixels(pixels):
        return _shown(grey(pixels) if channels == 1 else pixels, preprocessing)

    size = preprocessing.image_size
    spec = tf.TensorSpec((size, size, channels), tf.uint8)

    def classify(prepare, inputs):
        # One by one: each image of a batch has a size of its own.
        images = tf.map_fn(prepare, inputs, fn_output_signature=spec)
        probabilities = _probabilities(model, images, preprocessing)
        count = min(TOP, len(preprocessing.labels))
        values, indices = tf.math.top_k(probabilities, count)
        return {
            LABELS: tf.gather(tf.constant(preprocessing.labels), indices),
            PROBABILITIES: values,
        }

    return [
        Signature(
            "classify",
            tf.TensorSpec((None,), tf.string, BYTES),
            functools.partial(classify, from_file),
        ),
        Signature(
            "classify_pixels",
            tf.TensorSpec((None, None, None, 3), tf.uint8, PIXELS),
            functools.partial(classify, from_pixels),
        ),
    ]


def _shown(image, preprocessing):
    return shown_size(
        image,
        preprocessing.image_size,
        preprocessing.crop_fraction,
        preprocessing.interpolation,
    )


def _probabilities(model, images, preprocessing):
    """Return the model's float32 outputs for uint8 images of its size."""
    if preprocessing.mean is not None:
        mean, std = (
            tf.constant(values, tf.float32)
            for values in (preprocessing.mean, preprocessing.std)
        )
        images = (tf.cast(images, tf.float32) / 255 - mean) / std
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    outputs = Network(model)(images=tf.cast(images, dtype))
    return tf.cast(outputs[OUTPUT_NAME], tf.float32)


def compared(loaded, model, preprocessing, report):
    """Compare the signatures for images; return a completed report.

    The images have other sizes than the model's input, and are a PNG, a JPEG,
    and pixels. The Keras model gets what `eca-keras predict` makes of them.

    Args:
        loaded: The SavedModel.
        model: The Keras model.
        preprocessing: `Preprocessing`.
        report: `Report` of the comparison on tensors, which says what passes.

    Raises:
        ExportMismatch: if the outputs differ.
    """
    size = preprocessing.image_size
    wide, high = (
        sampling.pixels(2, shape)
        for shape in ((size + 5, 2 * size + 3, 3), (3 * size, size + 9, 3))
    )
    contents = [
        tf.io.encode_png(wide[0]),
        tf.io.encode_jpeg(high[0]),
        *map(tf.io.encode_png, wide),
    ]
    shown = [
        _shown(decode(x, preprocessing.channels), preprocessing)
        for x in contents
    ]
    expected = _probabilities(model, tf.stack(shown), preprocessing).numpy()
    outputs = [
        loaded.signatures["classify"](**{BYTES: tf.stack(contents[:2])}),
        loaded.signatures["classify_pixels"](**{PIXELS: tf.constant(wide)}),
    ]
    labels, values = (
        np.concatenate([batch[name].numpy() for batch in outputs])
        for name in (LABELS, PROBABILITIES)
    )
    difference = _difference(expected, labels, values, preprocessing.labels)
    if not difference <= report.allowed:
        raise ExportMismatch(
            "The SavedModel's outputs for images differ from those of the "
            f"Keras model by {difference:.1e}, more than the "
            f"{report.allowed:.1e} allowed, and was not kept.\n{report}",
            report,
        )
    note = (
        "the signatures classify and classify_pixels differ by up to "
        f"{difference:.1e} on generated images"
    )
    return dataclasses.replace(report, notes=(*report.notes, note))


def _difference(probabilities, labels, values, names):
    """Return how far outputs are from the largest probabilities.

    By name: where two classes are as likely, either may come first, and two
    classes may have one name.
    """
    largest = -np.sort(-probabilities, axis=-1)[:, : values.shape[1]]
    same_name = labels[..., None] == np.array([x.encode() for x in names])
    apart = np.abs(values[..., None] - probabilities[:, None])
    named = np.where(same_name, apart, np.inf).min(-1)
    return max(np.abs(largest - values).max(), named.max())
