"""A trained or converted model with what belongs to it."""

import dataclasses
import json
import pathlib
import zipfile

import keras
import numpy as np

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.applications.image_settings import numbered_labels
from eca_keras.errors import InputError
from eca_keras.images.decode import read_for_user
from eca_keras.images.resize import shown_size
from eca_keras.training.classification.model import normalization
from eca_keras.training.classification.task import Classification
from eca_keras.training.data import load_source
from eca_keras.training.data.feed import evaluation_feed
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.cluster import check_batch_size
from eca_keras.training.run.evaluation import Evaluator

# Images to compare an exported file with the Keras model on.
SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that `train` or `convert` wrote.

    Attributes:
        path: The `.keras` file.
        model: The model, not compiled. It takes values in [0, 255]: what
            was saved without normalisation has it in front.
        preprocessing: What an image goes through before the model.
    """

    path: pathlib.Path
    model: keras.Model
    preprocessing: Preprocessing

    @classmethod
    def load(cls, path):
        """Loads a model.

        Args:
            path: Folder of a run (its `model.keras` is meant), or a
                `.keras` file.

        Raises:
            InputError: if something is missing or damaged.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / "model.keras"
        if not path.is_file():
            raise InputError(
                f"There is no trained model {path}: run `eca-keras train` "
                "first, or name the folder of a run"
            )
        preprocessing = Preprocessing.load(path)
        if not preprocessing.labels:
            raise InputError(
                f"{path} has no classifier: it turns images into features"
            )
        return cls(path, _load_model(path, preprocessing), preprocessing)

    @property
    def folder(self):
        return self.path.parent

    def evaluate(self, data=None, part=None, batch_size=64, strategy="auto"):
        """Measures the model, see `evaluation.evaluate`.

        Args:
            data: As in `TrainConfig`; by default that of the run.
            part: `"train"`, `"validation"`, `"test"`; by default the test
                images, or the validation images where there are none.
            batch_size: Images per step.
            strategy: As in `TrainConfig`.

        Returns:
            Dictionary with what was evaluated, and the figures.
        """
        source, data = self.source(data)
        part = part or ("validation" if source.test is None else "test")
        split = getattr(source, part)
        if split is None:
            raise InputError(f"data={data!r} has no part {part!r}")
        with Cluster(strategy, alone=True) as cluster:
            check_batch_size(batch_size, cluster.strategy)
            with cluster.strategy.scope():
                # Variables belong to the strategy in whose scope they are
                # made.
                model = _load_model(self.path, self.preprocessing)
            feed = self._feed(split, batch_size, cluster.strategy)
            evaluator = Evaluator(cluster, Classification(model))
            figures = evaluator.evaluate(feed.batches())
        return {
            "model": str(self.path),
            "data": data,
            "evaluated_on": part,
            "images": split.size,
            **figures,
        }

    def predict(self, path):
        """Classifies an image file.

        Returns:
            All `(label, probability)` pairs, the likeliest first.
        """
        settings = self.preprocessing
        image = read_for_user(path, settings.channels)
        image = shown_size(
            image,
            settings.image_size,
            settings.crop_fraction,
            settings.interpolation,
        )
        shares = np.asarray(self.model(image[None], training=False))[0]
        order = np.argsort(-shares)
        return [(settings.labels[i], float(shares[i])) for i in order]

    def samples(self, count=SAMPLES, part=None):
        """Returns up to `count` images of the data, as the model takes them.

        They are taken at equal distances, since a folder is sorted by class,
        from `part`, `"train"` or `"validation"`, or by default from what the
        model is evaluated on. Their dtype is the one of the model's input,
        their shape `(count, image_size, image_size, channels)`. `None` for a
        converted model, which has no data of its own.
        """
        if self.preprocessing.mean and not self._config.is_file():
            return None
        source, _ = self.source(None)
        split = getattr(source, part) if part else source.test
        split = split or source.validation
        count = min(count, split.size)
        places = [i * split.size // count for i in range(count)]
        settings = self.preprocessing
        shown = [
            shown_size(
                split.read(place),
                settings.image_size,
                settings.crop_fraction,
                settings.interpolation,
            ).numpy()
            for place in places
        ]
        dtype = keras.backend.standardize_dtype(self.model.inputs[0].dtype)
        return np.stack(shown).astype(dtype)

    def _feed(self, split, batch_size, strategy):
        return evaluation_feed(
            strategy,
            split,
            batch_size=batch_size,
            image_size=self.preprocessing.image_size,
            crop_fraction=self.preprocessing.crop_fraction,
            interpolation=self.preprocessing.interpolation,
        )

    @property
    def _config(self):
        return self.folder / "config.json"

    def source(self, data=None):
        """Opens the data and checks that the model can be asked about it.

        Args:
            data: As in `TrainConfig`; by default that of the run.

        Returns:
            The `Source`, and its name.

        Raises:
            InputError: if there are no such data, or they have other classes
                or channels than the model.
        """
        fraction = 0.1
        if data is None:
            path = self._config
            try:
                config = json.loads(path.read_text("utf-8"))
                data = config["data"]
                fraction = config["validation_fraction"]
            except FileNotFoundError:
                raise InputError(
                    f"There is no {path} that names the data: pass `data`"
                ) from None
            except (ValueError, KeyError) as error:
                raise InputError(f"{path} is damaged: {error}") from None
        source = load_source(data, fraction)
        settings = self.preprocessing
        count = len(settings.labels)
        # Classes without names are taken to be in the order of the data's.
        named = settings.labels != numbered_labels(count)
        if (named and source.class_names != settings.labels) or (
            len(source.class_names) != count
        ):
            raise InputError(
                f"data={data!r} has other classes than the model. Model: "
                f"{few(settings.labels)}. Data: {few(source.class_names)}"
            )
        if source.channels != settings.channels:
            raise InputError(
                f"data={data!r} has {source.channels} channels, the model "
                f"takes {settings.channels}"
            )
        return source, data


def few(names):
    """The first ones of some names, for a message."""
    shown = ", ".join(names[:10])
    return f"{shown}, ... ({len(names)})" if len(names) > 10 else shown


def read_network(path):
    """Loads a `.keras` file, not compiled.

    Raises:
        InputError: if it is not a readable model.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (
        ValueError,
        TypeError,
        OSError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is not a readable model: {reason}") from error


def _load_model(path, preprocessing):
    network = read_network(path)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise InputError(
            f"{path} must have one input and one output to be a classifier. "
            f"It has {len(network.inputs)} and {len(network.outputs)}"
        )
    if preprocessing.mean is None:
        return network
    images = keras.Input(network.input_shape[1:], name="images")
    x = normalization(preprocessing.mean, preprocessing.std)(images)
    return keras.Model(images, network(x), name=network.name)
