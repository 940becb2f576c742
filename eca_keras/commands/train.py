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
    """

    config: pathlib.Path | None = None

    def __post_init__(self):
        """Leaves the checks to `run`: the parser would frame their words."""

    @classmethod
    def from_file(cls, path):
        """Returns the command with the options of a JSON file."""
        try:
            values = json.loads(pathlib.Path(path).read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is not a JSON file: {error}") from None
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        if not isinstance(values, dict):
            raise InputError(f"{path} must map option names to values")
        if unknown := sorted(set(values) - names):
            raise InputError(
                f"{path} has unknown options: {', '.join(unknown)}. "
                f"Known are: {', '.join(sorted(names))}"
            )
        hints = typing.get_type_hints(TrainConfig)
        for name, value in values.items():
            try:
                typeguard.check_type(value, hints[name])
            except typeguard.TypeCheckError as error:
                raise InputError(
                    f"`{name}` in {path} has a wrong type: {error}. "
                    f"Received: {name}={value!r}"
                ) from None
        return cls(**values, config=path)

    def run(self):
        from eca_keras.commands.export import export_model
        from eca_keras.training import train
        from eca_keras.training.trained import Trained

        fields = {f.name for f in dataclasses.fields(TrainConfig)}
        config = TrainConfig(**{name: getattr(self, name) for name in fields})
        # Before the training, not after it.
        if "tflite" in config.export:
            require("export", "The export to TFLite", "ai_edge_litert")
        if "onnx" in config.export:
            modules = ("tf2onnx", "onnx", "onnxruntime")
            require("export", "The export to ONNX", *modules)
        # A bar that redraws itself is for a terminal, lines are for a log.
        metrics = train(config, verbose=1 if sys.stdout.isatty() else 2)
        print(
            f"{config.output}: {metrics['images']} {metrics['evaluated_on']} "
            f"images, top-1 {metrics['top1']:.2%}, top-5 "
            f"{metrics['top5']:.2%}, loss {metrics['loss']:.4f} nats, "
            f"{metrics['seconds']} s"
        )
        if config.export:
            trained = Trained.load(config.output)
            for name in config.export:
                path = trained.folder / EXPORTS[name]
                print(export_model(trained, name, path))
