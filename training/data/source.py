"""What every dataset looks like to the pipeline."""

import dataclasses
import functools
import typing

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.images import decode as images

# Elements that `Split.dataset` fetches at a time.
FETCHED = 256

# Of many images, or whatever is left out, a message names so many.
NAMED = 3


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images with random access.

    Attributes:
        size: Number of images, unreadable ones included.
        fetch: Maps an int64 tensor of indices, shape `(m,)`, to `m` elements
            and their int32 labels, inside a `tf.data` graph. It is called
            once per batch; elements are what is cheap to look up: small
            images, the bytes of files, or paths.
        load: Maps one element to a uint8 image tensor of shape
            `(height, width, channels)`, or, if `encoded`, to a string scalar,
            the bytes of an image file. `None` if the element is that already.
        encoded: Whether what `load` gives still has to be decoded.
        channels: 1 for grey images, 3 for colour.
        name: Maps an index to what messages call that image.
        bad: Sorted indices of images that cannot be read.
    """

    size: int
    fetch: typing.Callable
    load: typing.Callable | None = None
    encoded: bool = False
    channels: int = 3
    name: typing.Callable = "image {}".format
    bad: tuple = ()

    def image(self, element):
        """Map one element to its uint8 image, decoded."""
        content = self.content(element)
        if self.encoded:
            content = images.decode(content, self.channels)
        return content

    def content(self, element):
        """Map one element to its image, or to the bytes of its file."""
        return element if self.load is None else self.load(element)

    @property
    def stacked(self):
        """Whether the elements are images of one shape."""
        return self.load is None and not self.encoded

    @property
    def dataset(self):
        """`tf.data.Dataset` of uint8 images and int32 labels, in order.

        Unreadable images that are not in `bad` raise while it is iterated.
        """
        indices = np.setdiff1d(np.arange(self.size, dtype="int64"), self.bad)
        dataset = tf.data.Dataset.from_tensor_slices(indices)
        dataset = dataset.batch(FETCHED).map(self.fetch).unbatch()
        dataset = dataset.map(
            lambda element, label: (self.image(element), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(len(indices))
        )
        return dataset.prefetch(tf.data.AUTOTUNE)

    def select(self, indices):
        """Return the `Split` of the images at `indices`, in that order."""
        indices = np.asarray(indices, "int64")
        bad = np.flatnonzero(np.isin(indices, self.bad))
        return dataclasses.replace(
            self,
            size=len(indices),
            fetch=lambda chosen: self.fetch(tf.gather(indices, chosen)),
            name=lambda index: self.name(int(indices[index])),
            bad=tuple(bad.tolist()),
        )

    def skip(self, indices):
        """Return this `Split` with more images that cannot be read."""
        bad = tuple(sorted({*self.bad, *(int(i) for i in indices)}))
        if len(bad) >= self.size:
            raise InputError(f"None of the {self.size} images can be read")
        return dataclasses.replace(self, bad=bad)

    def is_bad(self, indices):
        """Map int64 indices to whether that image is in `bad`."""
        if not self.bad:
            return tf.zeros_like(indices, tf.bool)
        bad = tf.constant(self.bad, tf.int64)
        place = tf.minimum(tf.searchsorted(bad, indices), len(self.bad) - 1)
        return tf.gather(bad, place) == indices

    def readable(self, indices):
        """Replace the indices in `bad` by the next one that is not.

        Args:
            indices: int64 tensor of shape `(m,)`.
        """
        if not self.bad:
            return indices
        bad = tf.constant(self.bad, tf.int64)
        place = tf.minimum(tf.searchsorted(bad, indices), len(self.bad) - 1)
        instead = tf.gather(tf.constant(self._instead, tf.int64), place)
        return tf.where(tf.gather(bad, place) == indices, instead, indices)

    @functools.cached_property
    def _instead(self):
        """For each of `bad` the next index that is not, from 0 at the end."""
        good = np.setdiff1d(np.arange(self.size), self.bad)
        return good[np.searchsorted(good, self.bad) % len(good)]

    def read(self, index):
        """Read and decode one image.

        Returns:
            uint8 array of shape `(height, width, channels)`.

        Raises:
            UnreadableImage: if that cannot be done.
        """
        try:
            elements, _ = self.fetch(tf.constant([index], tf.int64))
            return self.image(elements[0]).numpy()
        except (tf.errors.OpError, ValueError, OSError) as error:
            raise UnreadableImage(
                self.name(index), images.reason(error)
            ) from None


class UnreadableImage(InputError):
    """An image cannot be read.

    Attributes:
        name: What messages call the image.
        reason: Why, see `images.reason`.
    """

    def __init__(self, name, reason):
        super().__init__(f"{name} is not a readable image: {reason}")
        self.name, self.reason = name, reason


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset.

    Attributes:
        train: `Split` to learn from.
        validation: `Split` to choose the best epoch with.
        test: `Split` for the final metrics; `None` where the data has no
            third split, and the validation split has to serve.
        class_names: Name of each label.
        channels: 1 for grey images, 3 for colour.
        image_size: Height and width in pixels, if the user does not say.
        augmentation: Name of the augmentation, if the user does not say.
        crop_fraction: Part of the short side that evaluation keeps.
        notes: Sentences about the data that the user should see.
    """

    train: Split
    validation: Split
    test: Split | None
    class_names: tuple
    channels: int
    image_size: int
    augmentation: str
    crop_fraction: float = 1.0
    notes: tuple = ()


def array_split(images, labels):
    """Make a `Split` of uint8 images, `(n, height, width, channels)`."""
    with tf.device("CPU"):
        images = tf.constant(images)
        labels = tf.constant(np.asarray(labels, "int32"))
    return Split(
        size=len(images),
        fetch=lambda indices: (
            tf.gather(images, indices),
            tf.gather(labels, indices),
        ),
        channels=images.shape[-1],
    )


def hold_out(labels, fraction):
    """Split indices in two, with the classes in proportion.

    The choice depends on the labels alone, never on the seed of a run, so
    that runs can be compared.

    Args:
        labels: Array of integers.
        fraction: Fraction of every class that goes to the second split.

    Returns:
        Two sorted arrays of indices. Of every class with two or more members
        each split has at least one.
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
