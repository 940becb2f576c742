"""Datasets of tensorflow-datasets, with random access.

What is not prepared yet is prepared only if that needs no network, or if the
name ends in `?download`: without a network TFDS tries for minutes.
"""

import os
import pathlib
import urllib.error
import urllib.request

import absl.logging
import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import Split
from eca_keras.training.data.tfrecord import Records

# Images up to this many pixels a side are used at their own size and without
# cropping: a crop of a thumbnail loses the object.
SMALL = 64

# What a user has to fetch by hand, for sets that need nothing else.
MANUAL_FILES = {
    "imagenet2012": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
}

DOWNLOAD = "?download"

# Most datasets have a mirror there.
MIRROR = "https://storage.googleapis.com"
SECONDS_TO_ANSWER = 10


def load(name, validation_fraction):
    """Return the `Source` of an image classification dataset.

    It is looked for in the folder that the environment variable
    TFDS_DATA_DIR names, by default `~/tensorflow_datasets`.

    Args:
        name: As for `tfds.load`, for instance `"cifar10"`; with `?download`
            after it, it is fetched if it is not there.
        validation_fraction: Share of the training images to keep back where
            the dataset has no validation split.
    """
    require("train", f"The dataset 'tfds:{name}'", "tensorflow_datasets")
    import tensorflow_datasets as tfds

    builder = open_builder(tfds, name)
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()):
        raise InputError(
            f"'tfds:{name}' must have the features 'image' and 'label'. "
            f"Found: {', '.join(sorted(features or ()))}"
        )
    image, label = features["image"], features["label"]
    if (
        not isinstance(image, tfds.features.Image)
        or not isinstance(label, tfds.features.ClassLabel)
        or np.dtype(image.np_dtype) != np.uint8
    ):
        raise InputError(
            f"'tfds:{name}' must have images of type uint8 and class labels. "
            f"Found: image={image}, label={label}"
        )
    height, width, channels = image.shape
    small = height is not None and max(height, width) <= SMALL
    return Source(
        **_splits(builder, validation_fraction, 1 if channels == 1 else 3),
        class_names=tuple(label.names),
        channels=1 if channels == 1 else 3,
        image_size=max(height, width) if small else 224,
        augmentation="shift-flip" if small else "crop-flip",
        crop_fraction=1.0 if small else 0.875,
    )


def open_builder(tfds, name):
    """Return the builder of a dataset that is prepared.

    Args:
        tfds: The module tensorflow_datasets.
        name: As in `load`.
    """
    name, download = name.removesuffix(DOWNLOAD), name.endswith(DOWNLOAD)
    # Passed on: TFDS itself looks at the variable when it is imported.
    folder = os.environ.get("TFDS_DATA_DIR")
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity("error")  # it warns of what is said below
    try:
        builder = tfds.builder(name, data_dir=folder)
        if builder.is_prepared():
            return builder
    except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"tensorflow-datasets has no dataset {name!r}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    finally:
        absl.logging.set_verbosity(verbosity)
    manual = pathlib.Path(builder.data_dir_root, "downloads", "manual")
    files = MANUAL_FILES.get(builder.name, ())
    missing = [file for file in files if not (manual / file).is_file()]
    if missing:
        raise InputError(
            f"'tfds:{name}' is not in {builder.data_dir}: put "
            f"{' and '.join(files)} into {manual}, and it is prepared from "
            f"them. Missing: {', '.join(missing)}"
        )
    if not files and not download:
        raise InputError(
            f"'tfds:{name}' is not in {builder.data_dir}: copy it there from "
            "where it is prepared, set TFDS_DATA_DIR to the folder that has "
            f"it, or download it with data='tfds:{name}{DOWNLOAD}'"
        )
    if not files:
        _check_network(name)
    _prepare(tfds, builder, manual)
    return builder


def _prepare(tfds, builder, manual):
    config = tfds.download.DownloadConfig(
        manual_dir=manual if manual.is_dir() else None,
        try_download_gcs=False,
    )
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        raise InputError(
            f"'tfds:{builder.name}' could not be prepared in "
            f"{builder.data_dir}: {str(error).strip().splitlines()[0]}"
        ) from error


def _check_network(name):
    try:
        urllib.request.urlopen(MIRROR, timeout=SECONDS_TO_ANSWER).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except OSError as error:
        raise InputError(
            f"'tfds:{name}' cannot be downloaded, {MIRROR} does not answer: "
            f"{error}"
        ) from None


def _splits(builder, fraction, channels):
    """Return the train, validation and test `Split`."""
    names = list(builder.info.splits)
    if "train" not in names:
        raise InputError(
            f"'tfds:{builder.name}' must have a split 'train'. "
            f"Found: {', '.join(names)}"
        )
    if "validation" in names:
        wanted = {"train": "train", "validation": "validation"}
    else:
        total = builder.info.splits["train"].num_examples
        kept = total - round(fraction * total)
        if not 0 < kept < total:
            raise InputError(
                "No image is left for validation or training: "
                f"`validation_fraction` does not suit {total} images. "
                f"Received: validation_fraction={fraction}"
            )
        wanted = {
            "train": f"train[:{kept}]",
            "validation": f"train[{kept}:]",
        }
    if "test" in names:
        wanted["test"] = "test"
    splits = {
        split: _split(builder, spec, channels) for split, spec in wanted.items()
    }
    if "test" in splits:
        # The labels of some challenges, as ImageNet, are not public.
        _, labels = splits["test"].fetch(tf.constant([0], tf.int64))
        if labels[0] < 0:
            del splits["test"]
    return {"test": None, **splits}


def _split(builder, spec, channels):
    records = open_records(builder, spec)
    fields = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }

    def fetch(indices):
        examples = tf.numpy_function(records.read, [indices], tf.string)
        examples = tf.ensure_shape(examples, indices.shape)
        parsed = tf.io.parse_example(examples, fields)
        return parsed["image"], tf.cast(parsed["label"], tf.int32)

    return Split(
        size=len(records),
        fetch=fetch,
        encoded=True,
        channels=channels,
        name=f"image {{}} of {spec} of tfds:{builder.name}".format,
    )


def open_records(builder, spec):
    """Return the `Records` of a split, or what reads as they do.

    Args:
        builder: As `open_builder` returns it.
        spec: Name of the split, or a slice as `"train[:90]"`.
    """
    instructions = builder.info.splits[spec].file_instructions
    file_format = builder.info.file_format.value
    if file_format == "tfrecord":
        return Records([(i.filename, i.skip, i.take) for i in instructions])
    if file_format == "array_record":
        return _ArrayRecords(instructions)
    raise InputError(
        f"'tfds:{builder.name}' must be stored as tfrecord or array_record. "
        f"Found: {file_format}"
    )


class _ArrayRecords:
    """As `Records`, of a format that has random access."""

    def __init__(self, instructions):
        require("train", "The file format array_record", "array_record")
        from array_record.python import array_record_data_source

        self._source = array_record_data_source.ArrayRecordDataSource(
            instructions
        )

    def __len__(self):
        return len(self._source)

    def read(self, indices):
        return np.array(self._source.__getitems__(indices.tolist()), object)
