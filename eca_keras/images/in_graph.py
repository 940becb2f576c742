"""Image files to pixels with TensorFlow's operations alone.

What `training.data.images.decode` does, except that a SavedModel has no Python
to ask Pillow: it knows JPEG, PNG, BMP and GIF (the first frame).
"""

from eca_keras.export.backend import tf

# What starts the Exif data of a JPEG, its mark for little-endian numbers, the
# tag of the orientation, and the bytes of an entry of its directory.
EXIF = b"Exif\0\0"
LITTLE_ENDIAN = ord("I")
ORIENTATION = 0x0112
ENTRY = 12

_PNG = b"\x89PNG\r\n\x1a\n"


def decode(content):
    """Decodes an image file, the right way up.

    Args:
        content: String tensor, the bytes of the file.

    Returns:
        uint8 tensor of shape `(height, width, 3)`.
    """
    image = tf.case(
        [
            (tf.io.is_jpeg(content), lambda: _jpeg(content)),
            (
                tf.strings.substr(content, 0, len(_PNG)) == _PNG,
                lambda: _png(content),
            ),
        ],
        default=lambda: tf.io.decode_image(
            content, channels=3, expand_animations=False
        ),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _png(content):
    # The number of bits stands in the first chunk, after the two sizes.
    deep = tf.strings.substr(content, 24, 1) == b"\x10"

    def from_16_bits():
        image = tf.image.decode_png(content, channels=3, dtype=tf.uint16)
        # White stays white.
        return tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)

    return tf.cond(
        deep, from_16_bits, lambda: tf.image.decode_png(content, channels=3)
    )


def _jpeg(content):
    # Not the default, a fast approximation that is off by up to 18 levels.
    image = tf.image.decode_jpeg(
        content, channels=3, dct_method="INTEGER_ACCURATE"
    )
    turn = orientation(content)
    return tf.cond(turn > 1, lambda: _turned(image, turn), lambda: image)


def _turned(image, orientation):
    image = tf.cond(
        orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
    )
    flipped = tf.constant([[3, 4, 7, 8], [2, 3, 6, 7]])  # rows, columns
    steps = tf.where(tf.reduce_any(flipped == orientation, 1), -1, 1)
    return image[:: steps[0], :: steps[1]]


def orientation(content):
    """Returns Exif's orientation of a JPEG, an int32 tensor from 1 to 8.

    1 is upright, and stands for missing and damaged Exif data, too.
    """
    # Zeros at the end: what is read beyond the file is harmless.
    data = tf.io.decode_raw(content + b"\0" * 16, tf.uint8)
    data = tf.cast(data, tf.int32)
    last = tf.size(data) - 16

    def number(place, little, count=2):
        """The unsigned number in `count` bytes from a place on."""
        place = tf.clip_by_value(place, 0, last)
        bytes = data[place : place + count]
        bytes = tf.cond(little, lambda: bytes[::-1], lambda: bytes)
        value = bytes[0] & 0x7F if count == 4 else bytes[0]
        for i in range(1, count):
            value = 256 * value + bytes[i]
        return value

    big = tf.constant(False)

    def other_segment(place):
        # It stands among what applications and people added, before tables,
        # frames and pixels.
        marker = number(place, big)
        added = ((marker >= 0xFFE0) & (marker <= 0xFFEF)) | (marker == 0xFFFE)
        return added & (place < last) & ~_starts(data, place + 4, last)

    [place] = tf.while_loop(
        other_segment,
        lambda place: [place + 2 + tf.maximum(2, number(place + 2, big))],
        [tf.constant(2)],
    )
    start = place + 4 + len(EXIF)
    little = data[tf.minimum(start, last)] == LITTLE_ENDIAN
    directory = start + number(start + 4, little, 4)
    count = tf.minimum(number(directory, little), last // ENTRY)

    def other_entry(i):
        entry = directory + 2 + ENTRY * i
        return (i < count) & (number(entry, little) != ORIENTATION)

    [i] = tf.while_loop(other_entry, lambda i: [i + 1], [tf.constant(0)])
    value = number(directory + 2 + ENTRY * i + 8, little)
    good = _starts(data, place + 4, last) & (i < count)
    good &= (value >= 1) & (value <= 8)
    return tf.where(good, value, 1)


def _starts(data, place, last):
    """Whether Exif data starts at a place."""
    place = tf.clip_by_value(place, 0, last)
    head = data[place : place + len(EXIF)]
    return tf.reduce_all(head == tf.constant(list(EXIF)))
