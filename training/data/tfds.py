"""Data sets of tensorflow-datasets."""

import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.data import images
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import Split

# Images up to this many pixels a side are used at their own size and without
# cropping: a crop of a thumbnail loses the object.
SMALL = 64

# Their test images come without labels.
UNLABELLED_TEST = ("imagenet2012",)


def load(name, validation_fraction):
    """Returns the `Source` of an image classification data set.

    Args:
        name: As for `tfds.load`, for instance `"cifar10"`.
        validation_fraction: Share of the training images to keep back where
            the data set has no validation split.
    """
    require("train", f"The data set 'tfds:{name}'", "tensorflow_datasets")
    import tensorflow_datasets as tfds

    builder = _builder(tfds, name)
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()):
        raise InputError(
            f"'tfds:{name}' must have the features 'image' and 'label'. "
            f"Found: {', '.join(sorted(features or ()))}"
        )
    channels = features["image"].shape[-1] or 3
    height, width = features["image"].shape[:2]
    small = height is not None and max(height, width) <= SMALL
    return Source(
        **_splits(tfds, builder, validation_fraction, channels),
        class_names=tuple(features["label"].names),
        channels=channels,
        image_size=max(height, width) if small else 224,
        augmentation="shift-flip" if small else "crop-flip",
        crop_fraction=1.0 if small else 0.875,
    )


def _builder(tfds, name):
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"tensorflow-datasets has no data set {name!r}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    if not builder.is_prepared():
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise InputError(
                f"The data set 'tfds:{name}' is not in {builder.data_dir} and "
                f"could not be prepared there: {str(error).splitlines()[0]}"
            ) from error
    return builder


def _splits(tfds, builder, fraction, channels):
    """Returns the train, validation and test `Split`."""
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
    labelled = "test" in names and builder.name not in UNLABELLED_TEST
    wanted["test"] = "test" if labelled else None

    def split(spec):
        if spec is None:
            return None
        dataset = builder.as_dataset(
            split=spec,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        return Split(
            dataset.map(lambda e: (e["image"], tf.cast(e["label"], tf.int32))),
            builder.info.splits[spec].num_examples,
            load=lambda content: images.decode(content, channels),
        )

    return {part: split(spec) for part, spec in wanted.items()}
