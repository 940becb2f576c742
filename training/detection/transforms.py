"""Images, with their boxes and masks, to the input shape of a detector."""

import tensorflow as tf

from eca_keras.applications.preprocessing import mean_pixel
from eca_keras.images.resize import resize_quickly


def fitted_sizes(sizes, input_shape):
    """Sizes of images that keep their ratio and just fit into a shape.

    Args:
        sizes: Integer tensor `(..., 2)`, heights and widths.
        input_shape: `(height, width, ...)` of the detector.

    Returns:
        int32 tensor `(..., 2)`, at least 1.
    """
    sizes = tf.cast(sizes, tf.float64)
    limits = tf.constant(input_shape[:2], tf.float64)
    scale = tf.reduce_min(limits / sizes, axis=-1, keepdims=True)
    fitted = tf.cast(tf.floor(sizes * scale + 0.5), tf.int32)
    return tf.maximum(fitted, 1)


def resize_to_fit(image, input_shape, flip=False):
    """Resize an image so that it just fits into a shape, and pad it.

    At the right and at the bottom comes `mean_pixel`, 0 once it is
    normalized: with black, small detectors find dark objects along the edge.
    What becomes smaller is antialiased, as with Pillow.

    Args:
        image: uint8 tensor of shape `(height, width, 3)`.
        input_shape: `(height, width, 3)` of the result.
        flip: Whether to mirror it, left to right.

    Returns:
        `(padded, size)`: a uint8 tensor of shape `input_shape`, and an int32
        tensor `(2,)`, height and width of the image in it.
    """
    sides = tf.shape(image)[:2]
    size = fitted_sizes(sides, input_shape)
    # Where nothing becomes smaller the quick way gives the same.
    image = tf.cond(
        tf.reduce_any(size < sides),
        lambda: resize_quickly(image, size, antialias=True),
        lambda: resize_quickly(image, size),
    )
    image = tf.cond(
        tf.convert_to_tensor(flip),
        lambda: tf.reverse(image, [1]),
        lambda: image,
    )
    height, width = input_shape[:2]
    color = tf.constant(mean_pixel(), tf.uint8)
    beyond = [[0, height - size[0]], [0, width - size[1]], [0, 0]]
    # Differences to the colour are padded with 0; uint8 wraps around twice.
    image = tf.pad(image - color, beyond) + color
    return tf.ensure_shape(image, (height, width, 3)), size


def place_boxes(boxes, labels, old, new, flip):
    """Move boxes with their image.

    Args:
        boxes: float32 `(max_objects, 4)`, corners in pixels of the file.
        labels: int32 `(max_objects,)`, -1 for padding, which stays zero.
        old: Height and width of the image in the file.
        new: Height and width of the resized image.
        flip: Whether it is mirrored.

    Returns:
        float32 `(max_objects, 4)`, corners in pixels of the resized image.
    """
    new = tf.cast(new, tf.float32)
    scale = (new / tf.cast(old, tf.float32))[::-1]
    boxes *= tf.concat([scale, scale], 0)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
    mirrored = tf.stack([new[1] - x2, y1, new[1] - x1, y2], 1)
    boxes = tf.where(flip, mirrored, boxes)
    return tf.where(labels[:, None] >= 0, boxes, 0.0)
