"""Sizes of images: as Pillow makes them, and quickly."""

import tensorflow as tf

# Names of the kernels of which Pillow's filters are made.
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}


def shown_size(image, size, crop_fraction, interpolation="bilinear"):
    """Resize and crop an image as for evaluation.

    The short side becomes `size / crop_fraction`, the long side follows, and
    the middle is cropped, with the rounding of torchvision's `Resize` and
    `CenterCrop`, in which published accuracies are measured.

    Args:
        image: uint8 tensor of shape `(height, width, channels)`.
        size: Height and width of the result, in pixels.
        crop_fraction: Fraction of the short side to keep, 1.0 for all of it.
        interpolation: `"bilinear"` or `"bicubic"`.

    Returns:
        uint8 tensor of shape `(size, size, channels)`.
    """
    sides = tf.shape(image)[:2]
    # Integer division truncates the long side, as torchvision does.
    resized = round(size / crop_fraction) * sides // tf.reduce_min(sides)
    return resize(image, (size, size), interpolation, resized)


def resize(image, size, interpolation="bilinear", resized=None):
    """Resize as Pillow does: antialiased, rounded after each direction.

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
    """Resize bilinearly, for training.

    Without antialiasing it takes a quarter of the time, and details smaller
    than a pixel of the result may flicker.
    """
    image = tf.image.resize(image, size, antialias=antialias)
    return tf.cast(tf.round(image), tf.uint8)


def _half_even(difference):
    """`int(round(difference / 2))`, as Python rounds."""
    return tf.cast(tf.round(tf.cast(difference, tf.float32) / 2), tf.int32)
