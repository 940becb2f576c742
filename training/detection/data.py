"""Where training images with objects come from."""

import numpy as np

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.data.feed import check_bad_image
from eca_keras.training.data.source import hold_out
from eca_keras.training.detection import shapes
from eca_keras.training.detection.coco import folder as coco
from eca_keras.training.detection.coco import tfds as coco_tfds
from eca_keras.training.detection.coco.rules import check_bad_annotation
from eca_keras.training.detection.coco.rules import nothing_left
from eca_keras.training.detection.source import DetectionSource

_LOADERS = {
    "shapes": shapes.load,
    "coco": coco.load,
    "tfds": coco_tfds.load,
}


def load_detection_source(
    data,
    *,
    validation_fraction=0.1,
    masks=False,
    keep_empty=False,
    on_bad_annotation="skip",
    on_bad_image="fail",
):
    """Open a dataset with objects.

    Args:
        data: One of

            - `"shapes"` or `"shapes:N"`: 64 or `N` generated images to
              train on, 64 for validation and 64 to test with;
            - `"coco:FOLDER"`: `annotations/instances_train2017.json` and
              `train2017` in this folder and, if they exist, the same for
              `val2017` and `test2017`;
            - `"coco:IMAGES,ANNOTATIONS.json"`: a folder of images and a file
              in COCO's format;
            - `"tfds:coco/2017"`: that of tensorflow-datasets, prepared, or
              with `?download` after it; it has no masks.

        validation_fraction: Fraction of the images to keep back for validation,
            where the data has no such split.
        masks: Whether masks are wanted; needs pycocotools.
        keep_empty: Whether images without objects are for training, too.
            They are for validation in any case.
        on_bad_annotation: What becomes of annotations, and of entries of
            images, that break a rule: with `"skip"` they are left out,
            counted by kind in the notes, which name the first three; with
            `"fail"` the first one ends it.
        on_bad_image: `"fail"`, or `"skip"` to leave out images without a
            file; those that cannot be read, or have another size than in the
            annotations, are met by the feeds, which take the same argument.

    Returns:
        A `DetectionSource`.

    Raises:
        InputError: if there is no such data or it cannot be used.
    """
    kind, _, argument = data.partition(":")
    if kind not in _LOADERS:
        raise InputError(
            "`data` must be 'shapes', 'shapes:N', 'coco:FOLDER', "
            "'coco:IMAGES,ANNOTATIONS.json' or 'tfds:coco/2017'. "
            f"Received: data={data!r}"
        )
    check_bad_annotation(on_bad_annotation)
    check_bad_image(on_bad_image)
    if masks:
        require("detection", "Masks", "pycocotools")
    splits, notes = _LOADERS[kind](
        argument,
        masks=masks,
        on_bad_annotation=on_bad_annotation,
        on_bad_image=on_bad_image,
    )
    train, validation = splits["train"], splits.get("validation")
    test, whole = splits.get("test"), None
    if validation is None:
        whole = train
        # As of one class: an image may have objects of many.
        same = np.zeros(train.size)
        rest, held = hold_out(same, validation_fraction)
        train, validation = train.select(rest), train.select(held)
    if not keep_empty:
        train, found = _without_empty(train, notes)
        notes += found
    return DetectionSource(train, validation, notes, test, whole)


def _without_empty(split, notes):
    counts = split.objects.counts()
    full = np.flatnonzero(counts)
    if not len(full):
        rule = "The training images have no objects to learn from"
        raise nothing_left(rule, notes)
    empty = len(counts) - len(full)
    if not empty:
        return split, ()
    images = f"{empty:,} training images" if empty > 1 else "1 training image"
    note = f"{images} without objects left out: nothing to learn from"
    return split.select(full), (note,)
