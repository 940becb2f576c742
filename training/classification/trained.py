"""A trained classifier with what belongs to it."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.applications.image_settings import numbered_labels
from eca_keras.errors import InputError
from eca_keras.images.decode import read_for_user
from eca_keras.images.resize import shown_size
from eca_keras.training.classification.batches import evaluation_feed
from eca_keras.training.classification.model import normalization
from eca_keras.training.classification.objective import Classification
from eca_keras.training.data import load_source
from eca_keras.training.run.evaluation import Evaluator
from eca_keras.training.trained import Trained
from eca_keras.training.trained import evenly
from eca_keras.weights import load_model

# Images to compare an exported file with the Keras model on. Of integers the
# agreement is a fraction, not a bound.
SAMPLES = 32
INTEGER_SAMPLES = 256
REPRESENTATIVE_IMAGES = 256


@dataclasses.dataclass(frozen=True)
class TrainedClassifier(Trained):
    """A classifier that `train` or `convert` wrote.

    The model takes values in [0, 255]: what was saved without normalization
    has it in front. `settings` is its `Preprocessing`.
    """

    kind = "classifier"
    batch_size = 64

    @classmethod
    def _load_settings(cls, path):
        preprocessing = Preprocessing.load(path)
        if not preprocessing.labels:
            raise InputError(
                f"{path} has no classifier: it turns images into features"
            )
        return preprocessing

    @classmethod
    def _load_model(cls, path, settings, opening):
        network = load_model(path, **opening)
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            raise InputError(
                f"{path} must have one input and one output to be a "
                f"classifier. It has {len(network.inputs)} and "
                f"{len(network.outputs)}"
            )
        if settings.mean is None:
            return network
        images = keras.Input(network.input_shape[1:], name="images")
        x = normalization(settings.mean, settings.std)(images)
        return keras.Model(images, network(x), name=network.name)

    @property
    def preprocessing(self) -> Preprocessing:
        """What an image goes through before the model."""
        return self.settings

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.settings.labels

    def predict(self, path) -> list[tuple[str, float]]:
        """Classify an image file.

        Returns:
            All `(label, probability)` pairs, the likeliest first.

        Raises:
            InputError: if it is not a readable image.
        """
        image = self.shown(read_for_user(path, self.settings.channels))
        outputs = self.model(image[None], training=False)
        probabilities = np.asarray(outputs)[0]
        order = np.argsort(-probabilities)
        return [(self.class_names[i], float(probabilities[i])) for i in order]

    def shown(self, image):
        """Return an image as the model takes it, resized and cropped."""
        return shown_size(
            image,
            self.settings.image_size,
            self.settings.crop_fraction,
            self.settings.interpolation,
        )

    @property
    def network(self) -> keras.Model:
        """The model whose layers `eca-keras visualize` looks at."""
        return self.model

    def inputs(self, images):
        """Return what `network` takes, from images that `shown` returned."""
        return images

    def samples(self, count=SAMPLES, split=None, data=None):
        """Return up to `count` images of the data, as the model takes them.

        Args:
            count: How many, taken at equal distances.
            split: See `Trained.split`.
            data: As in `TrainConfig`; by default that of the run.

        Returns:
            Array of shape `(count, image_size, image_size, channels)` in the
            dtype of the model's input; `None` for a converted model, which
            has no data of its own.
        """
        if data is None and self.settings.mean and not self.config:
            return None
        images, _ = self.split(self.source(data)[0], split)
        shown = [
            self.shown(images.read(index)).numpy()
            for index in evenly(images.size, count)
        ]
        dtype = keras.backend.standardize_dtype(self.model.inputs[0].dtype)
        return np.stack(shown).astype(dtype)

    def _open(self, config):
        return load_source(
            config["data"],
            config.get("validation_fraction", 0.1),
            on_bad_image=config.get("on_bad_image", "fail"),
        )

    def _check_classes(self, source, data):
        ours = self.class_names
        numbered = ours == numbered_labels(len(ours))
        # Classes without names are taken to be in the order of the data's.
        if not numbered or len(source.class_names) != len(ours):
            super()._check_classes(source, data)
        if source.channels != self.settings.channels:
            raise InputError(
                f"data={data!r} has {source.channels} channels, the model "
                f"takes {self.settings.channels}"
            )

    def _measure(self, cluster, model, split, batch_size):
        feed = evaluation_feed(
            cluster.strategy,
            split,
            on_bad_image=self.config.get("on_bad_image", "fail"),
            batch_size=batch_size,
            image_size=self.settings.image_size,
            crop_fraction=self.settings.crop_fraction,
            interpolation=self.settings.interpolation,
        )
        evaluator = Evaluator(cluster, Classification(model))
        return split.size, evaluator.evaluate(feed.batches())

    def _for_export(self, row, data, options):
        quantize = options.get("quantize")
        integers = quantize in ("dynamic", "int8")
        count = INTEGER_SAMPLES if integers else SAMPLES
        arguments = {}
        if "samples" not in options:
            arguments["samples"] = self.samples(count, data=data)
        if quantize == "int8" and "representative" not in options:
            images = self.samples(REPRESENTATIVE_IMAGES, "train", data)
            if images is None:
                raise InputError(
                    "`quantize='int8'` needs images to learn ranges from, and "
                    f"{self.path} has no data of its own: name some by `data`, "
                    "or pass `representative`"
                )
            arguments["representative"] = images
        optional = "with_preprocessing" in row.options
        if options.pop("with_preprocessing", not optional):
            # This model normalizes by itself.
            arguments["preprocessing"] = dataclasses.replace(
                self.settings, mean=None, std=None
            )
        return self.model, arguments
