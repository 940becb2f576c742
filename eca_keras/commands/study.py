"""`eca-keras study`."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated
from typing import Literal

from tyro.conf import Positional

from eca_keras.commands.train import Train
from eca_keras.commands.training import fields_of
from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.classification.config import TrainConfig
from eca_keras.utils.checks import check

# Fields of `TrainConfig` that are options here, and win over --config.
OVERRIDES = ("epochs", "batch_size", "learning_rate", "image_size")


def _of(group, default=None):
    return dataclasses.field(default=default, metadata={"group": group})


@dataclasses.dataclass(frozen=True)
class Study:
    """Train networks that differ in their attention, and compare them.

    Every network is trained with several seeds. The report has means,
    confidence intervals and tests. The same command resumes a study that was
    stopped.

    Args:
        names: 'modules' (no attention, and ten attention modules),
            'kernel-size' (of ECA), 'backbones' (networks with and without
            ECA), one or several. Runs that they share are trained once.
        data: Dataset, as in `eca-keras train`.
        model: Names of networks: one for 'modules' and 'kernel-size', any
            number for 'backbones'. By default those in docs/studies.md.
        seeds: Number of seeds: 0, 1, 2 and so on.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Peak of the schedule.
        image_size: Height and width in pixels.
        config: JSON file with options of `eca-keras train` for all runs; by
            default those in docs/studies.md.
        minutes: Start no further run after this many minutes.
        limit_runs: Train no more than this many runs.
        report_only: Train nothing, write the reports of what is there.
        output: Folder of the studies. A finished run leaves a JSON file in
            its `results`, a study its report in a folder of its name.
    """

    names: Annotated[
        tuple[Literal["modules", "kernel-size", "backbones"], ...], Positional
    ]
    data: str = "fashion-mnist"
    model: tuple[str, ...] = ()
    seeds: int = 5
    epochs: int | None = _of("training")
    batch_size: int | None = _of("training")
    learning_rate: float | None = _of("training")
    image_size: int | None = _of("training")
    config: pathlib.Path | None = _of("training")
    minutes: float | None = _of("run")
    limit_runs: int | None = _of("run")
    report_only: bool = _of("run", False)
    output: pathlib.Path = _of("run", pathlib.Path("runs/study"))

    EXAMPLES = (
        "eca-keras study modules --output runs/study",
        "eca-keras study backbones --model ECAResNet20 ECAResNet32",
    )

    def check(self) -> None:
        if not self.names:
            raise InputError("`names` must name at least one study")
        for name, least in {"seeds": 1, "limit_runs": 0, "minutes": 0}.items():
            value = getattr(self, name)
            holds = value is None or value >= least
            check(name, value, holds, f"must be at least {least}")
        if self.output.exists() and not self.output.is_dir():
            raise InputError(
                "`output` must be a folder, but there is a file at "
                f"{self.output}"
            )
        require("train", "A study", "matplotlib", "scipy")

    def run(self) -> None:
        from eca_keras.training.study import Runner
        from eca_keras.training.study import find_study
        from eca_keras.training.study import queue
        from eca_keras.training.study.runs import check_alone

        names = dict.fromkeys(self.names)
        studies = [
            (study, check_alone(self._base(study)))
            for study in (find_study(name, self.model) for name in names)
        ]
        if self.report_only:
            self._report(studies)
            return
        runs = queue(studies, range(self.seeds))
        runner = Runner(self.output, say=_say)
        try:
            missing = runner.run(runs, self.minutes, self.limit_runs)
        except BaseException:
            # What is there is worth a look, whatever stopped the rest.
            if any((self.output / "results").glob("*.json")):
                self._report(studies, partial=True)
            raise
        self._report(studies, partial=True)
        if missing:
            _say(
                f"{missing} of {len(runs)} runs "
                f"{'is' if missing == 1 else 'are'} missing: the same "
                "command resumes"
            )

    def _base(self, study):
        """Return the `TrainConfig` that the rows of a study change."""
        from eca_keras.training.study.settings import settings_for

        changes = {
            name: value
            for name in OVERRIDES
            if (value := getattr(self, name)) is not None
        }
        if self.config is None:
            return settings_for(study, self.data, **changes)
        given = Train(config=self.config).with_defaults()
        values = fields_of(given, TrainConfig)
        return TrainConfig(**{**values, "data": self.data, **changes})

    def _report(self, studies, partial=False):
        """Write the reports.

        Args:
            studies: As in `queue`.
            partial: Whether a study may have no result at all yet.
        """
        from eca_keras.training.study import Records
        from eca_keras.training.study import summarize
        from eca_keras.training.study import write_report

        records = Records(self.output / "results")
        for study, base in studies:
            summary = summarize(study, base, range(self.seeds), records)
            if partial and not summary.results:
                _say(f"{study.name}: no run has ended well yet, no report")
                continue
            _say(f"Wrote {write_report(summary, self.output / study.name)}")


def _say(sentence):
    print(sentence, flush=True)
