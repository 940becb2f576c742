"""Image files to uint8 tensors: the one decoder of training and of exports."""

import functools
import io
import pathlib
import re
import struct

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.images import orientation
from eca_keras.images.orientation import aside

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")

# Pillow's luma of red, green and blue (ITU-R 601-2), in 65,536ths.
LUMA = (19595, 38470, 7471)

_PNG = b"\x89PNG\r\n\x1a\n"

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


def decode(content, channels, python=True):
    """Decode an image file, the right way up, as Pillow would.

    TensorFlow decodes JPEG and PNG, Pillow all else: BMP, GIF and WebP (the
    first frame), TIFF. Transparency is dropped. Grey values of 16 bits are
    divided by 257, so that white stays white; Pillow would cut them off.

    Args:
        content: String tensor, the bytes of the file.
        channels: 1 for grey, 3 for colour.
        python: Whether Pillow may be asked. A SavedModel has no Python: there
            TensorFlow decodes BMP and GIF as well, and nothing else.

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
        lambda: _decode_other(content, python),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    return grey(image) if channels == 1 else image


def is_plain_jpeg(content):
    """Return whether `decode_part` gives what `decode` would, cropped.

    That is so for a JPEG that is upright, and whole: the part that is decoded
    may lie above the place where a file was cut off. This test is quick, and
    false for some, see `is_upright_jpeg`.
    """
    return _is_plain(content) & _is_whole(content)


def is_upright_jpeg(content):
    """Return the same for any JPEG, but slowly."""
    return tf.cond(
        tf.io.is_jpeg(content) & _is_whole(content),
        lambda: orientation.of_jpeg(content) == 1,
        lambda: False,
    )


def decode_part(content, channels, box):
    """Decode a part of a JPEG.

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
def _decode_other(content, python):
    is_png = tf.strings.substr(content, 0, len(_PNG)) == _PNG
    image, stored = tf.case(
        [
            (
                tf.io.is_jpeg(content),
                lambda: (_decode_jpeg(content), orientation.of_jpeg(content)),
            ),
            (
                is_png,
                lambda: (_decode_png(content), orientation.of_png(content)),
            ),
        ],
        default=lambda: _decode_rare(content, python),
    )
    return orientation.turned(image, stored)


def _decode_png(content):
    # The number of bits stands in the first chunk, after the two sizes.
    deep = tf.strings.substr(content, 24, 1) == b"\x10"

    def from_16_bits():
        image = tf.image.decode_png(content, channels=3, dtype=tf.uint16)
        return tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)

    return tf.cond(
        deep, from_16_bits, lambda: tf.image.decode_png(content, channels=3)
    )


def _decode_rare(content, python):
    """Return an image of another format, and its orientation."""
    if not python:
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return image, tf.constant(1)
    image, stored = tf.numpy_function(
        _decode_in_python, [content], [tf.uint8, tf.int32], stateful=False
    )
    return image, tf.ensure_shape(stored, ())


def _decode_in_python(content):
    with _opened(content) as image:
        try:
            image.load()
            return _pixels(image), _orientation_of(image)
        except _PILLOW_ERRORS as error:
            raise ValueError(str(error)) from None


def _pixels(image):
    """Return a uint8 array of shape `(height, width, 3)`."""
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits are not supported")
    if image.mode.startswith("I;16"):
        pixels = (np.asarray(image).astype("int32") + 128) // 257
        return np.repeat(pixels.astype("uint8")[..., None], 3, -1)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def stored_pixels(content):
    """Decode a file without turning the image, whatever Exif says.

    Args:
        content: `bytes`.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: if it is not a whole image.
    """
    return _decode_in_python(content)[0]


def stored_size(content):
    """Return height and width of the stored pixels, from the header."""
    with _opened(content) as image:
        return image.height, image.width


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
        stored = image.getexif().get(orientation.TAG, 1)
    except Exception:  # Pillow's errors for damaged Exif data are many
        stored = 1
    good = isinstance(stored, int) and 1 <= stored <= 8
    return np.int32(stored if good else 1)


def grey(image):
    """Return the luma of an RGB image, exactly as Pillow's mode "L".

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
    """Read and decode the file at `path`, see `decode`."""
    return decode(tf.io.read_file(path), channels)


def read_for_user(path, channels):
    """Read an image for a person.

    Raises:
        InputError: if there is no such file, or it is not an image.
    """
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
    """Return what a decoder complained about, in one line.

    Args:
        error: What `decode` raised.
    """
    # TensorFlow wraps the sentence in names of operations, stacks and code.
    text = re.sub(r"\{\{.*?\}\}", "", str(error))
    text = re.split(r"\nTraceback|\[\[|\[Op:", text)[0].strip()
    line = text.split("\n")[-1]
    return re.sub(r"^.*(Iterator::\S+|ValueError): ", "", line).strip()
