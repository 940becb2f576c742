"""What commands that train a network have in common."""

import dataclasses
import json
import pathlib
import sys
import typing

import typeguard

from eca_keras.errors import InputError
from eca_keras.errors import require


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Options of a training command besides the settings of the run.

    A command inherits from this class and from that of its settings, each
    of which becomes an option.

    Args:
        config: JSON file with values for these options, such as the
            config.json of an earlier run. Options on the command line win.
        resume: Go on with the run in the output folder, if there is one.
        dry_run: Print the settings and what they come to, and train nothing.
    """

    config: pathlib.Path | None = None
    resume: bool = False
    dry_run: bool = False

    # Dataclass of the settings, and the function that gives a recipe's.
    SETTINGS: typing.Any = None
    RECIPE: typing.Any = None

    def __post_init__(self):
        """Leaves the checks to `run`: the parser would frame their words."""

    def with_defaults(self):
        """Returns the command with the defaults of its recipe and file."""
        values = self._read(self.config) if self.config else {}
        name = self.recipe
        if name == type(self).recipe:  # not given
            name = values.get("recipe", name)
        defaults = fields_of(type(self).RECIPE(name), self.SETTINGS)
        return type(self)(**{**defaults, **values, "recipe": name})

    def _read(self, path):
        """Returns the options of a JSON file."""
        try:
            values = json.loads(pathlib.Path(path).read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is not a JSON file: {error}") from None
        hints = typing.get_type_hints(self.SETTINGS)
        if not isinstance(values, dict):
            raise InputError(f"{path} must map option names to values")
        if unknown := sorted(set(values) - set(hints)):
            raise InputError(
                f"{path} has unknown options: {', '.join(unknown)}. "
                f"Known are: {', '.join(sorted(hints))}"
            )
        for name, value in values.items():
            try:
                typeguard.check_type(value, hints[name])
            except typeguard.TypeCheckError as error:
                raise InputError(
                    f"`{name}` in {path} has a wrong type: {error}. "
                    f"Received: {name}={value!r}"
                ) from None
        return values

    def carry_out(self, train, plan):
        """Trains, or says what would be done.

        Args:
            train: Such as `eca_keras.training.train`.
            plan: Such as `eca_keras.training.run.plan`.
        """
        config = self.SETTINGS(**fields_of(self, self.SETTINGS))
        if self.dry_run:
            print(table(plan(config)))
            return
        # Before the training, not after it.
        if "tflite" in config.export:
            require("export", "The export to TFLite", "ai_edge_litert")
        if "onnx" in config.export:
            modules = ("tf2onnx", "onnx", "onnxruntime")
            require("export", "The export to ONNX", *modules)
        # A bar that redraws itself is for a terminal, lines are for a log.
        train(
            config,
            resume=self.resume,
            verbose=1 if sys.stdout.isatty() else 2,
            conclude=self.conclude,
        )

    def conclude(self, metrics):
        """Prints the figures of a run and exports its model."""
        raise NotImplementedError


def fields_of(config, kind):
    """The fields of settings of a kind, or of a command made of them."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: getattr(config, name) for name in names}


def table(rows):
    """Rows of two values each, in columns."""
    rows = [(str(name), str(text)) for name, text in rows]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def summary(metrics, names):
    """Rows of the table at the end of a run.

    Args:
        metrics: What `metrics.json` holds.
        names: Keys of it that say what was trained.
    """
    return [
        *((name, metrics[name]) for name in names),
        ("parameters", f"{metrics['parameters']:,}"),
        ("epochs", f"{metrics['epochs']}, best {metrics['best_epoch']}"),
        ("replicas", metrics["replicas"]),
        ("images/s", f"{metrics['images_per_second']:,}"),
        ("time", f"{metrics['seconds']} s"),
    ]
