"""From pixels to a network's input, and from its output to class names."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from eca_keras.utils import checks
from eca_keras.utils.types import DataFormat
from eca_keras.utils.types import Normalization
from eca_keras.utils.types import Tensors

# Mean and standard deviation of ImageNet's RGB values in [0, 1], the ones of
# torchvision, with which the weights of ECA-Net were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocess_input(
    x: Tensors,
    data_format: DataFormat = None,
    *,
    preprocessing: Normalization | None = None,
) -> Tensors:
    """Scale RGB values to [0, 1] and normalize them by ImageNet's mean and std.

    This is the `"torch"` mode of `keras.applications`. The argument itself
    is never changed.

    Args:
        x: NumPy array or tensor of RGB values in [0, 255], any dtype.

            - `channels_last`: `(..., 3)`
            - `channels_first`: `(3, height, width)` or
              `(batch, 3, height, width)`

        data_format: `"channels_last"`, `"channels_first"` or `None`, which
            stands for `keras.config.image_data_format()`.
        preprocessing: A `Preprocessing`, such as
            `eca_keras.weights.preprocessing("ECAResNet50T")`, whose `mean`
            and `std` are taken instead of ImageNet's.

    Returns:
        An array or tensor of the shape of `x`. Floating-point input keeps
        its dtype, other input becomes `keras.config.floatx()`.

    Raises:
        ValueError: if `data_format` is unknown, `x` has not 3 channels, or
            `preprocessing` has no mean of 3 channels.

    Example:

    >>> import numpy as np
    >>> x = np.full((1, 2, 2, 3), 255, dtype="uint8")
    >>> [round(float(value), 2) for value in preprocess_input(x)[0, 0, 0]]
    [2.25, 2.43, 2.64]
    """
    data_format = checks.data_format(data_format)
    mean, std = _mean_and_std(preprocessing)
    shape = np.shape(x) if isinstance(x, (list, tuple)) else tuple(x.shape)
    axis = -1 if data_format == "channels_last" else -3
    if len(shape) < 3 or shape[axis] != 3:
        rule = f"must be that of images with 3 channels, {data_format}"
        raise checks.refusal("x.shape", shape, rule)
    if isinstance(x, (np.ndarray, list, tuple)):
        x = np.asarray(x)
        if not np.issubdtype(x.dtype, np.floating):
            x = x.astype(keras.config.floatx())
        as_constant = np.asarray
    else:
        dtype = keras.backend.standardize_dtype(x.dtype)
        if "float" not in dtype:
            x = ops.cast(x, keras.config.floatx())
        as_constant = ops.convert_to_tensor
    channel_shape = (3,) if axis == -1 else (3, 1, 1)
    mean = np.reshape(mean, channel_shape)
    std = np.reshape(std, channel_shape)
    return (x / 255.0 - as_constant(mean, dtype=x.dtype)) / as_constant(
        std, dtype=x.dtype
    )


def _mean_and_std(preprocessing):
    if preprocessing is None:
        return IMAGENET_MEAN, IMAGENET_STD
    if preprocessing.mean is None or len(preprocessing.mean) != 3:
        rule = (
            "must have a mean of 3 channels: a network without one takes "
            "values in [0, 255]"
        )
        raise checks.refusal("preprocessing", preprocessing, rule)
    return preprocessing.mean, preprocessing.std


def mean_pixel(mean: Sequence[float] = IMAGENET_MEAN) -> tuple[int, ...]:
    """Return the pixel of [0, 255] that is nearest to 0 once normalized.

    What is around an image has this colour, so that it looks like nothing to
    a network.

    Args:
        mean: Mean per channel of values in [0, 1].

    Returns:
        Tuple of integers, one per channel.

    Example:

    >>> mean_pixel()
    (124, 116, 104)
    """
    return tuple(round(255 * value) for value in mean)


def decode_predictions(
    preds: Tensors, top: int = 5
) -> list[list[tuple[str, str, float]]]:
    """Name the likeliest ImageNet classes of each prediction.

    Args:
        preds: Array or tensor of shape `(batch, 1000)`.
        top: Integer, how many classes to return for each image.

    Returns:
        For each image a list of `top` tuples
        `(class_name, class_description, score)`, best first.

    Raises:
        ValueError: if `preds` has another shape.
        OSError: if the class names are neither cached nor downloadable.
    """
    if len(preds.shape) != 2 or preds.shape[1] != 1000:
        rule = "must be (samples, 1000), that of a batch of predictions"
        raise checks.refusal("preds.shape", tuple(preds.shape), rule)
    preds = ops.convert_to_numpy(preds)
    try:
        return keras.applications.imagenet_utils.decode_predictions(
            preds, top=top
        )
    except Exception as error:  # keras.utils.get_file raises bare Exception
        if not _is_download_failure(error):
            raise
    raise OSError(
        "`decode_predictions` could not download ImageNet's class names. "
        "Connect to the network once, or copy the `imagenet_class_index.json` "
        "of keras.applications to ~/.keras/models (or $KERAS_HOME/models)."
    )


def _is_download_failure(error):
    return isinstance(error, OSError) or "URL fetch failure" in str(error)
