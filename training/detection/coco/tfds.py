"""COCO as tensorflow-datasets prepares it: boxes, no masks."""

import concurrent.futures
import os

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.images import decode as images
from eca_keras.training.data.tfds import DOWNLOAD
from eca_keras.training.data.tfds import open_builder
from eca_keras.training.data.tfds import open_records
from eca_keras.training.detection.coco.annotations import AnnotationReader
from eca_keras.training.detection.coco.files import decode_as_annotated
from eca_keras.training.detection.coco.rules import ID_ONCE
from eca_keras.training.detection.coco.rules import Broken
from eca_keras.training.detection.coco.rules import Complaints
from eca_keras.training.detection.coco.rules import nothing_left
from eca_keras.training.detection.source import DetectionSplit
from eca_keras.training.detection.source import image_split

SPLITS = ("train", "validation")

# What TFDS has no place for: the ids of the 80 categories, of 90.
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in UNUSED_IDS)

# Areas are cut down to integers: that of a tiny object to 0.
LEAST_AREA = 0.5

# Examples that a thread reads at a time.
CHUNK = 64

_FIELDS = {
    "image": tf.io.FixedLenFeature((), tf.string),
    "image/id": tf.io.FixedLenFeature((), tf.int64),
    "objects/id": tf.io.RaggedFeature(tf.int64),
    "objects/area": tf.io.RaggedFeature(tf.int64),
    "objects/bbox": tf.io.RaggedFeature(tf.float32),
    "objects/label": tf.io.RaggedFeature(tf.int64),
    "objects/is_crowd": tf.io.RaggedFeature(tf.int64),
}
FEATURES = {"image", "image/id", "objects"}
OBJECT_FEATURES = {"id", "area", "bbox", "label", "is_crowd"}


def load(name, masks, on_bad_annotation, on_bad_image):
    """Open a dataset with the features of `coco/2017`.

    Args:
        name: As for `tfds.load`; with `?download` after it, it is fetched if
            it is not there.
        masks: Must be false.
        on_bad_annotation, on_bad_image: `"fail"` or `"skip"`.

    Returns:
        `(splits, notes)`, as of `coco.load`.
    """
    if masks:
        raise InputError(
            f"`masks` must be False for 'tfds:{name}', which has none: a "
            "MaskRCNN learns from 'coco:FOLDER', other detectors from both. "
            "Received: masks=True"
        )
    require("train", f"The dataset 'tfds:{name}'", "tensorflow_datasets")
    import tensorflow_datasets as tfds

    builder = open_builder(tfds, name)
    label = _check_features(name, builder.info.features)
    if "train" not in builder.info.splits:
        raise InputError(
            f"'tfds:{name}' must have a split 'train'. "
            f"Found: {', '.join(builder.info.splits)}"
        )
    splits, notes = {}, ()
    for split in SPLITS:
        if split in builder.info.splits:
            splits[split], found = _read_split(
                f"{split} of tfds:{name.removesuffix(DOWNLOAD)}",
                open_records(builder, split),
                label.names,
                on_bad_annotation,
                on_bad_image,
            )
            notes += found
    return splits, notes


def _check_features(name, features):
    """Return the feature of the labels."""
    if set(features or ()) >= FEATURES:
        objects = features["objects"]
        objects = getattr(objects, "feature", objects)
        if set(objects) >= OBJECT_FEATURES:
            return objects["label"]
    raise InputError(
        f"'tfds:{name}' must have the features of 'tfds:coco/2017': "
        f"{', '.join(sorted(FEATURES))}, of the objects "
        f"{', '.join(sorted(OBJECT_FEATURES))}. "
        f"Found: {', '.join(sorted(features or ()))}"
    )


def _read_split(title, records, names, on_bad_annotation, on_bad_image):
    """Return the `DetectionSplit` of some records, and sentences."""
    complaints = Complaints(title, on_bad_annotation)
    unreadable = Complaints(title, on_bad_image)
    labels = {label: label for label in range(len(names))}
    places, kept, sizes = {}, [], []
    reader = AnnotationReader(places, labels, False, complaints)
    for record, (number, size, annotations) in enumerate(_examples(records)):
        if number in places:
            complaints.add("image", number, Broken(ID_ONCE, id=number))
        elif isinstance(size, str):
            error = Broken("it must be readable", reason=size)
            unreadable.add("image", number, error)
            places[number] = None
        else:
            places[number] = len(kept), *size
            kept.append(record)
            sizes.append(size)
            for place, annotation in enumerate(annotations):
                reader.add(annotation, place)
    if not kept:
        raise nothing_left(
            f"{title} has no image that can be used",
            complaints.notes() + unreadable.notes(),
        )
    sizes = np.array(sizes, "int32")
    ids = [number for number, place in places.items() if place]
    numbers = CATEGORY_IDS
    if len(names) != len(numbers):
        numbers = range(1, len(names) + 1)
    split = DetectionSplit(
        images=image_split(
            len(kept),
            _loader(records, kept, sizes),
            lambda index: f"image {ids[index]} of {title}",
        ),
        objects=reader.objects(len(kept)),
        image_ids=np.array(ids),
        sizes=sizes,
        category_ids=tuple(numbers),
        class_names=tuple(names),
    )
    return split, complaints.notes() + unreadable.notes()


def _loader(records, kept, sizes):
    """Return the function that loads an image."""
    with tf.device("CPU"):
        kept, sizes = tf.constant(kept, tf.int64), tf.constant(sizes)

    def load(index):
        examples = tf.numpy_function(
            records.read, [tf.gather(kept, index)[None]], tf.string
        )
        example = tf.ensure_shape(examples, (1,))[0]
        fields = {"image": _FIELDS["image"]}
        content = tf.io.parse_single_example(example, fields)["image"]
        return decode_as_annotated(content, tf.gather(sizes, index))

    return load


def _examples(records):
    """Iterate over what all records say, the images themselves apart.

    Yields:
        Id of the image; its height and width, or why it cannot be read; and
        the annotations as in COCO's files.
    """
    starts = range(0, len(records), CHUNK)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for examples in pool.map(
            lambda start: _read_chunk(records, start), starts
        ):
            yield from examples


def _read_chunk(records, start):
    indices = np.arange(start, min(start + CHUNK, len(records)))
    parsed = tf.io.parse_example(records.read(indices), _FIELDS)
    numbers = parsed["image/id"].numpy().tolist()
    sizes = [_size(content) for content in parsed["image"].numpy()]
    columns = [
        parsed[f"objects/{name}"].to_list()
        for name in ("id", "label", "bbox", "area", "is_crowd")
    ]
    return [
        (number, size, _annotations(number, size, *values))
        for number, size, *values in zip(numbers, sizes, *columns, strict=True)
    ]


def _size(content):
    try:
        return images.stored_size(content)
    except ValueError as error:
        return images.reason(error)


def _annotations(image, size, ids, labels, boxes, areas, crowds):
    """Make annotations as in COCO's files of one example."""
    if isinstance(size, str):
        return []
    # Corners `y1, x1, y2, x2`, as fractions of the sides.
    corners = np.reshape(boxes, (-1, 2, 2))[..., ::-1] * size[::-1]
    boxes = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], 1)
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "area": area or LEAST_AREA,
            "iscrowd": crowd,
        }
        for number, label, box, area, crowd in zip(
            ids, labels, boxes.tolist(), areas, crowds, strict=True
        )
    ]
