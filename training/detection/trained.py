"""A trained detector with what belongs to it."""

import dataclasses
import json
import pathlib

import keras
import numpy as np

from eca_keras.applications.detection.detector import Detector
from eca_keras.errors import InputError
from eca_keras.images.decode import read_for_user
from eca_keras.training.detection.data import evaluation_feed
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.data import resize_to_fit
from eca_keras.training.detection.evaluation import DetectionEvaluator
from eca_keras.training.detection.results import in_file
from eca_keras.training.detection.settings import DetectionSettings
from eca_keras.training.detection.task import Detection
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.cluster import check_batch_size
from eca_keras.training.trained import few
from eca_keras.training.trained import read_network

# Images to compare an exported file with the Keras model on.
SAMPLES = 8

# Settings of a run that say what its data is.
_DATA = ("data", "validation_fraction", "on_bad_image", "on_bad_annotation")


@dataclasses.dataclass(frozen=True)
class TrainedDetector:
    """A detector that `train` wrote.

    Attributes:
        path: The `.keras` file.
        model: The detector, not compiled, for images as `preprocess_input`
            makes them.
        settings: `DetectionSettings`.
    """

    path: pathlib.Path
    model: keras.Model
    settings: DetectionSettings

    @classmethod
    def load(cls, path):
        """Loads a detector.

        Args:
            path: Folder of a run (its `model.keras` is meant), or a
                `.keras` file in it.

        Raises:
            InputError: if something is missing or damaged.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / "model.keras"
        if not path.is_file():
            raise InputError(
                f"There is no trained detector {path}: run `eca-keras detect "
                "train` first, or name the folder of a run"
            )
        settings = DetectionSettings.load(path)
        return cls(path, _read_detector(path, settings), settings)

    @property
    def masks(self):
        """Whether it finds masks."""
        return "mask_loss" in self.model.LOSSES

    def evaluate(
        self, data=None, part="validation", batch_size=8, strategy="auto"
    ):
        """Measures the detector by COCO's rules.

        Args:
            data: As in `DetectConfig`; by default that of the run.
            part: `"validation"`, `"train"`, or `"all"` images of a file in
                COCO's format.
            batch_size: Images per step.
            strategy: As in `DetectConfig`.

        Returns:
            Dictionary with what was evaluated and COCO's figures, and the
            detections, a list as in a results file of COCO.

        Raises:
            InputError: if there are no such data, or they have other classes
                than the detector.
        """
        source, options = self.source(data)
        split = source.part(part)
        with Cluster(strategy, alone=True) as cluster:
            check_batch_size(batch_size, cluster.strategy)
            with cluster.strategy.scope():
                # Variables belong to the strategy in whose scope they are
                # made.
                model = _read_detector(self.path, self.settings)
            feed = evaluation_feed(
                cluster.strategy,
                split,
                on_bad_image=options["on_bad_image"],
                batch_size=batch_size,
                input_shape=self.settings.input_shape,
            )
            task = Detection(model, self.settings)
            evaluator = DetectionEvaluator(cluster, task)
            found, image_ids = evaluator.find(split, feed.batches())
            figures = evaluator.judge(split, found, image_ids)
        return {
            "model": str(self.path),
            "data": options["data"],
            "evaluated_on": part,
            "images": len(image_ids),
            **figures,
        }, found

    def predict(self, path, threshold=0.5):
        """Finds the objects in an image file of any size.

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
        padded, resized = resize_to_fit(image, self.settings.input_shape)
        task = Detection(self.model, self.settings)
        images = np.asarray(task.normalized(padded))[None]
        sizes = np.asarray(resized, "float32")[None]
        found = self.model.predict(
            {"images": images, "sizes": sizes}, verbose=0
        )
        image = image.numpy()
        size = image.shape[:2]
        better = int((found["scores"][0] > threshold).sum())
        found["count"] = np.minimum(found["count"], better)
        return image, list(in_file(found, 0, sizes[0], size))

    def samples(self, count=SAMPLES, normalized=True, data=None):
        """Returns up to `count` images of the data, as the model takes them.

        They are taken at equal distances from the validation images.

        Args:
            count: How many.
            normalized: Whether as `preprocess_input` makes them, or pixels.
            data: As in `DetectConfig`; by default that of the run.

        Returns:
            `(images, sizes)`: a float32 array
            `(count, height, width, 3)`, uint8 for pixels, and int32
            `(count, 2)`, heights and widths inside the padding.
        """
        split = self.source(data)[0].validation
        count = min(count, split.size)
        shape = self.settings.input_shape
        shown, sizes = zip(
            *(
                resize_to_fit(split.read(i * split.size // count), shape)
                for i in range(count)
            ),
            strict=True,
        )
        images = np.stack(shown)
        if normalized:
            task = Detection(self.model, self.settings)
            images = np.asarray(task.normalized(images), "float32")
        return images, np.stack(sizes)

    def source(self, data=None):
        """Opens the data and checks that the model can be asked about it.

        Args:
            data: As in `DetectConfig`; by default that of the run.

        Returns:
            The `DetectionSource`, and the options that it was opened with.

        Raises:
            InputError: if there are no such data, or they have other classes
                than the detector.
        """
        options = self._options()
        if data is not None:
            options["data"] = data
        if "data" not in options:
            raise InputError(
                f"{self._config} does not say what data the run had: name "
                "them by `data`"
            )
        # What is found where there is nothing is wrong in any part.
        policy = {"on_bad_image": "fail", **options, "keep_empty": True}
        source = load_detection_source(**policy, masks=self.masks)
        if source.class_names != self.settings.class_names:
            raise InputError(
                f"data={policy['data']!r} has other classes than the model. "
                f"Model: {few(self.settings.class_names)}. Data: "
                f"{few(source.class_names)}"
            )
        return source, policy

    @property
    def _config(self):
        return self.path.with_name("config.json")

    def _options(self):
        """What `config.json` says about the data, nothing without one."""
        try:
            config = json.loads(self._config.read_text("utf-8"))
            return {name: config[name] for name in _DATA if name in config}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._config} is damaged: {error}") from None


def _read_detector(path, settings):
    model = read_network(path)
    if not isinstance(model, Detector):
        raise InputError(
            f"{path} is not a detector: `eca-keras evaluate` and the like "
            "are for it"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if (shape, model.num_classes) != (
        settings.input_shape,
        len(settings.class_names),
    ):
        raise InputError(
            f"{path.with_name(settings.FILE)} is not the one of {path}, which "
            f"has {model.num_classes} classes and images of shape {shape}"
        )
    return model
