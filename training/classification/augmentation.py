"""Random changes of training images, each a pure function of a seed."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.images import decode as image_files
from eca_keras.images.resize import resize_quickly
from eca_keras.training.classification.mixing import mix
from eca_keras.training.data.draws import KerasSeeds
from eca_keras.training.data.draws import keras_layer
from eca_keras.training.data.draws import uniform

GEOMETRIES = ("none", "flip", "shift", "shift-flip", "crop-flip")

# Random resized crop of Inception and torchvision: fraction of the area, and
# width by height.
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10

# A shift goes up to an eighth of the side, as the 4 of 32 pixels in CIFAR's
# usual augmentation.
SHIFT = 1 / 8

# RandAugment: how many operations an image gets, as in the paper and in Keras,
# and what they are called in `keras.layers.RandAugment`.
OPERATIONS_PER_IMAGE = 2
OPERATIONS = (
    "random_shear",
    "random_translation",
    "random_rotation",
    "random_brightness",
    "random_color_degeneration",
    "random_contrast",
    "random_sharpness",
    "random_posterization",
    "solarization",
    "auto_contrast",
    "equalization",
)

_PLACE, _SIDE, _CHOICE, _STRENGTH = range(4)  # streams of random numbers


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are changed.

    Attributes:
        geometry: One of `GEOMETRIES`: nothing; mirrored or not; shifted by up
            to an eighth of the side; both; a random part of the image, as
            torchvision's RandomResizedCrop, mirrored or not.
        randaugment: Strength of Keras's RandAugment, from 0 (off) to 1. It
            turns an image by up to this fraction of a full circle, for one.
        mixup: Parameter of MixUp's Beta distribution, from 0 (off) to 1.
        cutmix: The same for CutMix; with both, each batch gets one of them.
        antialias: Whether crops are made smaller as Pillow does it, which
            takes twice as long as without.
    """

    geometry: str = "none"
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    antialias: bool = False

    def __post_init__(self):
        if self.geometry not in GEOMETRIES:
            raise InputError(
                f"`geometry` must be one of {', '.join(GEOMETRIES)}. "
                f"Received: geometry={self.geometry!r}"
            )
        for name in ("randaugment", "mixup", "cutmix"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(
                    f"`{name}` must be from 0 to 1. Received: {name}={value!r}"
                )

    @property
    def mixes(self):
        """Whether labels come as probabilities of classes, see `batch`."""
        return bool(self.mixup or self.cutmix)

    @property
    def vectorised(self):
        """Whether `images` can be used."""
        return self.geometry != "crop-flip" and not self.randaugment

    def file(self, content, channels, size, seed):
        """Like `image`, from the bytes of an image file.

        Of a JPEG only the part that the crop shows is decoded.

        Args:
            content: String tensor.
            channels: 1 for grey, 3 for colour.
            size, seed: See `image`.
        """
        if self.geometry != "crop-flip":
            return self.image(image_files.decode(content, channels), size, seed)
        content = tf.convert_to_tensor(content)
        seed = tf.cast(seed, tf.int64)
        image = tf.cond(
            image_files.is_plain_jpeg(content),
            lambda: _part_of_jpeg(content, channels, seed),
            lambda: _part_of_other(content, channels, seed),
        )
        return self._finish(image, size, seed)

    def image(self, image, size, seed):
        """Changes an image and resizes it to a square.

        Args:
            image: uint8 tensor of shape `(height, width, channels)`.
            size: Height and width of the result, in pixels.
            seed: int64 tensor of shape `(2,)`.

        Returns:
            uint8 tensor of shape `(size, size, channels)`.
        """
        seed = tf.cast(seed, tf.int64)
        if self.geometry == "crop-flip":
            return self._finish(_random_part(image, seed), size, seed)
        image = self._placed(image[None], size, seed[None])[0]
        return self._recoloured(image, seed)

    def images(self, images, size, seeds):
        """Like `image` for many images of one size; only if `vectorised`.

        Args:
            images: uint8 tensor of shape `(batch, height, width, channels)`.
            size: Height and width of the results, in pixels.
            seeds: int64 tensor of shape `(batch, 2)`.

        Returns:
            uint8 tensor of shape `(batch, size, size, channels)`.
        """
        if not self.vectorised:
            raise ValueError(f"{self} cannot change whole batches")
        return self._placed(images, size, seeds)

    def batch(self, images, labels, classes, seed):
        """MixUp or CutMix, see `mixing.mix`; only if `mixes`."""
        return mix(images, labels, classes, seed, self.mixup, self.cutmix)

    def _finish(self, crop, size, seed):
        """What comes after a random crop."""
        image = resize_quickly(crop, (size, size), self.antialias)
        # Turning the only image of a batch around changes nothing.
        axis = tf.where(_crop_draws(seed)[-1] < 0.5, 2, 0)
        image = tf.reverse(image[None], axis[None])[0]
        return self._recoloured(image, seed)

    def _placed(self, images, size, seeds):
        if tuple(images.shape[1:3]) != (size, size):
            images = resize_quickly(images, (size, size), True)
        flip = _flips(seeds) if self.geometry.endswith("flip") else None
        if not self.geometry.startswith("shift"):
            return images if flip is None else _gathered(images, flip=flip)
        reach = max(1, round(size * SHIFT))
        drawn = uniform(seeds, _PLACE, 2) * (2 * reach + 1)
        top, left = tf.unstack(tf.cast(drawn, tf.int32), axis=-1)
        images = tf.pad(
            images, [[0, 0], [reach, reach], [reach, reach], [0, 0]]
        )
        return _gathered(images, size, top, left, flip)

    def _recoloured(self, image, seed):
        if not self.randaugment:
            return image
        return _rand_augment(image, self.randaugment, seed)


def random_crop(shape, seed):
    """Draw the box of a random resized crop as torchvision does.

    Args:
        shape: Shape of the image, `(height, width, channels)`.
        seed: int64 tensor of shape `(2,)`.

    Returns:
        int32 scalars `top, left, height, width`.
    """
    sides = tf.cast(shape[:2], tf.float32)
    drawn = _crop_draws(seed)
    areas, ratios, places = (
        drawn[:CROP_TRIES],
        drawn[CROP_TRIES : 2 * CROP_TRIES],
        drawn[2 * CROP_TRIES : -1],
    )
    least, most = CROP_AREA
    areas = (least + areas * (most - least)) * sides[0] * sides[1]
    least, most = np.log(CROP_RATIO).astype("float32")
    ratios = tf.exp(least + ratios * (most - least))
    boxes = tf.stack([tf.sqrt(areas / ratios), tf.sqrt(areas * ratios)], -1)
    boxes = tf.round(boxes)
    fits = tf.reduce_all((boxes > 0) & (boxes <= sides), -1)
    # If none fits: the largest middle box within the range of ratios.
    middle = tf.minimum(
        sides,
        [
            tf.round(sides[1] / CROP_RATIO[0]),
            tf.round(sides[0] * CROP_RATIO[1]),
        ],
    )
    any_fits = tf.reduce_any(fits)
    first = boxes[tf.argmax(tf.cast(fits, tf.int32))]
    box = tf.where(any_fits, first, middle)
    room = sides - box
    # Below `room + 1` also where the product is rounded up.
    place = tf.minimum(tf.floor(places * (room + 1)), room)
    place = tf.where(any_fits, place, tf.floor(room / 2))
    top, left = tf.unstack(tf.cast(place, tf.int32))
    height, width = tf.unstack(tf.cast(box, tf.int32))
    return top, left, height, width


def _crop_draws(seed):
    """All random numbers of "crop-flip": areas, ratios, place, side."""
    # One operation, where `uniform` for many seeds takes forty.
    return tf.random.stateless_uniform(
        (2 * CROP_TRIES + 3,), tf.cast(seed, tf.int64)
    )


def _part_of_jpeg(content, channels, seed):
    box = random_crop(tf.image.extract_jpeg_shape(content), seed)
    return image_files.decode_part(content, channels, box)


@image_files.aside
def _part_of_other(content, channels, seed):
    return tf.cond(
        image_files.is_upright_jpeg(content),
        lambda: _part_of_jpeg(content, channels, seed),
        lambda: _random_part(image_files.decode(content, channels), seed),
    )


def _random_part(image, seed):
    top, left, height, width = random_crop(tf.shape(image), seed)
    return image[top : top + height, left : left + width]


def _flips(seeds):
    """Booleans of shape `(batch,)`."""
    return uniform(seeds, _SIDE, 1)[..., 0] < 0.5


def _gathered(images, size=None, top=None, left=None, flip=None):
    """Take a square of every image, mirrored where `flip` says so.

    Args:
        images: uint8 tensor of shape `(batch, height, width, channels)`.
        size: Height and width of the squares; by default all of the image.
        top, left: int32 tensors of shape `(batch,)`.
        flip: Boolean tensor of shape `(batch,)`.
    """
    batch = tf.shape(images)[0]
    _, height, width, channels = images.shape
    size = size or height
    rows = tf.range(size)[None]
    columns = rows
    if flip is not None:
        columns = tf.where(flip[:, None], size - 1 - columns, columns)
    if top is not None:
        rows, columns = rows + top[:, None], columns + left[:, None]
    rows += tf.range(batch)[:, None] * height
    places = rows[:, :, None] * width + columns[:, None]
    return tf.gather(tf.reshape(images, (-1, channels)), places)


def _rand_augment(image, factor, seed):
    """RandAugment with the operations of Keras's layer.

    `keras.layers.RandAugment` computes all of its operations for every image
    and keeps two; here only the two are computed.
    """
    layer = keras_layer("RandAugment", factor=factor)

    def operate(name, images, place):
        if name == "random_color_degeneration" and images.shape[-1] == 1:
            return images  # grey already
        part = getattr(layer, name)
        seeds = KerasSeeds(seed, _STRENGTH + place)
        change = part.get_random_transformation(images, seed=seeds)
        return part.transform_images(images, change)

    operations = [
        image_files.aside(functools.partial(operate, name))
        for name in OPERATIONS
    ]
    chosen = uniform(seed, _CHOICE, OPERATIONS_PER_IMAGE) * len(operations)
    images = tf.cast(image, tf.float32)[None]
    for place in range(OPERATIONS_PER_IMAGE):
        images = tf.switch_case(
            tf.cast(chosen[place], tf.int32),
            [
                functools.partial(operation, images, tf.constant(place))
                for operation in operations
            ],
        )
    changed = tf.round(tf.clip_by_value(images[0], 0, 255))
    return tf.ensure_shape(tf.cast(changed, tf.uint8), image.shape)
