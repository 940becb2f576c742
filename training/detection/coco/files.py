"""Image files, as their annotations see them."""

import os

import numpy as np
import tensorflow as tf

from eca_keras.images import decode as images
from eca_keras.training.data.folder import printable
from eca_keras.training.detection.source import image_split


def file_split(paths, sizes):
    """Make the `Split` of image files.

    Args:
        paths: Their paths.
        sizes: int32 array `(n, 2)`, heights and widths in the annotations.
    """
    with tf.device("CPU"):
        files = tf.constant([os.fsencode(path) for path in paths])
        sizes = tf.constant(sizes)

    def load(index):
        content = tf.io.read_file(tf.gather(files, index))
        return decode_as_annotated(content, tf.gather(sizes, index))

    return image_split(len(paths), load, lambda i: printable(paths[i]))


def decode_as_annotated(content, size):
    """Decode an image file that was annotated at a size.

    It is turned as Exif says, which is how it was shown to whoever annotated
    it, unless it has the annotated size only if it is not turned.

    Args:
        content: String tensor, the bytes of the file.
        size: int32 tensor `(2,)`, height and width in the annotations.

    Returns:
        uint8 tensor of shape `(*size, 3)`.

    Raises:
        tf.errors.InvalidArgumentError: if it is not a whole image, or of
            another size.
    """
    content = tf.convert_to_tensor(content)
    image = images.decode(content, 3)
    return tf.cond(
        tf.reduce_all(tf.shape(image)[:2] == size),
        lambda: image,
        lambda: _unturned(content, size),
    )


@images.aside
def _unturned(content, size):
    image = tf.numpy_function(
        _unturned_in_python, [content, size], tf.uint8, stateful=False
    )
    return tf.ensure_shape(image, (None, None, 3))


def _unturned_in_python(content, size):
    if not isinstance(content, bytes):
        content = content.item()  # an array, outside of a graph
    pixels = images.stored_pixels(content)
    height, width = pixels.shape[:2]
    if not np.array_equal((height, width), size):
        raise ValueError(
            f"it is {width} wide and {height} high, in the annotations "
            f"{size[1]} wide and {size[0]} high"
        )
    return pixels
