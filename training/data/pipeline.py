"""From a `Split` to batches of uint8 images."""

import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.training.data.augmentation import augment
from eca_keras.training.data.images import shown_size

# Elements (encoded or small images) that wait to be drawn at random.
SHUFFLE_BUFFER = 20_000


def training_batches(split, *, batch_size, image_size, augmentation, seed):
    """Batches in random order, randomly changed; one pass is one epoch.

    The last images of an epoch that do not fill a batch are left out: unequal
    shares would weigh wrong in the gradient of several replicas. The order
    changes with every epoch, so they are others each time.

    Args:
        split: `Split` of training images.
        batch_size: Images per batch, over all replicas.
        image_size: Height and width, in pixels.
        augmentation: See `augmentation.augment`.
        seed: Integer; the same seed gives the same epochs.

    Returns:
        Dataset of `(images, labels)`, images uint8 of shape
        `(batch_size, image_size, image_size, channels)`.
    """
    if batch_size > split.size:
        raise InputError(
            "`batch_size` must not exceed the number of training images, "
            f"{split.size}. Received: batch_size={batch_size}"
        )

    def load(element, seed):
        element, label = element
        image = split.load(element)
        return augment(augmentation, image, image_size, seed), label

    dataset = split.dataset.shuffle(min(split.size, SHUFFLE_BUFFER), seed=seed)
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    dataset = tf.data.Dataset.zip(dataset, seeds.batch(2))
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    split, *, batch_size, image_size, crop_fraction, interpolation="bilinear"
):
    """Batches of every image once, in order, with weights.

    The last batch is filled up with images of weight 0: Keras fails under
    MirroredStrategy where a replica gets no image. The other weights make
    the mean weight 1, so that the loss that `evaluate` reports is the mean
    over the images, and not diluted by the filling.

    Args:
        split: `Split` of images.
        batch_size: Images per batch, over all replicas.
        image_size: Height and width, in pixels.
        crop_fraction, interpolation: See `images.shown_size`.

    Returns:
        Dataset of `(images, labels, weights)`, each of length `batch_size`.
    """
    batches = -(-split.size // batch_size)
    weight = batches * batch_size / split.size

    def load(element, label):
        image = shown_size(
            split.load(element), image_size, crop_fraction, interpolation
        )
        return image, label, weight

    def fill(images, labels, weights):
        missing = batch_size - tf.shape(labels)[0]
        images = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
        labels = tf.pad(labels, [[0, missing]])
        weights = tf.pad(weights, [[0, missing]])
        images = tf.ensure_shape(images, (batch_size, *images.shape[1:]))
        labels = tf.ensure_shape(labels, (batch_size,))
        return images, labels, tf.ensure_shape(weights, (batch_size,))

    dataset = split.dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size).map(fill)
    return dataset.prefetch(tf.data.AUTOTUNE)
