"""Image files to uint8 tensors."""

import functools
import io
import pathlib
import re
import struct

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

# Names of the kernels of which Pillow's filters are made.
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}

# Pillow's luma of red, green and blue (ITU-R 601-2), in 65,536ths.
LUMA = (19595, 38470, 7471)

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112  # tag of Exif
_MARKS_OF_JPEG = ("Exif", "tiff:Orientation")
_MARKS_OF_PNG = ("eXIf",)

# What Pillow raises for damaged files.
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)

# How most JPEGs start: the mark of the file, 18 bytes of JFIF, the mark of
# tables. How all of them end.
_PLAIN = np.frombuffer(
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(9) + b"\xff\xdb", "uint8"
)
_FIXED = np.array([True] * 11 + [False] * 9 + [True] * 2)
_END = b"\xff\xd9"


def aside(function):
    """Keeps the graph of a rare case out of the graph of the usual one.

    In `tf.data` each operation of a branch that is not taken takes about a
    microsecond; a branch with a single call in it takes one.
    """
    return tf.function(
        function, autograph=False, experimental_attributes={"_noinline": True}
    )


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
    # Bytes of Python would be traced anew for each file.
    content = tf.convert_to_tensor(content)
    image = tf.cond(
        _is_plain(content),
        lambda: _decode_jpeg(content),
        lambda: _decode_other(content),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    return grey(image) if channels == 1 else image


def is_plain_jpeg(content):
    """Whether `decode_part` gives what `decode` would, cropped.

    That is so for a JPEG that is not to be turned, and whole: the part that
    is decoded may lie above the place where a file was cut off. This test is
    quick, and false for some, see `is_upright_jpeg`.
    """
    return _is_plain(content) & _is_whole(content)


def is_upright_jpeg(content):
    """Like `is_plain_jpeg` for any JPEG, but slow."""
    return tf.cond(
        tf.io.is_jpeg(content) & _is_whole(content),
        lambda: _orientation(content, *_MARKS_OF_JPEG) == 1,
        lambda: False,
    )


def decode_part(content, channels, box):
    """Decodes a part of a JPEG.

    A few values in the two outermost columns differ from those of the whole
    image: the decoder smooths colours over the edges of the part.

    Args:
        content: String tensor, see `is_plain_jpeg`.
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
    """Whether it is a JPEG as most are, with tables right after the start.

    Exif data, and all else that may be said about an image, come before.
    """
    head = tf.io.decode_raw(content, tf.uint8, fixed_length=len(_PLAIN))
    return tf.reduce_all((head == _PLAIN) | ~_FIXED)


def _is_whole(content):
    # An error if there are less than two bytes.
    return tf.strings.substr(content, -len(_END), len(_END)) == _END


@aside
def _decode_other(content):
    is_png = tf.strings.substr(content, 0, len(_PNG)) == _PNG
    image, orientation = tf.case(
        [
            (
                tf.io.is_jpeg(content),
                lambda: (
                    _decode_jpeg(content),
                    _orientation(content, *_MARKS_OF_JPEG),
                ),
            ),
            (
                is_png,
                lambda: (
                    _decode_png(content),
                    _orientation(content, *_MARKS_OF_PNG),
                ),
            ),
        ],
        default=lambda: _decode_with_pillow(content),
    )
    return tf.cond(
        orientation > 1, lambda: _turned(image, orientation), lambda: image
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


def _orientation(content, *marks):
    """Exif's orientation, from 1 (upright) to 8; 1 without the `marks`."""
    # A search for one word is quick, also in a large file.
    without = [
        tf.strings.regex_replace(content, mark, "", replace_global=False)
        for mark in marks
    ]
    result = tf.cond(
        tf.reduce_all(tf.strings.length(without) == tf.strings.length(content)),
        lambda: 1,
        lambda: tf.numpy_function(
            _orientation_in_python, [content], tf.int32, stateful=False
        ),
    )
    return tf.ensure_shape(result, ())


def _turned(image, orientation):
    """Turns an image with an orientation from 2 to 8 the right way up."""
    image = tf.cond(
        orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
    )
    flipped = tf.constant([[3, 4, 7, 8], [2, 3, 6, 7]])  # rows, columns
    axes = tf.boolean_mask([0, 1], tf.reduce_any(flipped == orientation, 1))
    return tf.reverse(image, axes)


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
            return _pixels(image), _orientation_of(image)
        except _PILLOW_ERRORS as error:
            raise ValueError(str(error)) from None


def _pixels(image):
    """Returns a uint8 array of shape `(height, width, 3)`."""
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits are not supported")
    if image.mode.startswith("I;16"):
        pixels = (np.asarray(image).astype("int32") + 128) // 257
        return np.repeat(pixels.astype("uint8")[..., None], 3, -1)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _orientation_in_python(content):
    with _opened(content) as image:
        return _orientation_of(image)


def stored_pixels(content):
    """Decodes a file without turning the image, whatever Exif says.

    Args:
        content: `bytes`.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: if it is not a whole image.
    """
    return _decode_in_python(content)[0]


def stored_size(content):
    """Height and width of what `stored_pixels` gives, from its header."""
    with _opened(content) as image:
        width, height = image.size
    return height, width


@functools.cache
def _pillow():
    require("train", "Reading this image", "PIL")
    from PIL import Image

    return Image


def _opened(content):
    Image = _pillow()
    if not isinstance(content, bytes):
        content = content.item()  # an array, outside of a graph
    try:
        return Image.open(io.BytesIO(content))
    except (*_PILLOW_ERRORS, Image.DecompressionBombError) as error:
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
    sides = tf.shape(image)[:2]
    # Integer division truncates the long side, as torchvision does.
    resized = round(size / crop_fraction) * sides // tf.reduce_min(sides)
    return resize(image, (size, size), interpolation, resized)


def resize(image, size, interpolation="bilinear", resized=None):
    """Resizing as Pillow's: antialiased, rounded after each direction.

    Args:
        image: uint8 tensor of shape `(height, width, channels)`.
        size: Height and width of the result, in pixels.
        interpolation: `"bilinear"` or `"bicubic"`.
        resized: Height and width of which the result is the middle part; by
            default `size`.

    Returns:
        uint8 tensor of shape `(*size, channels)`. Of photos 99.99 % of the
        values equal Pillow's, the others are one level off: it rounds its
        weights to integers.
    """
    channels = image.shape[-1]
    sides = tf.shape(image)[:2]
    resized = tf.convert_to_tensor(size if resized is None else resized)
    scale = tf.cast(resized / sides, tf.float32)
    start = tf.cast(_half_even(resized - size), tf.float32)

    def along(axis, image):
        only = tf.one_hot(axis, 2)
        image = tf.raw_ops.ScaleAndTranslate(
            images=image,
            size=tf.where(only == 1, size, tf.shape(image)[1:3]),
            scale=tf.where(only == 1, scale, 1.0),
            translation=-start * only,
            kernel_type=_KERNELS[interpolation],
            antialias=True,
        )
        # Casting cuts off what is behind the point: halves go up.
        return tf.cast(tf.clip_by_value(image + 0.5, 0, 255), tf.uint8)

    image = along(0, along(1, image[None]))[0]
    return tf.ensure_shape(image, (*size, channels))


def resize_quickly(image, size, antialias=False):
    """Bilinear resizing for training.

    Without antialiasing it takes a quarter of the time, and details smaller
    than a pixel of the result may flicker.
    """
    image = tf.image.resize(image, size, antialias=antialias)
    return tf.cast(tf.round(image), tf.uint8)


def _half_even(difference):
    """`int(round(difference / 2))`, as Python rounds."""
    return tf.cast(tf.round(tf.cast(difference, tf.float32) / 2), tf.int32)
