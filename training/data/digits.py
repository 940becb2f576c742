"""Handwritten digits that come with scikit-learn: no network needed.

1,797 scans of 8 x 8 pixels with 16 grey levels, the test set of [Optical
Recognition of Handwritten Digits](https://doi.org/10.24432/C50P49).
"""

from eca_keras.errors import require
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import array_split
from eca_keras.training.data.source import hold_out

TEST_FRACTION = 0.2


def load(argument, validation_fraction):
    """Return the `Source`; a fifth of the images is for testing."""
    require("train", "The dataset 'digits'", "sklearn")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype("uint8")[..., None]
    labels = digits.target
    rest, test = hold_out(labels, TEST_FRACTION)
    train, validation = hold_out(labels[rest], validation_fraction)
    train, validation = rest[train], rest[validation]
    return Source(
        train=array_split(images[train], labels[train]),
        validation=array_split(images[validation], labels[validation]),
        test=array_split(images[test], labels[test]),
        class_names=tuple(str(digit) for digit in digits.target_names),
        channels=1,
        image_size=16,
        augmentation="shift",
    )
