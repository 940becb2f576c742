"""What the commands have in common that train a network."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys
import typing
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar

from eca_keras.errors import InputError
from eca_keras.export.formats import FORMATS
from eca_keras.training.config import upgraded


def _of_run(default):
    return dataclasses.field(default=default, metadata={"group": "run"})


@dataclasses.dataclass(frozen=True)
class TrainingCommand:
    """Options of a training command besides the settings of the run.

    A command inherits from this class and from that of its settings, each
    of which becomes an option.

    Args:
        config: JSON file with values for these options, such as the
            config.json of an earlier run. Options on the command line win.
        resume: Resume the run in the output folder, if there is one.
        dry_run: Print the settings and what they come to, and train nothing.
    """

    config: pathlib.Path | None = _of_run(None)
    resume: bool = _of_run(False)
    dry_run: bool = _of_run(False)

    # The order of the groups in the help.
    GROUPS = ("data", "model", "augmentation", "schedule", "optimizer", "run")
    # Dataclass of the settings, and the function that gives a recipe's.
    SETTINGS: ClassVar[Any]
    RECIPE: ClassVar[Any]

    if TYPE_CHECKING:  # what all settings have
        recipe: str = ""
        export: tuple[str, ...] = ()
        output: str = ""

    def __post_init__(self):
        """Leave the checks to `check`: the parser would frame their words."""

    def with_defaults(self) -> TrainingCommand:
        """Return the command with the defaults of its recipe and file."""
        values = self._read(self.config) if self.config else {}
        name = self.recipe
        if name == type(self).recipe:  # not given
            name = values.get("recipe", name)
        defaults = fields_of(type(self).RECIPE(name), self.SETTINGS)
        return type(self)(**{**defaults, **values, "recipe": name})

    def _read(self, path):
        """Return the options of a JSON file."""
        import typeguard

        try:
            values = json.loads(pathlib.Path(path).read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is not a JSON file: {error}") from None
        hints = typing.get_type_hints(self.SETTINGS)
        if not isinstance(values, dict):
            raise InputError(f"{path} must map option names to values")
        values = upgraded(values)
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
                    f"{path} has a wrong type for {name!r}: {error}. "
                    f"Received: {value!r}"
                ) from None
        return values

    @property
    def settings(self) -> Any:
        """The settings of the run, checked."""
        return self.SETTINGS(**fields_of(self, self.SETTINGS))

    def check(self) -> None:
        if not self.dry_run:  # before the training, not after it
            for name in self.settings.export:
                FORMATS[name].check_packages()

    def run(self) -> None:
        from eca_keras.training import plan
        from eca_keras.training import train

        if self.dry_run:
            print(table(plan(self.settings)))
            return
        # A bar that redraws itself is for a terminal, lines are for a log.
        train(
            self.settings,
            resume=self.resume,
            verbose=1 if sys.stdout.isatty() else 2,
            conclude=self.conclude,
        )

    def conclude(self, metrics: Mapping[str, Any]) -> None:
        """Print what came of a run, and export its network."""
        from eca_keras.training.trained import Trained

        print(table(self.summary(metrics)), flush=True)
        if self.export:
            trained = Trained.load(self.output)
            for name in self.export:
                path = trained.folder / FORMATS[name].file
                print(trained.export(path, name), flush=True)
        print(self._next())

    def summary(self, metrics: Mapping[str, Any]) -> list[tuple]:
        """Return the rows of the table at the end of a run."""
        raise NotImplementedError

    def _next(self):
        model = f"--model {shlex.quote(str(self.output))}"
        path = pathlib.Path(self.output, FORMATS["tflite"].file)
        further = f"export {shlex.quote(str(path))}"
        if "tflite" in self.export:
            further = "predict IMAGE"
        return (
            f"Next: eca-keras evaluate {model}\n"
            f"      eca-keras {further} {model}"
        )


def fields_of(config: Any, kind: type) -> dict[str, Any]:
    """Return the fields of settings of a kind, or of a command made of them."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: getattr(config, name) for name in names}


def table(rows: Iterable[tuple]) -> str:
    """Return rows of two values each, in columns."""
    rows = [(str(name), str(text)) for name, text in rows]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def common_rows(
    metrics: Mapping[str, Any], output: str | pathlib.Path
) -> list[tuple]:
    """Return the last rows of the table at the end of any run.

    Args:
        metrics: What `metrics.json` holds.
        output: Folder of the run.
    """
    return [
        (
            "evaluated on",
            f"{metrics['images']:,} {metrics['evaluated_on']} images",
        ),
        ("parameters", f"{metrics['parameters']:,}"),
        ("epochs", f"{metrics['epochs']}, best {metrics['best_epoch']}"),
        ("replicas", metrics["replicas"]),
        ("images/s", f"{metrics['images_per_second']:,}"),
        ("time", f"{metrics['seconds']} s"),
        ("folder", output),
    ]
