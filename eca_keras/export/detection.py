"""What the file of a detector takes and returns."""

from __future__ import annotations

import reprlib
from typing import Any
from typing import ClassVar
from typing import Literal

import numpy as np

from eca_keras.applications.detection.detector import Detector
from eca_keras.applications.image_settings import DETECTION_FILE
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.applications.preprocessing import mean_pixel
from eca_keras.applications.preprocessing import preprocess_input
from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.checking import detector as detection_report
from eca_keras.export.checking import samples as sampling
from eca_keras.export.checking.pairs import Limits
from eca_keras.export.checking.pairs import Pairs
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import Endpoint
from eca_keras.export.metadata import Metadata
from eca_keras.export.metadata import check_labels
from eca_keras.utils import checks
from eca_keras.utils.types import Normalization

SIZES = "sizes"
SHAPE = ("height", "width", "channels")

# Of float32, where all should agree: an NMS that is decided by the last digit
# of an IoU keeps another box in another runtime.
EXACT_AGREEMENT = 0.99

# Heights and widths of images within the padding, as fractions of it.
PARTS = ((1, 1), (1, 0.75), (0.75, 1))


class DetectionEndpoint(Endpoint):
    """A detector to export, with what its file takes.

    `export_saved_model`, `export_tflite` and `export_onnx` take one, or a
    detector alone for one with the defaults. The whole detector is in the
    file: the decoding of the boxes, the NMS, the masks.

    The file takes `images` of shape `(batch, height, width, channels)`, the
    detector's `input_shape`: images that keep their ratio, padded at the
    right and at the bottom. Its outputs are those of `predict`, best
    detections first: `boxes` `(batch, max_detections, 4)`, float32 corners
    `(x1, y1, x2, y2)` in pixels of `images`, `scores` and int32 `labels`
    `(batch, max_detections)`, int32 `count` `(batch,)`, and of a Mask R-CNN
    `masks` `(batch, max_detections, 28, 28)`, probabilities within the box.
    Entries beyond the count are 0, with label -1.

    Args:
        detector: A `RetinaNet`, `FasterRCNN` or `MaskRCNN`.
        sizes: Whether the file takes `sizes` as well, int32 `(batch, 2)`:
            heights and widths of the images within the padding, to which
            boxes are clipped. Without, boxes may reach into the padding.
        pixels: `None` for images as `preprocess_input` makes them, or
            `"uint8"` or `"float32"` for pixels from 0 to 255 of this type,
            padded with their mean pixel, which the file normalizes.
        preprocessing: `Preprocessing`, or the `settings` of a
            `TrainedDetector`, with the `mean` and `std` to normalize images
            with; `None` for ImageNet's.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> from eca_keras.applications import ECAResNet18
    >>> from eca_keras.applications.detection import RetinaNet
    >>> detector = RetinaNet(
    ...     ECAResNet18(include_top=False),
    ...     num_classes=3,
    ...     input_shape=(64, 96, 3),
    ...     filters=32,
    ... )
    >>> endpoint = DetectionEndpoint(detector, sizes=True, pixels="uint8")
    >>> {name: spec.dtype.name for name, spec in endpoint.specs().items()}
    {'images': 'uint8', 'sizes': 'int32'}
    """

    tolerance: ClassVar[float] = 1e-4

    # Feature maps of large images are hundreds of megabytes.
    max_batch: ClassVar[int] = 2

    # Before, ONNX had no GatherND of batches.
    least_opset: ClassVar[int] = 12

    def __init__(
        self,
        detector: Detector,
        *,
        sizes: bool = False,
        pixels: Literal["uint8", "float32"] | None = None,
        preprocessing: Normalization | None = None,
    ):
        checks.check(
            "detector",
            detector,
            isinstance(detector, Detector),
            "must be a RetinaNet, FasterRCNN or MaskRCNN",
        )
        checks.check(
            "pixels",
            pixels,
            pixels in (None, "uint8", "float32"),
            "must be None, 'uint8' or 'float32'",
        )
        checks.check(
            "preprocessing",
            preprocessing,
            preprocessing is None or preprocessing.mean is not None,
            "must have a mean and a standard deviation: a detector takes "
            "normalized images",
        )
        super().__init__(detector)
        self.sizes = sizes
        self.pixels = pixels
        self.preprocessing = preprocessing
        if pixels is not None and self.image_shape[-1] != 3:
            raise InputError(
                "`pixels` must be None for a detector of images that have "
                "not 3 channels: these are normalized in a way of their own. "
                f"Received: pixels={pixels!r}, images of {self.image_shape}"
            )

    def __call__(  # type: ignore[override]
        self, images: Any, sizes: Any = None
    ) -> dict[str, Any]:
        if self.pixels is not None:
            images = preprocess_input(
                images, "channels_last", preprocessing=self.preprocessing
            )
        return self.model.detect(self.model(images, training=False), sizes)

    def on(self, model):
        return DetectionEndpoint(
            model,
            sizes=self.sizes,
            pixels=self.pixels,
            preprocessing=self.preprocessing,
        )

    def specs(self, batch_size=None, shape=None):
        specs = super().specs(batch_size, shape)
        if self.pixels is not None:
            images = tf.TensorSpec(
                specs[INPUT_NAME].shape, self.pixels, INPUT_NAME
            )
            specs[INPUT_NAME] = images
        if self.sizes:
            specs[SIZES] = tf.TensorSpec((batch_size, 2), "int32", SIZES)
        return specs

    def metadata(self, labels, preprocessing):
        if preprocessing is not None:
            raise InputError(
                "`preprocessing` must be None for a detector: give it to "
                "`DetectionEndpoint`. Received: "
                f"preprocessing={preprocessing!r}"
            )
        check_labels(labels, self.model.num_classes)
        mean, std = self._mean_and_std()
        padding = None if mean is None else mean_pixel(mean)
        if self.pixels is not None:
            mean, std = None, None  # the file normalizes
        fields = {
            "class_names": labels,
            **dict(zip(SHAPE, self.image_shape, strict=True)),
            "mean": mean,
            "std": std,
            "padding": padding,
        }
        return Metadata(labels, fields, DETECTION_FILE)

    def _mean_and_std(self):
        """What images are normalized with, before the file or in it."""
        if self.image_shape[-1] != 3:
            return None, None
        if self.preprocessing is None:
            return IMAGENET_MEAN, IMAGENET_STD
        return self.preprocessing.mean, self.preprocessing.std

    def check_quantization(self, quantize):
        checks.check(
            "quantize",
            quantize,
            quantize in ("none", "float16"),
            "must be 'none' or 'float16' for a detector: in 8 bits boxes move "
            "by pixels, and NMS keeps other detections",
        )

    def samples(self, samples, shape, count=sampling.COUNT):
        images, sizes = samples, None
        if isinstance(samples, dict):
            if not {INPUT_NAME} <= set(samples) <= {INPUT_NAME, SIZES}:
                raise InputError(
                    f"`samples` must have `{INPUT_NAME}`, and may have "
                    f"`{SIZES}`. Received: {checks.listed(samples) or 'none'}"
                )
            images, sizes = samples.get(INPUT_NAME), samples.get(SIZES)
        if images is None and self.pixels is not None:
            images = sampling.pixels(count, shape)
        if images is None:
            images = sampling.generate(self.model, shape, count)
        dtype = self.specs()[INPUT_NAME].dtype.as_numpy_dtype
        images = sampling.checked(images, shape, dtype)
        if not self.sizes:
            if sizes is not None:
                raise InputError(
                    "`samples` must be images alone for a file that takes no "
                    "sizes: `DetectionEndpoint(detector, sizes=True)` does. "
                    "Received: samples with sizes"
                )
            return {INPUT_NAME: images}
        if sizes is None:
            # Of some only a part, to see that the file uses it.
            parts = np.resize(PARTS, (len(images), 2))
            sizes = np.ceil(parts * images.shape[1:3])
        return {INPUT_NAME: images, SIZES: _checked_sizes(sizes, images)}

    def change(self, before, after):
        limits = Limits.of(self.tolerance)
        threshold = self.model.score_threshold
        pairs = Pairs(before, after, limits, threshold)
        return (
            f"moves boxes by up to {pairs.max_box_error:.1e} px and changes "
            f"scores by up to {pairs.max_score_error:.1e}; of "
            f"{pairs.total} detections {pairs.total - pairs.paired} go and "
            f"{pairs.found - pairs.paired} come"
        )

    def compare(self, expected, actual, *, numbers, least_agreement, **fields):
        if numbers.weights == "float32":
            least_agreement = EXACT_AGREEMENT
        return detection_report.compare(
            expected,
            actual,
            threshold=self.model.score_threshold,
            least_agreement=least_agreement,
            **fields,
        )


def _checked_sizes(sizes, images):
    """Return heights and widths for images as int32."""
    sizes = np.asarray(sizes)
    count, *limits = images.shape[:3]
    whole = sizes.shape == (count, 2) and np.array_equal(
        sizes, np.round(sizes).clip(1, limits)
    )
    if not whole:
        raise InputError(
            "`samples` must have `sizes` of shape (count, 2), whole numbers "
            f"from 1 to {limits} for each of the {count} images. Received: "
            f"sizes={reprlib.repr(sizes.tolist())}"
        )
    return sizes.astype("int32")
