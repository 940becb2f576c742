"""Images of some classes, as a trained model takes them."""

import dataclasses
import difflib
from typing import Any

import numpy as np

from eca_keras.errors import InputError
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import refusal
from eca_keras.visualize.figures import MAX_CLASSES

DEFAULT_CLASSES = 4  # as many as in the figures of the paper
CHUNK = 256  # images whose labels are read at a time


@dataclasses.dataclass(frozen=True)
class Sample:
    """Images of some classes.

    Attributes:
        data: Name of the data.
        split: `"train"`, `"validation"` or `"test"`.
        classes: Dictionary of the labels to their names.
        indices: int64 array, where in the split the images are, class by
            class.
        labels: int64 array, the label of each image.
        images: uint8 array of shape `(images, height, width, channels)`.
        inputs: The same as the network takes them.
        network: The model whose layers are looked at: a classifier, or the
            backbone of a detector.
    """

    data: str
    split: str
    classes: dict
    indices: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    inputs: np.ndarray
    network: Any


def take(trained, data, split, names, count):
    """Take up to `count` images of each class.

    Which ones depends on the data and `count` alone.

    Args:
        trained: `eca_keras.training.Trained`. An image of a detector belongs
            to the class of its largest object.
        data: As in the settings of the run; by default that of the run.
        split: By default the test images, or the validation images where
            there are none.
        names: Names of the classes; by default `DEFAULT_CLASSES` of them, at
            equal distances.
        count: Images per class.

    Returns:
        A `Sample`.

    Raises:
        InputError: if there is no such data, class or image.
    """
    source, data = trained.source(data)
    split, name = trained.split(source, split)
    classes = _classes(source.class_names, names)
    found = _search(split, classes, count)
    empty = [classes[label] for label in classes if not len(found[label])]
    if empty:
        raise InputError(
            f"The {name} split of data={data!r} has no image of {listed(empty)}"
        )
    indices = np.concatenate([found[label] for label in classes])
    labels = np.repeat(list(classes), [len(found[label]) for label in classes])
    images = np.stack(
        [np.asarray(trained.shown(split.read(int(i)))) for i in indices]
    )
    return Sample(
        data=data,
        split=name,
        classes=classes,
        indices=indices,
        labels=labels,
        images=images,
        inputs=trained.inputs(images),
        network=trained.network,
    )


def _classes(known, names):
    """Dictionary of labels to names, in the order asked for."""
    if not names:
        count = min(DEFAULT_CLASSES, len(known))
        chosen = [i * len(known) // count for i in range(count)]
        return {label: known[label] for label in chosen}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 5, 0)
            rule = f"must be names of classes, such as {listed(close)}"
            raise refusal("classes", name, rule)
    names = list(dict.fromkeys(names))
    if len(names) > MAX_CLASSES:
        rule = f"must be at most {MAX_CLASSES}, which a figure can tell apart"
        raise refusal("classes", names, rule)
    return {known.index(name): name for name in names}


def _search(split, classes, count):
    """Dictionary of labels to sorted indices of up to `count` images each."""
    found = {label: [] for label in classes}
    order = np.random.default_rng(0).permutation(split.size)
    order = order[~np.isin(order, split.bad)]
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        for index, label in zip(chunk, _labels(split, chunk), strict=True):
            if label in found and len(found[label]) < count:
                found[label].append(index)
        if all(len(indices) == count for indices in found.values()):
            break
    return {label: np.sort(indices) for label, indices in found.items()}


def _labels(split, indices):
    """Return the class of each image, -1 for one without objects."""
    objects = getattr(split, "objects", None)
    if objects is None:
        return np.asarray(split.fetch(indices)[1])
    return [_largest(objects, index) for index in indices]


def _largest(objects, image):
    rows = np.asarray(objects.rows(image))
    rows = rows[~objects.crowd[rows]]
    if not len(rows):
        return -1
    return objects.labels[rows[objects.areas[rows].argmax()]]
