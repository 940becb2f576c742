"""Random changes of training images, each a pure function of a seed."""

import tensorflow as tf

from eca_keras.training.data.images import resize

# Random resized crop of Inception and torchvision: share of the area, and
# width by height.
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10

# A shift goes up to an eighth of the side, as the 4 of 32 pixels in CIFAR's
# usual augmentation.
SHIFT = 1 / 8


def augment(name, image, size, seed):
    """Applies the augmentation `name` and resizes to a square.

    Args:
        name: `"none"`, `"shift"`, `"shift-flip"` or `"crop-flip"`.
        image: uint8 tensor of shape `(height, width, channels)`.
        size: Height and width of the result, in pixels.
        seed: int64 tensor of shape `(2,)`.

    Returns:
        uint8 tensor of shape `(size, size, channels)`.
    """
    place, side = tf.unstack(tf.random.split(seed, 2))
    channels = image.shape[-1]
    if name == "crop-flip":
        top, left, height, width = random_crop(tf.shape(image), place)
        image = image[top : top + height, left : left + width]
    if tuple(image.shape[:2]) != (size, size):
        image = resize(image, (size, size))
    if name in ("shift", "shift-flip"):
        reach = max(1, round(size * SHIFT))
        image = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]])
        image = tf.image.stateless_random_crop(
            image, (size, size, channels), place
        )
    if name.endswith("flip"):
        image = tf.image.stateless_random_flip_left_right(image, side)
    return tf.ensure_shape(image, (size, size, channels))


def random_crop(shape, seed):
    """Draws the box of a random resized crop as torchvision does.

    Args:
        shape: Shape of the image, `(height, width, channels)`.
        seed: Integer tensor of shape `(2,)`.

    Returns:
        int32 scalars `top, left, height, width`.
    """
    height, width = shape[0], shape[1]
    sides = tf.cast(shape[:2], tf.float32)
    seeds = tf.random.split(seed, 4)
    area = (
        sides[0]
        * sides[1]
        * tf.random.stateless_uniform((CROP_TRIES,), seeds[0], *CROP_AREA)
    )
    ratio = tf.exp(
        tf.random.stateless_uniform(
            (CROP_TRIES,), seeds[1], *tf.unstack(tf.math.log(CROP_RATIO))
        )
    )
    widths = tf.cast(tf.round(tf.sqrt(area * ratio)), tf.int32)
    heights = tf.cast(tf.round(tf.sqrt(area / ratio)), tf.int32)
    fits = (
        (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    )
    first = tf.argmax(tf.cast(fits, tf.int32))
    # If none fits: the largest middle box within the range of ratios.
    middle = tf.stack(
        [
            tf.minimum(sides[0], tf.round(sides[1] / CROP_RATIO[0])),
            tf.minimum(sides[1], tf.round(sides[0] * CROP_RATIO[1])),
        ]
    )
    middle = tf.cast(middle, tf.int32)
    any_fits = tf.reduce_any(fits)
    box_height = tf.where(any_fits, heights[first], middle[0])
    box_width = tf.where(any_fits, widths[first], middle[1])

    def place(room, seed):
        drawn = tf.random.stateless_uniform(
            (), seed, 0, room + 1, dtype=tf.int32
        )
        return tf.where(any_fits, drawn, room // 2)

    top = place(height - box_height, seeds[2])
    left = place(width - box_width, seeds[3])
    return top, left, box_height, box_width
