"""From a `DetectionSplit` to padded batches, each a function of its step.

As in `training.data.sharding`: step `t` has the same images, changed in the
same way, whoever asks for it, and nothing has a state to save.
"""

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.training.data import feed
from eca_keras.training.data import sharding
from eca_keras.training.data.draws import uniform
from eca_keras.training.detection.coco.segmentations import MASK_SIDE
from eca_keras.training.detection.transforms import place_boxes
from eca_keras.training.detection.transforms import resize_to_fit
from eca_keras.utils.checks import check_count

_SIDE = 0  # stream of random numbers: mirrored or not


def training_feed(strategy, split, *, on_bad_image="fail", **arguments):
    """Make the `Feed` of training.

    Args:
        strategy: `tf.distribute.Strategy`; the default one for one device.
        split: `DetectionSplit` of training images.
        on_bad_image: `"fail"`, or `"skip"` to take the next image instead of
            one that cannot be read.
        **arguments: Those of `training_batches`, without `first_step` and
            `context`.
    """
    _check_targets(split, arguments["max_objects"], arguments["masks"])
    return feed.training_feed(
        strategy, split, on_bad_image, batches=training_batches, **arguments
    )


def evaluation_feed(strategy, split, *, on_bad_image="fail", **arguments):
    """Make the `Feed` of an evaluation.

    Args:
        strategy, split: As for `training_feed`.
        on_bad_image: `"fail"`, or `"skip"` for an index of -1.
        **arguments: Those of `evaluation_batches`, without `first_step` and
            `context`.
    """
    return feed.evaluation_feed(
        strategy, split, on_bad_image, batches=evaluation_batches, **arguments
    )


def training_batches(
    split,
    *,
    batch_size,
    input_shape,
    seed,
    flip,
    max_objects,
    masks,
    first_step=0,
    last_step=None,
    context=None,
):
    """Return batches in random order, half of the images mirrored.

    Every epoch is a new permutation of the images; the last of it that do not
    fill a batch are left out.

    Args:
        split: `DetectionSplit` of training images.
        batch_size: Images per step, over all replicas.
        input_shape: `(height, width, 3)` of the detector.
        seed: Integer; the same seed gives the same batches.
        flip: Whether to mirror images at random.
        max_objects: Objects per image; of more, the largest are kept.
        masks: Whether targets have masks.
        first_step: Step of the run to begin with, counted from 0 over all
            epochs.
        last_step: Step to end before; `None` for no end.
        context: `tf.distribute.InputContext` of a worker, or `None` for all
            images.

    Returns:
        Dataset of `(images, targets)`, with a context the batches of the
        worker's replicas in turn. Images are uint8 of shape
        `(batch, *input_shape)`. Targets are `"boxes"`, float32
        `(batch, max_objects, 4)`, corners in pixels of the resized image;
        `"labels"`, int32 `(batch, max_objects)`, -1 for padding; `"sizes"`,
        float32 `(batch, 2)`, heights and widths of the resized images inside
        the padding; and `"masks"`, uint8 `(batch, max_objects, 112, 112)`, 0
        or 1, of what is inside the boxes.
    """
    _check_targets(split, max_objects, masks)
    shard = sharding.Shard.of(batch_size, context)
    steps = sharding.steps_per_epoch(split, batch_size)
    if last_step is None:
        last_step = np.iinfo("int64").max // batch_size

    def fetch(slots):
        indices = split.readable(
            sharding.shuffled(slots, split.size, batch_size, steps, seed)
        )
        elements, _ = split.images.fetch(indices)
        run = tf.fill([shard.size], tf.constant(seed, tf.int64))
        draws = uniform(tf.stack([run, slots], 1), _SIDE, 1)[:, 0]
        return elements, indices, (draws < 0.5) & flip

    def show(element, index, flipped):
        image, size = resize_to_fit(
            split.images.image(element), input_shape, flipped
        )
        targets = _targets(split, index, size, flipped, max_objects, masks)
        return image, targets

    slots = shard.dataset(first_step, last_step, shard.size)
    dataset = sharding.parallel(slots, fetch).unbatch()
    dataset = sharding.parallel(dataset, show)
    return sharding.finish(dataset.batch(shard.size, drop_remainder=True))


def evaluation_batches(
    split, *, batch_size, input_shape, first_step=0, context=None
):
    """Return batches of every image once, in order.

    The last batch is filled up, so that every replica gets as many images.
    What fills it, and what cannot be read, is black and has the index -1.

    Args:
        split, batch_size, input_shape, context: As in `training_batches`.
        first_step: Batch to begin with.

    Returns:
        Dataset of `(images, details)`, with a context the batches of the
        worker's replicas in turn. Images are uint8 of shape
        `(batch, *input_shape)`; details are `"index"`, int64 `(batch,)`,
        which image of the split it is, and `"sizes"`, float32 `(batch, 2)`,
        heights and widths of the resized images inside the padding. Boxes go
        back to pixels of the file by `split.sizes[index]` divided by these.
    """
    shard = sharding.Shard.of(batch_size, context)
    whole = tf.constant(input_shape[:2])

    def fetch(slots):
        indices, shown = sharding.shown_indices(split, slots)
        elements, _ = split.images.fetch(indices)
        return elements, tf.where(shown, indices, -1)

    def show(element, index):
        image, size = tf.cond(
            index >= 0,
            lambda: resize_to_fit(split.images.image(element), input_shape),
            lambda: (tf.zeros(input_shape, tf.uint8), whole),
        )
        image = tf.ensure_shape(image, input_shape)
        size = tf.ensure_shape(tf.cast(size, tf.float32), (2,))
        return image, {"index": index, "sizes": size}

    steps = sharding.evaluation_steps(split, batch_size)
    slots = shard.dataset(first_step, steps, shard.size)
    dataset = sharding.parallel(slots, fetch).unbatch()
    dataset = sharding.parallel(dataset, show)
    return sharding.finish(dataset.batch(shard.size, drop_remainder=True))


def _targets(split, index, size, flipped, max_objects, masks):
    """The targets of one image."""
    file_size = tf.gather(tf.constant(split.sizes), index)
    boxes, labels = tf.numpy_function(
        lambda index: split.objects.padded(index, max_objects),
        [index],
        [tf.float32, tf.int32],
        stateful=False,
    )
    boxes = tf.ensure_shape(boxes, (max_objects, 4))
    labels = tf.ensure_shape(labels, (max_objects,))
    targets = {
        "boxes": place_boxes(boxes, labels, file_size, size, flipped),
        "labels": labels,
        "sizes": tf.cast(size, tf.float32),
    }
    if masks:
        mask_images = tf.numpy_function(
            lambda index, size: split.objects.mask_images(
                index, max_objects, size
            ),
            [index, file_size],
            tf.uint8,
            stateful=False,
        )
        mask_images = tf.ensure_shape(
            mask_images, (max_objects, MASK_SIDE, MASK_SIDE)
        )
        targets["masks"] = tf.cond(
            flipped,
            lambda: tf.reverse(mask_images, [2]),
            lambda: mask_images,
        )
    return targets


def _check_targets(split, max_objects, masks):
    check_count("max_objects", max_objects)
    if masks and not split.has_masks:
        raise InputError(
            "`masks` must be False for data that was opened without masks. "
            f"Received: masks={masks}"
        )
