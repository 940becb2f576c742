"""Where training images come from."""

from eca_keras.errors import InputError
from eca_keras.training.data import digits
from eca_keras.training.data import fashion_mnist
from eca_keras.training.data import folder
from eca_keras.training.data import tfds
from eca_keras.training.data.feed import check_bad_image
from eca_keras.training.data.source import Source
from eca_keras.training.data.source import Split

__all__ = ["Source", "Split", "load_source"]

_LOADERS = {
    "digits": digits.load,
    "fashion-mnist": fashion_mnist.load,
    "folder": folder.load,
    "tfds": tfds.load,
}


def load_source(
    data, validation_fraction=0.1, check_images=True, on_bad_image="fail"
):
    """Open a dataset.

    Args:
        data: `"digits"`, `"fashion-mnist"`, `"fashion-mnist:FOLDER"`,
            `"folder:PATH"` or `"tfds:NAME"`.
        validation_fraction: Fraction of the training images to keep for
            validation, where the data has no such split.
        check_images: Decode every file of a folder once to find unreadable
            ones.
        on_bad_image: `"fail"`, or `"skip"` where unreadable files are dealt
            with later, see `feed`: then they are not looked for.

    Returns:
        A `Source`.

    Raises:
        InputError: if there is no such data or it cannot be used.
    """
    kind, _, argument = data.partition(":")
    takes_argument = kind != "digits"
    if kind not in _LOADERS or (argument and not takes_argument):
        raise InputError(
            "`data` must be 'digits', 'fashion-mnist', "
            "'fashion-mnist:FOLDER', 'folder:PATH' or 'tfds:NAME'. "
            f"Received: data={data!r}"
        )
    check_bad_image(on_bad_image)
    if kind == "folder":
        check_images = check_images and on_bad_image == "fail"
        return folder.load(argument, validation_fraction, check_images)
    return _LOADERS[kind](argument, validation_fraction)
