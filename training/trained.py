"""A trained or converted model with what belongs to it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing
from collections.abc import Mapping

import keras

from eca_keras.applications.image_settings import DETECTION_FILE
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import InputError
from eca_keras.export.formats import KIND_OPTIONS
from eca_keras.export.formats import format_of
from eca_keras.training.config import upgraded
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.cluster import check_batch_size
from eca_keras.training.run.folder import CONFIG
from eca_keras.utils.checks import check_choice
from eca_keras.utils.checks import listed
from eca_keras.utils.lazy import load

if typing.TYPE_CHECKING:
    from eca_keras.export.checking.report import Report

SPLITS = ("train", "validation", "test")

# Where the subclass of each kind is.
KINDS = {
    "classifier": "eca_keras.training.classification.trained:TrainedClassifier",
    "detector": "eca_keras.training.detection.trained:TrainedDetector",
}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that `train` or `convert` wrote.

    `Trained.load` returns one of the subclasses, `TrainedClassifier` or
    `TrainedDetector`, by what is in the folder.

    Attributes:
        path: The `.keras` file.
        model: The model, not compiled.
        settings: `Preprocessing` or `DetectionSettings`: how images are made
            for the model, and what its outputs mean.
        opening: The arguments of `eca_keras.load_model` that it was opened
            with. An evaluation opens it again.
    """

    path: pathlib.Path
    model: keras.Model
    settings: typing.Any
    opening: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    # Key in `KINDS`, which messages call it.
    kind: typing.ClassVar[str]
    # Images per step of an evaluation, if the user does not say.
    batch_size: typing.ClassVar[int]

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path,
        *,
        custom_objects: Mapping[str, typing.Any] | None = None,
        trust: bool = False,
    ) -> Trained:
        """Load a model.

        Args:
            path: Folder of a run (its `model.keras` is meant), or a
                `.keras` file.
            custom_objects, trust: As in `eca_keras.load_model`, which opens
                the file.

        Raises:
            InputError: if something is missing or damaged, or the file holds
                what is not on the closed list of `eca_keras.load_model`.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / "model.keras"
        if not path.is_file():
            raise InputError(
                f"There is no trained model {path}: run `eca-keras train` or "
                "`eca-keras detect train` first, or name the folder of a run"
            )
        found = _class_of(path) if cls is Trained else cls
        settings = found._load_settings(path)
        opening = {"custom_objects": custom_objects, "trust": trust}
        model = found._load_model(path, settings, opening)
        return found(path, model, settings, opening)

    @property
    def folder(self) -> pathlib.Path:
        return self.path.parent

    @property
    def class_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def config(self) -> dict:
        """What `config.json` of the run holds; empty without one."""
        path = self.folder / CONFIG
        try:
            return upgraded(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {error}") from None

    def source(self, data: str | None = None):
        """Open a dataset and check that the model can be asked about it.

        Args:
            data: As in the settings of the run; by default that of the run.

        Returns:
            The source, and the name of the dataset.

        Raises:
            InputError: if there are no such data, or they have other classes
                than the model.
        """
        config = self.config
        if data is not None:
            config["data"] = data
        if "data" not in config:
            raise InputError(
                f"There is no {self.folder / CONFIG} that names the data: pass "
                "`data`"
            )
        source = self._open(config)
        self._check_classes(source, config["data"])
        return source, config["data"]

    def _check_classes(self, source, data):
        ours, theirs = self.class_names, source.class_names
        if ours != theirs:
            raise InputError(
                f"data={data!r} has other classes than the model. Model: "
                f"{listed(ours)}. Data: {listed(theirs)}"
            )

    def split(self, source, name: str | None = None):
        """Return a split of a source, and its name.

        Args:
            source: What `source` returned.
            name: `"train"`, `"validation"`, `"test"`, or `"all"` for the
                images of a file in COCO's format; by default the test
                images, or the validation images where there are none.

        Raises:
            InputError: if the data has no such split.
        """
        if name is None:
            name = "validation" if source.test is None else "test"
        whole = getattr(source, "whole", None)
        splits = {each: getattr(source, each) for each in SPLITS}
        splits["all"] = whole
        check_choice("split", name, splits)
        if splits[name] is None:
            known = [each for each, split in splits.items() if split]
            raise InputError(
                f"`split` must be one that the data has, {listed(known)}. "
                f"Received: split={name!r}"
            )
        return splits[name], name

    def evaluate(
        self,
        data: str | None = None,
        split: str | None = None,
        batch_size: int | None = None,
        strategy: str = "auto",
        **options,
    ) -> dict:
        """Evaluate the model.

        Args:
            data: As in the settings of the run; by default that of the run.
            split: See `split`.
            batch_size: Images per step; by default 64, or 8 for a detector.
            strategy: As in the settings of the run.
            **options: Of a detector `results`, the path of a JSON file for
                the detections in COCO's results format.

        Returns:
            Dictionary with what was evaluated, and the metrics.
        """
        self._check_kind("detector", ("results",), options)
        source, data = self.source(data)
        images, name = self.split(source, split)
        batch_size = self.batch_size if batch_size is None else batch_size
        with Cluster(strategy, alone=True) as cluster:
            check_batch_size(batch_size, cluster.strategy)
            with cluster.strategy.scope():
                # Variables belong to the strategy in whose scope they are
                # made.
                model = self._load_model(self.path, self.settings, self.opening)
            count, metrics = self._measure(
                cluster, model, images, batch_size, **options
            )
        return {
            "model": str(self.path),
            "data": data,
            "evaluated_on": name,
            "images": count,
            **metrics,
        }

    def export(
        self,
        path: str | pathlib.Path,
        format: str | None = None,
        *,
        data: str | None = None,
        **options,
    ) -> Report:
        """Export the model, compared on images of its own data.

        Args:
            path: The file or folder to write.
            format: `"saved_model"`, `"tflite"` or `"onnx"`; by default what
                the suffix of the path says.
            data: The images to compare on; by default those of the run.
            **options: Further arguments of `export_saved_model`,
                `export_tflite` or `export_onnx`. `with_preprocessing=True`
                has a SavedModel take image files, too. Of a detector also
                `pixels` and `sizes`, see `DetectionEndpoint`.

        Returns:
            The report of the export; print it to read it.

        Raises:
            InputError: if an option does not go with the format or the kind
                of model.
            ExportMismatch: if the export differs from the model.
        """
        row = format_of(path, format)
        row.check_options(options)
        for kind, names in KIND_OPTIONS.items():
            self._check_kind(kind, names, options)
        model, arguments = self._for_export(row, data, options)
        return row.load()(
            model,
            path,
            labels=list(self.class_names),
            **{**arguments, **options},
        )

    def _check_kind(self, kind, names, given):
        """Refuse options that are for the other kind."""
        for name in names:
            if name in given and kind != self.kind:
                raise InputError(
                    f"`{name}` must only be given for a {kind}. {self.path} "
                    f"is a {self.kind}"
                )

    def card(self) -> str:
        """Return the text of the model card, from the files of the run."""
        from eca_keras.training.card import model_card

        return model_card(self)

    @classmethod
    def _load_settings(cls, path):
        """Read the settings beside a `.keras` file."""
        raise NotImplementedError

    @classmethod
    def _load_model(cls, path, settings, opening):
        """Read the model, as it belongs to its settings."""
        raise NotImplementedError

    def _open(self, config):
        """Open the dataset that a configuration names."""
        raise NotImplementedError

    def _measure(self, cluster, model, split, batch_size):
        """Return the number of images, and the metrics."""
        raise NotImplementedError

    def _for_export(self, row, data, options):
        """Return what is exported, and the arguments that go with it.

        What is no argument of the format's function leaves `options`.
        """
        raise NotImplementedError


def _class_of(path):
    """The subclass of `Trained` that a `.keras` file belongs to."""
    classifier = Preprocessing.path(path).is_file()
    detector = path.with_name(DETECTION_FILE).is_file()
    shared = path.with_name(Preprocessing.FILE)
    if not (classifier or detector or shared.is_file()):
        raise InputError(
            f"There is no {shared.name} or {DETECTION_FILE} beside {path}: "
            "`eca-keras train`, `detect train` and `convert` write them"
        )
    kind = "detector" if detector and not classifier else "classifier"
    return load(KINDS[kind])


def evenly(size: int, count: int) -> list[int]:
    """Return up to `count` indices below `size` at equal distances.

    A folder is sorted by class.
    """
    count = min(count, size)
    return [i * size // count for i in range(count)]
