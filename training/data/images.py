"""Image files to uint8 tensors."""

import io
import pathlib
import re

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import require

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
)

# Pillow's luma of red, green and blue (ITU-R 601-2), in 65,536ths.
LUMA = (19595, 38470, 7471)

_PNG = b"\x89PNG\r\n\x1a\n"
_END_OF_JPEG = b"\xff\xd9"
_ORIENTATION = 0x0112  # tag of Exif

# The tables that a JPEG starts with, unless something is said before.
_TABLES = b"\xff\xdb"
_JFIF = b"\xff\xe0\x00\x10"  # and 14 more bytes


def decode(content, channels):
    """Decodes an image file, the right way up, as Pillow would.

    TensorFlow decodes JPEG and PNG, Pillow all else: BMP, GIF and WebP (the
    first frame), TIFF. Transparency is dropped. Grey values of 16 bits are
    divided by 257, so that white stays white; Pillow would cut them off.

    Args:
        content: String tensor, the bytes of the file.
        channels: 1 for grey, 3 for colour.

    Returns:
        uint8 tensor of shape `(height, width, channels)`.

    Raises:
        tf.errors.InvalidArgumentError: if it is not a whole image.
    """
    is_png = tf.strings.substr(content, 0, len(_PNG)) == _PNG
    image, orientation = tf.case(
        [
            (_is_plain(content), lambda: (_decode_jpeg(content), 1)),
            (
                tf.io.is_jpeg(content),
                lambda: (_decode_jpeg(content), _orientation(content)),
            ),
            (is_png, lambda: (_decode_png(content), _orientation(content))),
        ],
        default=lambda: _decode_with_pillow(content),
    )
    image = tf.cond(
        orientation > 1, lambda: _turned(image, orientation), lambda: image
    )
    image = tf.ensure_shape(image, (None, None, 3))
    return grey(image) if channels == 1 else image


def can_decode_part(content):
    """Whether `decode_part` gives what `decode` would, cropped.

    It has to be a JPEG that is the right way up, and whole: the part that is
    decoded may lie above the place where a file was cut off.
    """
    size = tf.strings.length(content)
    end = tf.strings.substr(content, tf.maximum(size - 2, 0), 2)
    whole = tf.io.is_jpeg(content) & (end == _END_OF_JPEG)
    plain = _is_plain(content)
    return tf.cond(
        plain | ~whole,
        lambda: plain & whole,
        lambda: _orientation(content) == 1,
    )


def decode_part(content, channels, box):
    """Decodes a part of a JPEG.

    A few values in the two outermost columns differ from those of the whole
    image: the decoder smooths colours over the edges of the part.

    Args:
        content: String tensor, see `can_decode_part`.
        channels: 1 for grey, 3 for colour.
        box: `top, left, height, width` in pixels.

    Returns:
        uint8 tensor of shape `(height, width, channels)`.
    """
    image = tf.image.decode_and_crop_jpeg(
        content, tf.stack(box), channels=3, dct_method="INTEGER_ACCURATE"
    )
    return grey(image) if channels == 1 else image


def _decode_jpeg(content):
    # TensorFlow's default is a fast approximation that is off by up to 18
    # levels; this one equals libjpeg as Pillow uses it.
    return tf.image.decode_jpeg(
        content, channels=3, dct_method="INTEGER_ACCURATE"
    )


def _is_plain(content):
    """Whether it is a JPEG without Exif data or anything else to read.

    Those come before the tables, so a glance at two places is enough.
    """
    second = tf.strings.substr(content, 2, 4)
    after = tf.strings.substr(content, 20, 2)
    return tf.io.is_jpeg(content) & (
        (tf.strings.substr(second, 0, 2) == _TABLES)
        | ((second == _JFIF) & (after == _TABLES))
    )


def _decode_png(content):
    # The number of bits stands in the first chunk, after the two sizes.
    deep = tf.strings.substr(content, 24, 1) == b"\x10"

    def from_16_bits():
        image = tf.image.decode_png(content, channels=3, dtype=tf.uint16)
        return tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)

    return tf.cond(
        deep, from_16_bits, lambda: tf.image.decode_png(content, channels=3)
    )


def _orientation(content):
    """Exif's orientation, from 1 (upright) to 8."""
    result = tf.numpy_function(
        _orientation_in_python, [content], tf.int32, stateful=False
    )
    return tf.ensure_shape(result, ())


def _turned(image, orientation):
    """Turns an image with an orientation from 2 to 8 the right way up."""
    image = tf.cond(
        orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
    )
    flipped = tf.constant([[3, 4, 7, 8], [2, 3, 6, 7]])  # rows, columns
    steps = tf.where(tf.reduce_any(flipped == orientation, 1), -1, 1)
    return image[:: steps[0], :: steps[1]]


def _decode_with_pillow(content):
    """Returns the image and its orientation."""
    image, orientation = tf.numpy_function(
        _decode_in_python, [content], [tf.uint8, tf.int32], stateful=False
    )
    return image, tf.ensure_shape(orientation, ())


def _decode_in_python(content):
    with _opened(content) as image:
        try:
            image.load()
        except (OSError, SyntaxError, EOFError, IndexError) as error:
            raise ValueError(str(error)) from None
        orientation = _orientation_of(image)
        if image.mode in ("I", "F"):
            raise ValueError("pixels of 32 bits are not supported")
        if image.mode.startswith("I;16"):
            pixels = (np.asarray(image).astype("int32") + 128) // 257
            pixels = np.repeat(pixels.astype("uint8")[..., None], 3, -1)
        else:
            if "transparency" in image.info:
                image = image.convert("RGBA")
            pixels = np.array(image.convert("RGB"))
        return pixels, orientation


def _orientation_in_python(content):
    with _opened(content) as image:
        return _orientation_of(image)


def _opened(content):
    require("train", "Reading this image", "PIL")
    from PIL import Image

    if not isinstance(content, bytes):
        content = content.item()  # an array, outside of a graph
    try:
        return Image.open(io.BytesIO(content))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, Image.UnidentifiedImageError):
            error = "no known image format"
        raise ValueError(str(error)) from None


def _orientation_of(image):
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's errors for damaged Exif data are many
        orientation = 1
    good = isinstance(orientation, int) and 1 <= orientation <= 8
    return np.int32(orientation if good else 1)


def grey(image):
    """Luma of an RGB image, as Pillow's mode "L" to the bit.

    The decoders' own grey does not know GIF, BMP and CMYK. What is grey
    already keeps its values.

    Args:
        image: uint8 tensor of shape `(..., 3)`.

    Returns:
        uint8 tensor of shape `(..., 1)`.
    """
    luma = tf.reduce_sum(tf.cast(image, tf.int32) * LUMA, -1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(luma + 2**15, 16), tf.uint8)


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
        raise InputError(
            f"{path} is not a readable image: {reason(error)}"
        ) from None


def reason(error):
    """What a decoder complained about, in one line.

    Args:
        error: What `decode` raised.
    """
    # TensorFlow wraps the sentence in names of operations, stacks and code.
    text = re.sub(r"\{\{.*?\}\}", "", str(error))
    text = re.split(r"\nTraceback|\[\[|\[Op:", text)[0].strip()
    line = text.split("\n")[-1]
    return re.sub(r"^.*(Iterator::\S+|ValueError): ", "", line).strip()


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


def resize_fast(image, size):
    """Bilinear resizing without antialiasing, rounded to uint8."""
    return tf.cast(tf.round(tf.image.resize(image, size)), tf.uint8)


def _half_even(difference):
    """`int(round(difference / 2))`, as Python rounds."""
    return tf.cast(tf.round(tf.cast(difference, tf.float32) / 2), tf.int32)
