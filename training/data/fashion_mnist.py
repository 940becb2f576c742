"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28 x 28 pixels.

Reference: [Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms](https://arxiv.org/abs/1708.07747).
"""

import gzip
import pathlib
import struct
import zlib

import numpy as np

from eca_keras.errors import InputError
from eca_keras.training.data import tfds
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import array_split
from eca_keras.training.data.source import hold_out

# Where Debian's package dataset-fashion-mnist puts the files.
DEBIAN_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FILES = {
    (split, kind): f"{prefix}-{kind}-idx{rank}-ubyte.gz"
    for split, prefix in (("train", "train"), ("test", "t10k"))
    for kind, rank in (("images", 3), ("labels", 1))
}


def load(folder, validation_fraction):
    """Return the `Source`.

    Args:
        folder: Folder with the four IDX files; empty for Debian's, or TFDS
            where that is not installed.
        validation_fraction: Share of the training images to keep back.
    """
    folder = pathlib.Path(folder) if folder else DEBIAN_FOLDER
    if folder == DEBIAN_FOLDER and not folder.is_dir():
        return _from_tfds(validation_fraction)
    arrays = {key: _read_idx(folder / name) for key, name in FILES.items()}
    for split in ("train", "test"):
        if len(arrays[split, "images"]) != len(arrays[split, "labels"]):
            raise InputError(
                f"The {split} images and labels in {folder} differ in number: "
                f"{len(arrays[split, 'images'])} and "
                f"{len(arrays[split, 'labels'])}"
            )
    images, labels = arrays["train", "images"], arrays["train", "labels"]
    train, validation = hold_out(labels, validation_fraction)
    return Source(
        train=array_split(images[train], labels[train]),
        validation=array_split(images[validation], labels[validation]),
        test=array_split(arrays["test", "images"], arrays["test", "labels"]),
        class_names=CLASS_NAMES,
        channels=1,
        image_size=28,
        augmentation="shift-flip",
    )


def _from_tfds(validation_fraction):
    try:
        return tfds.load("fashion_mnist", validation_fraction)
    except InputError as error:
        raise InputError(
            f"{DEBIAN_FOLDER} does not exist (Debian: apt install "
            "dataset-fashion-mnist). Use data='fashion-mnist:FOLDER' with the "
            f"four IDX files, or TFDS: {error}"
        ) from None


def _read_idx(path):
    """Read a gzipped IDX file of bytes; images get a channel axis."""
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            "Fashion-MNIST needs the four files "
            f"{', '.join(FILES.values())} in one folder. Missing: {path}"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from None
    # Two zero bytes, the type (8: unsigned byte), the rank, then the sizes.
    try:
        zeros, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
        values = np.frombuffer(content, "uint8", offset=4 + 4 * rank)
        whole = not zeros and kind == 8 and values.size == np.prod(shape)
    except (struct.error, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{path} is not an IDX file of unsigned bytes")
    return values.reshape(*shape, 1) if rank == 3 else values.reshape(shape)
