"""Datasets in the format of COCO: a folder of images, a file of annotations.

Reference: [Microsoft COCO: Common Objects in Context](
https://arxiv.org/abs/1405.0312).
"""

import functools
import json
import os
import pathlib

import numpy as np

from eca_keras.errors import InputError
from eca_keras.training.detection.coco.annotations import AnnotationReader
from eca_keras.training.detection.coco.files import file_split
from eca_keras.training.detection.coco.rules import LARGEST
from eca_keras.training.detection.coco.rules import Broken
from eca_keras.training.detection.coco.rules import Complaints
from eca_keras.training.detection.coco.rules import check_id
from eca_keras.training.detection.coco.rules import check_keys
from eca_keras.training.detection.coco.rules import entry_name
from eca_keras.training.detection.coco.rules import nothing_left
from eca_keras.training.detection.source import DetectionSplit

SPLITS = {"train": "train", "validation": "val", "test": "test"}
IMAGE_KEYS = ("id", "file_name", "height", "width")


def load(argument, **options):
    """Open a dataset.

    Args:
        argument: A folder with `annotations/instances_train2017.json`,
            `train2017` and, if they exist, the same for `val2017` and
            `test2017`, of any year; or a folder of images and a file of
            annotations with a comma between them.
        **options: See `read_split`.

    Returns:
        `(splits, notes)`: `DetectionSplit`s by the names `"train"` and, if
        there are any, `"validation"` and `"test"`, and a tuple of sentences.
    """
    folder, comma, file = argument.rpartition(",")
    if comma:
        files = {"train": (pathlib.Path(file), pathlib.Path(folder))}
    else:
        files = _split_files(pathlib.Path(argument), argument)
    splits, notes = {}, ()
    for split, (file, folder) in files.items():
        splits[split], found = read_split(file, folder, **options)
        notes += found
    _check_same_categories(splits, files)
    return splits, notes


def _split_files(root, argument):
    """Annotations and images of each split of a folder."""
    if not argument or not root.is_dir():
        raise InputError(
            "`data` must name an existing folder after 'coco:'. "
            f"Received: data='coco:{argument}'"
        )
    files = {}
    for split, prefix in SPLITS.items():
        found = sorted(root.glob(f"annotations/instances_{prefix}*.json"))
        if len(found) > 1:
            raise InputError(
                f"{root / 'annotations'} must have one file "
                f"instances_{prefix}*.json; with several, name one with "
                f"data='coco:IMAGES,ANNOTATIONS.json'. Found: "
                f"{', '.join(path.name for path in found)}"
            )
        for file in found:
            files[split] = file, root / file.stem.removeprefix("instances_")
    if "train" not in files:
        raise InputError(
            f"{root} must have a file annotations/instances_train2017.json, "
            "or of another year"
        )
    return files


def read_split(file, folder, *, masks, on_bad_annotation, on_bad_image):
    """Read a file of annotations.

    Args:
        file, folder: Paths of the annotations and of the images.
        masks: Whether segmentations are wanted.
        on_bad_annotation: `"fail"`, or `"skip"` to leave out what breaks a
            rule.
        on_bad_image: The same for images without a file.

    Returns:
        A `DetectionSplit`, and a tuple of sentences.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder of images {folder}")
    content = _read_json(file)
    categories = _categories(file, content["categories"])
    complaints = Complaints(file, on_bad_annotation)
    missing = Complaints(file, on_bad_image)
    places, paths = _images(content["images"], folder, complaints, missing)
    if not paths:
        raise nothing_left(
            f"{file} has no image that can be used",
            complaints.notes() + missing.notes(),
        )
    labels = {number: label for label, number in enumerate(categories)}
    reader = AnnotationReader(places, labels, masks, complaints)
    for place, annotation in enumerate(content["annotations"]):
        reader.add(annotation, place)
    kept = {number: place for number, place in places.items() if place}
    sizes = np.array([size for _, *size in kept.values()], "int32")
    split = DetectionSplit(
        images=file_split(paths, sizes),
        objects=reader.objects(len(paths)),
        image_ids=np.array([*kept]),
        sizes=sizes,
        category_ids=tuple(categories),
        class_names=tuple(categories.values()),
    )
    return split, complaints.notes() + missing.notes()


def _read_json(file):
    """The content of a file of annotations, its three lists."""
    try:
        with open(file, "rb") as stream:
            content = json.load(stream)
    except OSError as error:
        raise InputError(f"{file} cannot be opened: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not a whole JSON file: {error}") from None
    for key in ("images", "annotations", "categories"):
        found = content.get(key) if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise InputError(
                f"{file} is not a file of COCO annotations: it must have a "
                f"list {key!r}"
            )
    return content


def _categories(file, entries):
    """Return the names of the categories by their ids, in their order."""
    names, seen = {}, set()
    for place, entry in enumerate(entries):
        try:
            check_keys(entry, ("id", "name"))
            names[check_id(entry, seen)] = str(entry["name"])
        except Broken as error:
            raise InputError(
                f"{file}: category {entry_name(entry, place)}: {error}"
            ) from None
    if not names:
        raise InputError(f"{file} has no categories")
    return dict(sorted(names.items()))


def _images(entries, folder, complaints, missing):
    """Find the images.

    Returns:
        A dictionary from ids to `(index, height, width)`, to `None` where an
        image is left out; and the paths of the others, in the same order.
    """
    places, paths, seen = {}, [], set()
    names_in = functools.cache(_names_in)  # one look for all files in it
    for place, entry in enumerate(entries):
        name = entry_name(entry, place)
        try:
            _check_image(entry, seen)
        except Broken as error:
            complaints.add("image", name, error)
            if isinstance(entry, dict) and type(entry.get("id")) is int:
                places.setdefault(entry["id"], None)
            continue
        path = os.path.join(folder, entry["file_name"])
        if os.path.basename(path) in names_in(os.path.dirname(path)):
            # Not in the place of one of this id that was left out.
            places.pop(entry["id"], None)
            places[entry["id"]] = len(paths), entry["height"], entry["width"]
            paths.append(path)
        else:
            missing.add("image", name, Broken("its file must exist", file=path))
            places[entry["id"]] = None
    return places, paths


def _names_in(folder):
    try:
        return set(os.listdir(folder))
    except (OSError, ValueError):  # such as a name with a zero
        return set()


def _check_image(entry, seen):
    check_keys(entry, IMAGE_KEYS)
    check_id(entry, seen)
    if not isinstance(entry["file_name"], str) or not entry["file_name"]:
        rule = "`file_name` must be the name of a file"
        raise Broken(rule, file_name=entry["file_name"])
    for side in ("height", "width"):
        pixels = entry[side]
        if type(pixels) is not int or not 0 < pixels < LARGEST:
            rule = f"`{side}` must be a positive integer"
            raise Broken(rule, **{side: pixels})


def _check_same_categories(splits, files):
    train = splits["train"]
    for split_name, split in splits.items():
        for name in ("category_ids", "class_names"):
            if getattr(split, name) != getattr(train, name):
                raise InputError(
                    f"{files[split_name][0]} must have the categories of "
                    f"{files['train'][0]}. Found other {name}: "
                    f"{getattr(split, name)}"
                )
