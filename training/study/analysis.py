"""What the results of a study say, as numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.study.records import Records
from eca_keras.training.study.records import Result
from eca_keras.training.study.runs import config_of
from eca_keras.training.study.statistics import LEVEL
from eca_keras.training.study.statistics import Estimate
from eca_keras.training.study.statistics import estimate
from eca_keras.training.study.statistics import holm
from eca_keras.training.study.statistics import paired
from eca_keras.training.study.studies import Claim
from eca_keras.training.study.studies import Row
from eca_keras.training.study.studies import Study

# What may be said about the claim that one row is better than another.
SEEN = "seen"
OPPOSITE = "the opposite is seen"
NOT_CORRECTED = "seen alone, but not among so many comparisons"
OPPOSITE_NOT_CORRECTED = (
    "the opposite is seen alone, but not among so many comparisons"
)
UNDECIDED = "not decided"
UNKNOWN = "too few runs"


@dataclasses.dataclass(frozen=True)
class RowSummary:
    """One row of the table.

    Attributes:
        row: `Row`.
        results: Dictionary from seeds to `Result`s that did not diverge.
        missing: Seeds without a result.
        diverged: Seeds whose training diverged.
        top1: `Estimate` in percent, `None` without results.
        difference: `Estimate` of the difference to the baseline, in percent
            points, `None` without one.
        p: Its p, corrected for the number of rows with a baseline.
    """

    row: Row
    results: dict[int, Result]
    missing: tuple
    diverged: tuple
    top1: Estimate | None
    difference: Estimate | None = None
    p: float | None = None

    @property
    def points(self) -> dict[int, float]:
        """Dictionary from seeds to top-1 in percent."""
        return {seed: 100 * (x.top1 or 0) for seed, x in self.results.items()}

    @property
    def any(self) -> Result | None:
        """One of the results, for what all of them have in common."""
        return next(iter(self.results.values()), None)


@dataclasses.dataclass(frozen=True)
class ClaimSummary:
    """What was found about a claim.

    Attributes:
        claim: `Claim`.
        difference: `Estimate` in percent points, `None` without any.
        p: Its p, corrected for the number of claims.
        verdict: One of the sentences of this module.
    """

    claim: Claim
    difference: Estimate | None
    p: float | None
    verdict: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the results of a study say.

    Attributes:
        study: `Study`.
        base: `TrainConfig` that its rows change.
        seeds: Tuple of integers.
        rows: Tuple of `RowSummary`.
        claims: Tuple of `ClaimSummary`.
    """

    study: Study
    base: TrainConfig
    seeds: tuple[int, ...]
    rows: tuple[RowSummary, ...]
    claims: tuple[ClaimSummary, ...]

    @property
    def results(self) -> list[Result]:
        return [x for row in self.rows for x in row.results.values()]

    @property
    def missing(self) -> int:
        """Number of runs without a result."""
        return sum(len(row.missing) for row in self.rows)

    def row(self, name: str) -> RowSummary:
        return next(row for row in self.rows if row.row.name == name)


def summarize(
    study: Study, base: TrainConfig, seeds: Sequence[int], records: Records
) -> Summary:
    """Read the results of a study and returns its `Summary`.

    Args:
        study: `Study`.
        base: `TrainConfig` that its rows change.
        seeds: Integers.
        records: `Records`.

    Raises:
        InputError: if a result is damaged.
    """
    rows = [_read(row, base, seeds, records) for row in study.rows]
    points = {row.row.name: row.points for row in rows}
    differences = [
        paired(row.points, points[row.row.baseline])
        if row.row.baseline
        else None
        for row in rows
    ]
    rows = [
        dataclasses.replace(row, difference=difference, p=p)
        for row, difference, p in zip(
            rows, differences, holm(_ps(differences)), strict=True
        )
    ]
    return Summary(
        study, base, tuple(seeds), tuple(rows), _claims(study, points)
    )


def _read(row, base, seeds, records):
    found = {seed: records.load(config_of(row, base, seed)) for seed in seeds}
    results = {
        seed: result
        for seed, result in found.items()
        if result and not result.diverged
    }
    return RowSummary(
        row=row,
        results=results,
        missing=tuple(seed for seed in seeds if found[seed] is None),
        diverged=tuple(
            seed for seed in seeds if found[seed] and found[seed].diverged
        ),
        top1=(
            estimate([100 * result.top1 for result in results.values()])
            if results
            else None
        ),
    )


def _claims(study, points):
    differences = [
        paired(points[claim.better], points[claim.worse])
        for claim in study.claims
    ]
    return tuple(
        ClaimSummary(claim, difference, p, _verdict(difference, p))
        for claim, difference, p in zip(
            study.claims, differences, holm(_ps(differences)), strict=True
        )
    )


def _verdict(difference, p):
    if p is None:
        return UNKNOWN
    if p < 1 - LEVEL:
        return SEEN if difference.mean > 0 else OPPOSITE
    if difference.decided:
        better = difference.mean > 0
        return NOT_CORRECTED if better else OPPOSITE_NOT_CORRECTED
    return UNDECIDED


def _ps(differences):
    return [difference and difference.p for difference in differences]
