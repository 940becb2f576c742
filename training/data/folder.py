"""Image files in one folder per class."""

import concurrent.futures
import os
import pathlib

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.images import decode as images
from eca_keras.training.data.source import NAMED
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import Split
from eca_keras.training.data.source import hold_out
from eca_keras.utils.checks import listed

CHANNELS = 3

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}


def load(path, validation_fraction, check_images=True):
    """Return the `Source`.

    Args:
        path: Folder with one folder per class, or with the folders `train`
            and, if they exist, `val` and `test`, each of which has one
            folder per class.
        validation_fraction: Share of the images to keep back where there is
            no `val`.
        check_images: Decode every file once to find unreadable ones.
    """
    root = pathlib.Path(path)
    if not path or not root.is_dir():
        raise InputError(
            "`data` must name an existing folder after 'folder:'. "
            f"Received: data='folder:{path}'"
        )
    folders = {
        split: next((root / n for n in names if (root / n).is_dir()), None)
        for split, names in SPLITS.items()
    }
    if folders["train"] is None:
        folders = {"train": root, "validation": None, "test": None}
    class_names = _class_names(folders["train"])
    others = []
    files = {
        split: _files(folder, class_names, others)
        for split, folder in folders.items()
        if folder is not None
    }
    if check_images:
        for paths, labels in files.values():
            _check(_split(paths, labels))
    if "validation" not in files:
        paths, labels = files["train"]
        train, validation = hold_out(labels, validation_fraction)
        files["train"] = [paths[i] for i in train], labels[train]
        files["validation"] = [paths[i] for i in validation], labels[validation]
    return Source(
        train=_split(*files["train"]),
        validation=_split(*files["validation"]),
        test=_split(*files["test"]) if "test" in files else None,
        class_names=class_names,
        channels=CHANNELS,
        image_size=224,
        augmentation="crop-flip",
        crop_fraction=0.875,
        notes=_note(root, others),
    )


def _class_names(folder):
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(names) < 2:
        raise InputError(
            f"{folder} must hold one folder of images per class, at least "
            f"two. Found: {names}"
        )
    return tuple(names)


def _files(folder, class_names, others):
    """Return the sorted paths of all images and their labels.

    Files of other kinds, hidden ones apart, are added to `others`.
    """
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = []
        for parent, _, files in os.walk(folder / name, followlinks=True):
            for file in files:
                if file.lower().endswith(images.SUFFIXES):
                    found.append(os.path.join(parent, file))
                elif not file.startswith("."):
                    others.append(os.path.join(parent, file))
        found.sort()
        if not found and folder.joinpath(name).is_dir():
            raise InputError(
                f"{folder / name} has no images ({', '.join(images.SUFFIXES)})"
            )
        paths += found
        labels += [label] * len(found)
    unknown = {e.name for e in folder.iterdir() if e.is_dir()} - {*class_names}
    if unknown:
        raise InputError(
            f"{folder} has classes that the training images do not have: "
            f"{', '.join(sorted(unknown))}"
        )
    return paths, np.array(labels, "int32")


def _note(root, others):
    """Return a sentence about files that are no images by their names."""
    if not others:
        return ()
    names = sorted(os.path.relpath(path, root) for path in others)
    files = f"{len(names)} files" if len(names) > 1 else "1 file"
    return (
        f"{files} in {root} left out, not being named as images "
        f"({', '.join(images.SUFFIXES)}): "
        f"{listed(map(printable, names), NAMED)}",
    )


def _check(split):
    """Decode every file; name the first one that is no image."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(split.read, range(split.size)):
            pass


def _split(paths, labels):
    with tf.device("CPU"):
        # As bytes: a name need not be valid Unicode.
        files = tf.constant([os.fsencode(path) for path in paths])
        labels = tf.constant(labels)
    return Split(
        size=len(paths),
        fetch=lambda indices: (
            tf.gather(files, indices),
            tf.gather(labels, indices),
        ),
        load=tf.io.read_file,
        encoded=True,
        channels=CHANNELS,
        name=lambda index: printable(paths[index]),
    )


def printable(path):
    """A path as a message can show it: a name need not be valid Unicode."""
    return os.fsencode(path).decode(errors="replace")
