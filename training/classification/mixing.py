"""MixUp and CutMix of whole batches, each a pure function of a seed.

References: [mixup](https://arxiv.org/abs/1710.09412),
[CutMix](https://arxiv.org/abs/1905.04899).
"""

import tensorflow as tf

from eca_keras.training.data.draws import KerasSeeds
from eca_keras.training.data.draws import keras_layer
from eca_keras.training.data.draws import uniform

_CHOICE, _MIXUP, _CUTMIX = 16, 17, 18  # streams of random numbers


def mix(images, labels, classes, seed, mixup=0.0, cutmix=0.0):
    """Blends every image of a batch, and its label, with another one.

    Args:
        images: uint8 tensor of shape `(batch, height, width, channels)`.
        labels: Integer tensor of shape `(batch,)`.
        classes: Number of classes.
        seed: int64 tensor of shape `(2,)`.
        mixup: Parameter of the Beta distribution of the weights for MixUp;
            0 for none.
        cutmix: The same for CutMix. If both are given, each batch gets one
            of the two, with equal chances.

    Returns:
        Tuple of uint8 images of the same shape and float32 labels of shape
        `(batch, classes)`, whose rows sum to 1.
    """
    images = tf.convert_to_tensor(images)
    labels = tf.one_hot(labels, classes)

    def mixed_up():
        return _mix_up(images, labels, KerasSeeds(seed, _MIXUP), mixup)

    def cut_and_mixed():
        return _cut_mix(images, labels, KerasSeeds(seed, _CUTMIX), cutmix)

    if mixup and cutmix:
        chosen = uniform(seed, _CHOICE, 1)[0] < 0.5
        return tf.cond(chosen, mixed_up, cut_and_mixed)
    if mixup:
        return mixed_up()
    if cutmix:
        return cut_and_mixed()
    return images, labels


def _mix_up(images, labels, seeds, alpha):
    layer = keras_layer("MixUp", alpha=alpha)
    change = layer.get_random_transformation(images, seed=seeds)
    # 0 / 0 where both gamma variates of a small alpha underflow.
    weight = tf.cast(change["mix_weight"], tf.float32)
    change["mix_weight"] = tf.where(tf.math.is_nan(weight), 1.0, weight)
    mixed = tf.cast(tf.round(layer.transform_images(images, change)), tf.uint8)
    mixed = tf.ensure_shape(mixed, images.shape)
    return mixed, layer.transform_labels(labels, change)


def _cut_mix(images, labels, seeds, alpha):
    layer = keras_layer("CutMix", factor=(alpha, alpha))
    change = layer.get_random_transformation(images, seed=seeds)
    # As the layer does it, but in uint8: a quarter of the memory to move.
    mask = change["batch_masks"][..., :1]
    partners = tf.gather(images, change["permutation_order"])
    mixed = tf.where(mask, partners, images)
    # Keras weighs the labels with the area before it is cut down to whole
    # pixels: a few per cent off in small images.
    area = tf.reduce_mean(tf.cast(mask, tf.float32), (1, 2, 3))
    change["mix_weight"] = 1.0 - area
    return mixed, layer.transform_labels(labels, change)
