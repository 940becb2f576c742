"""A trained detector with what belongs to it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from eca_keras.applications.detection.detector import Detector
from eca_keras.errors import InputError
from eca_keras.export.formats import KIND_OPTIONS
from eca_keras.images.decode import read_for_user
from eca_keras.training.detection.batches import evaluation_feed
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.evaluation import DetectionEvaluator
from eca_keras.training.detection.objective import Detection
from eca_keras.training.detection.results import Found
from eca_keras.training.detection.results import in_file
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.detection.transforms import resize_to_fit
from eca_keras.training.trained import Trained
from eca_keras.training.trained import evenly
from eca_keras.utils.files import write_text
from eca_keras.weights import load_model

# Images to compare an exported file with the Keras model on.
SAMPLES = 8

# Settings of a run that say what its data is.
_DATA = ("data", "validation_fraction", "on_bad_image", "on_bad_annotation")


@dataclasses.dataclass(frozen=True)
class TrainedDetector(Trained):
    """A detector that `train` wrote.

    The model takes images as `preprocess_input` makes them. `settings` is its
    `DetectionSettings`.
    """

    kind = "detector"
    batch_size = 8

    @classmethod
    def _load_settings(cls, path):
        return DetectionSettings.load(path)

    @classmethod
    def _load_model(cls, path, settings, opening):
        model = load_model(path, **opening)
        if not isinstance(model, Detector):
            raise InputError(
                f"{path.with_name(settings.FILE)} must be beside a detector. "
                f"{path} is none"
            )
        shape = tuple(model.inputs[0].shape[1:])
        if (shape, model.num_classes) != (
            settings.input_shape,
            len(settings.class_names),
        ):
            raise InputError(
                f"{path.with_name(settings.FILE)} is not the one of {path}, "
                f"which has {model.num_classes} classes and images of shape "
                f"{shape}"
            )
        return model

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.settings.class_names

    @property
    def masks(self) -> bool:
        """Whether it predicts masks."""
        return "mask_loss" in self.model.LOSSES

    def predict(
        self, path, threshold: float = 0.5
    ) -> tuple[np.ndarray, list[Found]]:
        """Detect the objects in an image file of any size.

        Args:
            path: The file.
            threshold: Detections have a higher score.

        Returns:
            The image, a uint8 array `(height, width, 3)`, and a list of
            `Found`, the best first.

        Raises:
            InputError: if it is not a readable image.
        """
        image = read_for_user(path, self.settings.channels)
        return image.numpy(), self.detect(image, threshold)

    def detect(self, image, threshold: float = 0.5) -> list[Found]:
        """Detect the objects in an image.

        Args:
            image: uint8 tensor `(height, width, 3)`.
            threshold: Detections have a higher score.

        Returns:
            List of `Found`, the best first.
        """
        padded, resized = resize_to_fit(image, self.settings.input_shape)
        task = Detection(self.model, self.settings)
        images = np.asarray(task.normalized(padded))[None]
        sizes = np.asarray(resized, "float32")[None]
        found = self.model.predict(
            {"images": images, "sizes": sizes}, verbose=0
        )
        better = int((found["scores"][0] > threshold).sum())
        found["count"] = np.minimum(found["count"], better)
        return list(in_file(found, 0, sizes[0], image.shape[:2]))

    def shown(self, image):
        """Return an image as the model takes it, resized and padded."""
        return resize_to_fit(image, self.settings.input_shape)[0]

    @property
    def network(self):
        """The model whose layers `eca-keras visualize` looks at."""
        return self.model.backbone

    def inputs(self, images):
        """Return what `network` takes, from images that `shown` returned."""
        task = Detection(self.model, self.settings)
        return np.asarray(task.normalized(images), "float32")

    def samples(self, count=SAMPLES, split=None, data=None, normalized=True):
        """Return up to `count` images of the data, as the model takes them.

        Args:
            count: How many, taken at equal distances.
            split: See `Trained.split`.
            data: As in `DetectConfig`; by default that of the run.
            normalized: Whether as `preprocess_input` makes them, or pixels.

        Returns:
            `(images, sizes)`: a float32 array
            `(count, height, width, 3)`, uint8 for pixels, and int32
            `(count, 2)`, heights and widths inside the padding.
        """
        images, _ = self.split(self.source(data)[0], split)
        shape = self.settings.input_shape
        pairs = [
            resize_to_fit(images.read(index), shape)
            for index in evenly(images.size, count)
        ]
        shown, sizes = (np.stack(each) for each in zip(*pairs, strict=True))
        if normalized:
            task = Detection(self.model, self.settings)
            shown = np.asarray(task.normalized(shown), "float32")
        return shown, sizes

    def _open(self, config):
        # Objects that are found where there are none count in any split.
        options = {name: config[name] for name in _DATA if name in config}
        return load_detection_source(
            **options, keep_empty=True, masks=self.masks
        )

    def _measure(self, cluster, model, split, batch_size, results=None):
        feed = evaluation_feed(
            cluster.strategy,
            split,
            on_bad_image=self.config.get("on_bad_image", "fail"),
            batch_size=batch_size,
            input_shape=self.settings.input_shape,
        )
        objective = Detection(model, self.settings)
        evaluator = DetectionEvaluator(cluster, objective)
        found, image_ids = evaluator.find(split, feed.batches())
        metrics = evaluator.judge(split, found, image_ids)
        if results is not None:
            write_text(results, json.dumps(found) + "\n")
        return len(image_ids), metrics

    def _for_export(self, row, data, options):
        from eca_keras.export import DetectionEndpoint

        interface = {
            name: options.pop(name)
            for name in KIND_OPTIONS["detector"]
            if name in options
        }
        endpoint = DetectionEndpoint(
            self.model, preprocessing=self.settings, **interface
        )
        if "samples" in options:
            return endpoint, {}
        images, sizes = self.samples(
            data=data, normalized=endpoint.pixels is None
        )
        samples = {"images": images}
        if endpoint.sizes:
            samples["sizes"] = sizes
        return endpoint, {"samples": samples}
