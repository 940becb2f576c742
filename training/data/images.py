"""Image files to uint8 tensors."""

import pathlib
import re

import tensorflow as tf

from eca_keras.errors import InputError

LUMA = (0.299, 0.587, 0.114)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def decode(content, channels):
    """Decodes a JPEG, PNG, BMP or GIF (its first frame).

    Args:
        content: String tensor, the bytes of the file.
        channels: 1 for grey, 3 for colour.

    Returns:
        uint8 tensor of shape `(height, width, channels)`.
    """
    # TensorFlow's default for JPEG is a fast approximation that is off by up
    # to 18 levels; this one equals libjpeg as Pillow uses it.
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.image.decode_jpeg(
            content, channels=3, dct_method="INTEGER_ACCURATE"
        ),
        lambda: tf.io.decode_image(
            content, channels=3, expand_animations=False
        ),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    return grey(image) if channels == 1 else image


def grey(image):
    """Luma of an RGB image (ITU-R 601-2), as Pillow's mode "L".

    The decoders' own grey does not know GIF, BMP and CMYK. What is grey
    already keeps its values.

    Args:
        image: uint8 tensor of shape `(..., 3)`.

    Returns:
        uint8 tensor of shape `(..., 1)`.
    """
    luma = tf.tensordot(tf.cast(image, tf.float32), LUMA, 1)
    return tf.cast(tf.round(luma), tf.uint8)[..., None]


def read(path, channels):
    """Reads and decodes the file at `path`, see `decode`."""
    return decode(tf.io.read_file(path), channels)


def read_for_user(path, channels):
    """Like `read`, with a sentence where the file is not an image."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"There is no image file {path}")
    try:
        return read(str(path), channels)
    except (tf.errors.OpError, ValueError) as error:
        # Without the names of TensorFlow's own functions and operations.
        reason = re.sub(r"\{\{.*?\}\}|\[Op.*", "", str(error))
        reason = reason.strip().split("\n")[0]
        raise InputError(f"{path} is not a readable image: {reason}") from None


def shown_size(image, size, crop_fraction, interpolation="bilinear"):
    """Resizes and crops an image as for evaluation.

    The short side becomes `size / crop_fraction`, the long side follows, and
    the middle is cropped, with the rounding of torchvision's `Resize` and
    `CenterCrop`, in which published accuracies are measured.

    Args:
        image: uint8 tensor of shape `(height, width, channels)`.
        size: Height and width of the result, in pixels.
        crop_fraction: Part of the short side to keep, 1.0 for all of it.
        interpolation: `"bilinear"` or `"bicubic"`.

    Returns:
        uint8 tensor of shape `(size, size, channels)`.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    short = tf.constant(round(size / crop_fraction))
    smaller = tf.minimum(height, width)
    # Integer division truncates the long side, as torchvision does.
    height, width = short * height // smaller, short * width // smaller
    if interpolation == "bicubic":
        # Pillow's cubic overshoots are cut off after each of its passes.
        image = resize(image, tf.stack([tf.shape(image)[0], width]), "bicubic")
    image = resize(image, tf.stack([height, width]), interpolation)
    top = _half_even(height - size)
    left = _half_even(width - size)
    image = image[top : top + size, left : left + size]
    return tf.ensure_shape(image, (size, size, image.shape[-1]))


def resize(image, size, interpolation="bilinear"):
    """Resizing with antialiasing, rounded to uint8."""
    image = tf.image.resize(image, size, interpolation, antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)


def _half_even(difference):
    """`int(round(difference / 2))`, as Python rounds."""
    return tf.cast(tf.round(tf.cast(difference, tf.float32) / 2), tf.int32)
