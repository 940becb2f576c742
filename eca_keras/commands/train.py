"""`eca-keras train`."""

import dataclasses
import json
import pathlib
import sys
import typing

import typeguard

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.config import EXPORTS
from eca_keras.training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Train(TrainConfig):
    """Train a network, evaluate it and export it.

    Args:
        config: JSON file with values for these options, such as the
            config.json of an earlier run. Options on the command line win.
        resume: Go on with the run in the output folder, if there is one.
        dry_run: Print the settings and what they come to, and train nothing.
    """

    config: pathlib.Path | None = None
    resume: bool = False
    dry_run: bool = False

    def __post_init__(self):
        """Leaves the checks to `run`: the parser would frame their words."""

    def with_defaults(self):
        """Returns the command with the defaults of its recipe and file."""
        from eca_keras.training.recipes import recipe

        values = self._read(self.config) if self.config else {}
        name = self.recipe
        if name == type(self).recipe:  # not given
            name = values.get("recipe", name)
        values = {**_fields(recipe(name)), **values, "recipe": name}
        return type(self)(**values)

    @staticmethod
    def _read(path):
        """Returns the options of a JSON file."""
        try:
            values = json.loads(pathlib.Path(path).read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is not a JSON file: {error}") from None
        hints = typing.get_type_hints(TrainConfig)
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

    def run(self):
        from eca_keras.training import plan
        from eca_keras.training import train

        config = TrainConfig(**_fields(self))
        if self.dry_run:
            print(_table(plan(config)))
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
            conclude=self._conclude,
        )

    def _conclude(self, metrics):
        """Prints the figures of a run and exports its model."""
        from eca_keras.commands.export import export_model
        from eca_keras.training.trained import Trained

        print(_table(_summary(metrics)))
        print(
            f"{self.output}: {metrics['images']} {metrics['evaluated_on']} "
            f"images, top-1 {metrics['top1']:.2%}, top-5 "
            f"{metrics['top5']:.2%}, loss {metrics['loss']:.4f} nats, "
            f"{metrics['seconds']} s"
        )
        if self.export:
            trained = Trained.load(self.output)
            for name in self.export:
                path = trained.folder / EXPORTS[name]
                print(export_model(trained, name, path))


def _fields(config):
    """The fields of a `TrainConfig`, or of a command made of one."""
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    return {name: getattr(config, name) for name in names}


def _table(rows):
    rows = [(str(name), str(text)) for name, text in rows]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def _summary(metrics):
    """Rows of the table at the end of a run."""
    return [
        ("model", metrics["model"]),
        ("parameters", f"{metrics['parameters']:,}"),
        ("epochs", f"{metrics['epochs']}, best {metrics['best_epoch']}"),
        ("replicas", metrics["replicas"]),
        ("images/s", f"{metrics['images_per_second']:,}"),
        ("time", f"{metrics['seconds']} s"),
    ]
