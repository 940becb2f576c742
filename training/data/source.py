"""What every data set looks like to the pipeline."""

import dataclasses
import typing

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images in a fixed order.

    Attributes:
        dataset: `tf.data.Dataset` of pairs of an element and an int32 label.
        size: Number of pairs.
        load: Maps an element to a uint8 image tensor of shape
            `(height, width, channels)`, inside a `tf.data` graph.
    """

    dataset: tf.data.Dataset
    size: int
    load: typing.Callable = lambda image: image


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        train: `Split` to learn from.
        validation: `Split` to choose the best epoch with.
        test: `Split` for the final figures; `None` where the data has no
            third part, and the validation split has to serve.
        class_names: Name of each label.
        channels: 1 for grey images, 3 for colour.
        image_size: Height and width in pixels, if the user does not say.
        augmentation: Name of the augmentation, if the user does not say.
        crop_fraction: Part of the short side that evaluation keeps.
    """

    train: Split
    validation: Split
    test: Split | None
    class_names: tuple
    channels: int
    image_size: int
    augmentation: str
    crop_fraction: float = 1.0


def array_split(images, labels):
    """Makes a `Split` of uint8 images, `(n, height, width, channels)`."""
    dataset = tf.data.Dataset.from_tensor_slices(
        (images, np.asarray(labels, "int32"))
    )
    return Split(dataset, len(images))


def hold_out(labels, fraction):
    """Splits indices in two parts with the classes in proportion.

    The choice depends on the labels alone, never on the seed of a run, so
    that runs can be compared.

    Args:
        labels: Array of integers.
        fraction: Share of every class that goes to the second part.

    Returns:
        Two sorted arrays of indices. Of every class with two or more members
        each part has at least one.
    """
    labels = np.asarray(labels)
    order = np.random.default_rng(0).permutation(len(labels))
    held = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = round(fraction * len(members))
        if fraction and len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        held.append(members[:count])
    held = np.sort(np.concatenate(held))
    if not len(held):
        raise InputError(
            "No image is left for validation: `validation_fraction` must be "
            f"larger for {len(labels)} images. "
            f"Received: validation_fraction={fraction}"
        )
    return np.setdiff1d(np.arange(len(labels)), held), held
