"""The figures of a study."""

from __future__ import annotations

import io

from eca_keras.training.study.analysis import Summary
from eca_keras.utils.figures import new_figure

INK = "#1f3b57"
SEED = "#8fa6bd"
HIGHLIGHT = "#c2571a"


def draw(summary: Summary) -> bytes:
    """Return the figure of a study as the bytes of a PNG.

    Every seed is a pale dot, the mean a dark one with its interval.

    Args:
        summary: `Summary` with at least one result.
    """
    over_kernels = summary.study.over_kernels
    height = 4.2 if over_kernels else 1.4 + 0.42 * len(summary.rows)
    figure = new_figure((7.5, height))
    axes = figure.subplots()
    (_kernels if over_kernels else _rows)(axes, summary)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    file = io.BytesIO()
    figure.savefig(file, dpi=120, format="png", metadata={"Software": None})
    return file.getvalue()


def _rows(axes, summary):
    """A line per row, the accuracy to the right."""
    last = len(summary.rows) - 1
    for place, row in enumerate(summary.rows):
        y = last - place
        if row.top1 is None:
            continue
        values = list(row.points.values())
        axes.plot(values, _spread(y, values), "o", color=SEED, ms=4, zorder=2)
        color = INK if row.row.baseline else HIGHLIGHT
        axes.errorbar(
            row.top1.mean,
            y,
            xerr=row.top1.half,
            fmt="D",
            color=color,
            ms=6,
            capsize=4,
            lw=1.6,
            zorder=3,
        )
    baselines = [row for row in summary.rows if row.row.baseline is None]
    if len(baselines) == 1 and baselines[0].top1:
        mean = baselines[0].top1.mean
        axes.axvline(mean, color=HIGHLIGHT, lw=1, ls="--", zorder=1)
    names = [row.row.name for row in reversed(summary.rows)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, last + 0.6)
    axes.set_xlabel("top-1 accuracy (%)")


def _kernels(axes, summary):
    """The accuracy over the kernel size; the adaptive size is a line."""
    fixed = [row for row in summary.rows if row.row.baseline and row.top1]
    sizes = [row.row.changes["kernel_size"] for row in fixed]
    for size, row in zip(sizes, fixed, strict=True):
        values = list(row.points.values())
        axes.plot(
            _spread(size, values), values, "o", color=SEED, ms=4, zorder=2
        )
    axes.errorbar(
        sizes,
        [row.top1.mean for row in fixed],
        yerr=[row.top1.half or 0 for row in fixed],
        fmt="D-",
        color=INK,
        ms=6,
        capsize=4,
        lw=1.6,
        zorder=3,
        label="one size for all blocks",
    )
    for row in summary.rows:
        if row.row.baseline is None and row.top1:
            mean, half = row.top1.mean, row.top1.half or 0
            axes.axhspan(mean - half, mean + half, color=HIGHLIGHT, alpha=0.13)
            axes.axhline(
                mean, color=HIGHLIGHT, ls="--", label="adaptive, with interval"
            )
    axes.set_xticks(
        [row.row.changes["kernel_size"] for row in summary.rows[:-1]]
    )
    axes.set_xlabel("kernel size k")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.legend(loc="best")


def _spread(place, values):
    """Place the dots of the seeds beside each other, in their order."""
    middle = (len(values) - 1) / 2
    return [place + 0.06 * (i - middle) for i in range(len(values))]
