"""Exif's orientation of a JPEG or PNG, with TensorFlow's operations alone.

Orientations are scalar tensors from 1, upright, to 8. Without Exif data, and
where they are damaged, an image counts as upright.

There are few operations here, and rare cases are functions of their own: in
`tf.data` each operation of a graph takes about a microsecond.
"""

import tensorflow as tf

TAG = 0x0112  # of the orientation in Exif data
SHORT, LONG = 3, 4  # types of a value in 16 and 32 bits

ENTRIES = 128  # of Exif data that are looked at; their tags ascend
FIELDS = 6  # 16-bit numbers in an entry: tag, type, two of count, two of value

# How the segments of a JPEG start that say the orientation.
EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
IN_XMP = r'^\C*?tiff:Orientation(?:="|>)([1-8])\C*$'

# Markers of a JPEG: the first, that of the pixels, and what may fill up.
FIRST, PIXELS, FILL = 0xFFC0, 0xFFDA, 0xFFFF

SEGMENT = 2**16  # bytes, more than a segment of a JPEG has


def aside(function):
    """Keep the graph of a rare case out of the graph of the usual one.

    In `tf.data` each operation of a branch that is not taken takes about a
    microsecond; a branch with a single call in it takes one.
    """
    return tf.function(
        function, autograph=False, experimental_attributes={"_noinline": True}
    )


def of_jpeg(content):
    """Return the orientation of a JPEG, as its Exif or XMP data have it.

    Args:
        content: String tensor, the bytes of the file.
    """
    return tf.cond(
        _has(content, "Exif", "tiff:Orientation"),
        lambda: _of_jpeg(content),
        lambda: 1,
    )


def of_png(content):
    """Return the orientation of a PNG, as its `eXIf` chunk has it."""
    return tf.cond(_has(content, "eXIf"), lambda: _of_png(content), lambda: 1)


def turned(image, orientation):
    """Return an image the right way up.

    Args:
        image: Tensor of shape `(height, width, channels)`.
        orientation: How it is stored.
    """
    return tf.cond(
        orientation > 1, lambda: _turned(image, orientation), lambda: image
    )


def _turned(image, orientation):
    image = tf.cond(
        orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
    )
    flipped = tf.constant([[3, 4, 7, 8], [2, 3, 6, 7]])  # rows, columns
    axes = tf.boolean_mask([0, 1], tf.reduce_any(flipped == orientation, 1))
    return tf.reverse(image, axes)


def _has(content, *words):
    """Whether one of the words stands somewhere in a file."""
    # A search for one word is quick, also in a large file.
    without = [
        tf.strings.regex_replace(content, word, "", replace_global=False)
        for word in words
    ]
    return tf.reduce_any(
        tf.strings.length(without) < tf.strings.length(content)
    )


@aside
def _of_jpeg(content):
    found = _in_exif(_find(content, 2, EXIF, _segment))
    return tf.cond(found == 0, lambda: _of_xmp(content), lambda: _valid(found))


@aside
def _of_xmp(content):
    text = _find(content, 2, XMP, _segment)
    value = tf.strings.regex_replace(text, IN_XMP, r"\1")
    found = tf.strings.length(value) == 1
    return tf.strings.to_number(tf.where(found, value, "1"), tf.int32)


@aside
def _of_png(content):
    return _valid(_in_exif(_find(content, 8, b"eXIf", _chunk)))


def _valid(orientation):
    good = (orientation >= 1) & (orientation <= 8)
    return tf.where(good, orientation, 1)


def _segment(marker, length):
    """Bytes of a JPEG's segment; 0 for what is none."""
    good = (marker >= FIRST) & (marker != PIXELS)
    length = tf.where(marker == FILL, 1, 2 + tf.maximum(length, 2))
    return tf.where(good, length, 0)


def _chunk(high, low):
    """Bytes of a PNG's chunk with its length, name and sum."""
    return 12 + 2**16 * tf.minimum(high, 2**14) + low


def _find(content, place, name, size):
    """Return what follows a name in the part of a file that has it.

    Args:
        content: Bytes of the file.
        place: Where the first part starts.
        name: What stands in the part after four bytes.
        size: Function from these, as two numbers, to the bytes of the part.

    Returns:
        The next bytes, filled up with zeros; none if there is no such part.
    """
    end = tf.strings.length(content)
    content += bytes(SEGMENT)

    def look(place):
        head = tf.strings.substr(content, tf.minimum(place, end), 4 + len(name))
        numbers = _numbers(head, 2, little=False)
        found = tf.strings.substr(head, 4, len(name)) == name
        last = found | (place >= end)
        return place, tf.where(last, 0, size(*tf.unstack(numbers))), found

    place, _, found = tf.while_loop(
        lambda place, step, found: step > 0,
        lambda place, step, found: look(place + step),
        look(tf.constant(place)),
    )
    start = tf.minimum(place, end) + 4 + len(name)
    length = tf.where(found, SEGMENT - 4 - len(name), 0)
    return tf.strings.substr(content, start, length)


def _numbers(text, count, little):
    """The first 16-bit numbers in a string."""
    numbers = tf.io.decode_raw(
        text, tf.uint16, little_endian=little, fixed_length=2 * count
    )
    return tf.cast(numbers, tf.int32)


def _in_exif(text):
    """The value of the orientation in Exif data; 0 where there is none."""
    return tf.cond(
        tf.strings.substr(text, 0, 4) == b"II*\0",
        lambda: _in_tiff(text, True),
        lambda: _in_tiff(text, False),
    )


def _in_tiff(text, little):
    order, magic, *offset = tf.unstack(_numbers(text, 4, little))
    low, high = offset if little else offset[::-1]
    good = (order == (0x4949 if little else 0x4D4D)) & (magic == 42)
    good &= high == 0
    start = tf.where(good, low, 0)
    directory = tf.strings.substr(text, start, 2 + 2 * FIELDS * ENTRIES)
    numbers = _numbers(directory, 1 + FIELDS * ENTRIES, little)
    entries = tf.reshape(numbers[1:], (ENTRIES, FIELDS))
    tag, kind, _, _, first, second = tf.unstack(entries, axis=1)
    there = good & (tf.range(ENTRIES) < numbers[0]) & (tag == TAG)
    long = first if little else second
    value = tf.where(kind == LONG, long, tf.where(kind == SHORT, first, 0))
    return tf.reduce_max(tf.where(there, value, 0))
