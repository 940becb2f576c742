"""Where training images with objects come from."""

from eca_keras.errors import InputError
from eca_keras.training.data.feed import check_bad_image
from eca_keras.training.detection import shapes
from eca_keras.training.detection.batches import evaluation_feed
from eca_keras.training.detection.batches import training_feed
from eca_keras.training.detection.source import DetectionSource
from eca_keras.training.detection.source import DetectionSplit
from eca_keras.training.detection.transforms import resize_to_fit

__all__ = [
    "DetectionSource",
    "DetectionSplit",
    "evaluation_feed",
    "load_detection_source",
    "resize_to_fit",
    "training_feed",
]


def load_detection_source(
    data,
    *,
    validation_fraction=0.1,
    masks=False,
    on_bad_annotation="skip",
    on_bad_image="fail",
):
    """Opens a data set with objects.

    Args:
        data: `"shapes"` or `"shapes:N"`.
        validation_fraction: Share of the training images to keep back for
            validation, where the data has no such part.
        masks: Whether masks are wanted.
        on_bad_annotation: `"fail"` or `"skip"`.
        on_bad_image: `"fail"` or `"skip"`.

    Returns:
        A `DetectionSource`.

    Raises:
        InputError: if there is no such data or it cannot be used.
    """
    check_bad_image(on_bad_image)
    kind, _, argument = data.partition(":")
    if kind != "shapes":
        raise InputError(
            f"`data` must be 'shapes' or 'shapes:N'. Received: data={data!r}"
        )
    return shapes.load(argument, masks)
