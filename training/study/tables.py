"""The tables in the report of a study."""

from __future__ import annotations

from eca_keras.training.study.analysis import RowSummary
from eca_keras.training.study.analysis import Summary
from eca_keras.training.study.statistics import Estimate
from eca_keras.training.study.studies import Claim

NONE = "-"

Rows = tuple[tuple[str, ...], ...]


def results(summary: Summary) -> Rows:
    """Return the rows of the study with their accuracies and costs."""
    titles = ["", "top-1 (%)", "difference", "p", "attention parameters"]
    titles += ["million MACs", "s per epoch", "seeds"]
    paper = any(row.row.paper for row in summary.rows)
    rows = [(*titles, *(["paper, ImageNet"] if paper else []))]
    for row in summary.rows:
        cells = [
            row.row.name,
            _interval(row.top1),
            _interval(row.difference, sign=True),
            _p(row.p),
            *_costs(row),
            str(len(row.results)),
        ]
        if paper:
            cells.append(f"{row.row.paper:.2f}" if row.row.paper else NONE)
        rows.append(tuple(cells))
    return tuple(rows)


def _costs(row: RowSummary):
    if row.any is None:
        return NONE, NONE, NONE
    seconds = [x.epoch_seconds for x in row.results.values() if x.history]
    return (
        f"{row.any.attention_parameters:,}",
        f"{row.any.macs / 1e6:.2f}",
        f"{min(seconds):.1f}" if seconds else NONE,
    )


def claims(summary: Summary) -> Rows:
    """Return the orders of the paper with what was found about each."""
    paper = {row.row.name: row.row.paper or 0 for row in summary.rows}
    reported = any(paper.values())
    rows: list[tuple[str, ...]] = [
        ("claim", "meant to show", "difference here", "p", "verdict")
        + (("difference in the paper",) if reported else ())
    ]
    for found in summary.claims:
        claim = found.claim
        cells: tuple[str, ...] = (
            order(claim),
            claim.reason,
            _interval(found.difference, sign=True),
            _p(found.p),
            found.verdict,
        )
        if reported:
            gain = paper[claim.better] - paper[claim.worse]
            cells = (*cells, f"{gain:+.2f}")
        rows.append(cells)
    return tuple(rows)


def settings(summary: Summary) -> Rows:
    """Return what all runs have in common, and what made them."""
    first, *others = [x.settings for x in summary.results]
    rows = [("setting", "value")]
    for name, value in first.items():
        if all(other.get(name) == value for other in others):
            rows.append((name, str(value)))
    versions: dict[str, dict] = {}
    for result in summary.results:
        for name, version in result.versions.items():
            versions.setdefault(name, {})[version] = None
    rows += [(name, ", ".join(found)) for name, found in versions.items()]
    hours = sum(x.seconds for x in summary.results) / 3600
    rows.append(("training and evaluation", f"{hours:.2f} hours"))
    return tuple(rows)


def _interval(found: Estimate | None, sign=False):
    if found is None:
        return NONE
    mean = f"{found.mean:+.2f}" if sign else f"{found.mean:.2f}"
    return mean if found.half is None else f"{mean} ± {found.half:.2f}"


def _p(p):
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def order(claim: Claim) -> str:
    """Return the words for a claim."""
    return f"{claim.better} above {claim.worse}"
