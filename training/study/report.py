"""The report of a study: every sentence follows from its results."""

from __future__ import annotations

import itertools
import math
import pathlib

from eca_keras.errors import InputError
from eca_keras.training.study import analysis
from eca_keras.training.study import tables
from eca_keras.training.study.analysis import Summary
from eca_keras.training.study.figures import draw
from eca_keras.utils.documents import Heading
from eca_keras.utils.documents import Paragraph
from eca_keras.utils.documents import Picture
from eca_keras.utils.documents import Table
from eca_keras.utils.documents import to_html
from eca_keras.utils.documents import to_markdown
from eca_keras.utils.files import staged_files
from eca_keras.utils.types import PathLike

PICTURE = "accuracy.png"


def write_report(summary: Summary, folder: PathLike) -> pathlib.Path:
    """Write `report.md`, `report.html` and `accuracy.png`.

    Args:
        summary: `Summary`.
        folder: Where they go.

    Returns:
        Path of `report.md`.

    Raises:
        InputError: if the study has no result yet.
    """
    if not summary.results:
        raise InputError(
            f"The study {summary.study.name!r} has no result with these "
            "settings yet"
        )
    folder = pathlib.Path(folder)
    picture = Picture(PICTURE, _alternative(summary), draw(summary))
    title, blocks = summary.study.title, content(summary, picture)
    texts = (to_markdown(title, blocks), to_html(title, blocks))
    paths = [folder / name for name in ("report.md", "report.html", PICTURE)]
    with staged_files(*paths) as partial:
        for path, text in zip(partial[:2], texts, strict=True):
            pathlib.Path(path).write_text(text, encoding="utf-8")
        pathlib.Path(partial[2]).write_bytes(picture.content)
    return paths[0]


def content(summary: Summary, picture: Picture) -> list:
    """Return the blocks of the report, see `documents`."""
    blocks = [
        Paragraph(summary.study.question),
        Paragraph(_setting(summary)),
        *(Paragraph(text) for text in _gaps(summary)),
        picture,
        Table(tables.results(summary)),
        Paragraph(_reading(summary)),
        *(Paragraph(text) for text in _remarks(summary)),
    ]
    if summary.claims:
        blocks += [
            Heading("The orders of the paper"),
            *(Paragraph(text) for text in _verdicts(summary)),
            Table(tables.claims(summary)),
        ]
    orders = _orders(summary)
    if orders:
        blocks += [Heading("Rank"), *(Paragraph(text) for text in orders)]
    return [*blocks, Heading("Settings"), Table(tables.settings(summary))]


def _setting(summary):
    settings = summary.results[0].settings
    size = settings["image_size"]
    size = f" at {size} x {size} pixels" if size else ""
    models = {x.settings["model"]: None for x in summary.results}
    epochs = settings["epochs"]
    return (
        f"{_listed(list(models))} on {settings['data']}{size}, "
        f"{epochs} epoch{'s' * (epochs > 1)}, {len(summary.seeds)} "
        f"seed{'s' * (len(summary.seeds) > 1)}. {_evaluation(summary)} With "
        "the same seed every row gets the same images in the same order, with "
        "the same augmentation, and the same images are kept back for "
        "validation."
    )


def _evaluation(summary):
    result = summary.results[0]
    return (
        f"Accuracy is that on {result.images:,} {result.evaluated_on} images, "
        "with the weights of the epoch that was best on validation images."
    )


def _gaps(summary):
    """Return sentences about runs that are missing or diverged."""
    texts = []
    total = len(summary.rows) * len(summary.seeds)
    if summary.missing:
        by_seed = [
            (seed, [x.row.name for x in summary.rows if seed in x.missing])
            for seed in summary.seeds
        ]
        named = "; ".join(
            f"seed {seed}: {_some(names, len(summary.rows))}"
            for seed, names in by_seed
            if names
        )
        texts.append(
            f"This study is not complete: {summary.missing} of {total} runs "
            f"{'is' if summary.missing == 1 else 'are'} missing ({named})."
        )
    diverged = [
        f"{row.row.name}, seed {seed}"
        for row in summary.rows
        for seed in row.diverged
    ]
    if diverged:
        texts.append(
            f"The training diverged and does not count: {'; '.join(diverged)}."
        )
    return texts


def _some(names, total):
    return "all rows" if len(names) == total else ", ".join(names)


def _reading(summary):
    baselines = {row.row.baseline for row in summary.rows} - {None}
    compared = (
        repr(baselines.pop()) if len(baselines) == 1 else "its own baseline"
    )
    count = sum(row.p is not None for row in summary.rows)
    results = summary.results
    mean = sum(x.top1 for x in results) / len(results)
    images = results[0].images
    error = 100 * math.sqrt(mean * (1 - mean) / images)
    return (
        "top-1: mean and 95 % t-interval over the seeds. difference: to "
        f"{compared}, in percent points, seed by seed, with its 95 % "
        "t-interval. p: paired t-test of that difference, corrected for "
        f"{count} comparisons after Holm. s per epoch: the quickest epoch of "
        "all seeds, on the machine that trained them. The intervals tell what "
        f"other seeds would give on the same {images:,} images; what other "
        f"images would give is uncertain by about {error:.2f} points more (a "
        "standard error of each accuracy, though most of it is common to all "
        "rows)."
    )


def _remarks(summary):
    """Return sentences about the kernels of the networks."""
    texts, same = [], {}
    for row in summary.rows:
        if row.any is None or not row.any.kernel_sizes:
            continue
        settings = row.any.settings
        network = (
            settings["model"],
            settings["attention"],
            *row.any.kernel_sizes,
        )
        same.setdefault(network, []).append(row.row.name)
        if settings["kernel_size"] == "adaptive":
            texts.append(
                f"Kernel sizes of {row.row.name}, block by block: "
                f"{_runs(row.any.kernel_sizes)}."
            )
    texts += [
        f"{_listed(names)} are the same network here."
        for names in same.values()
        if len(names) > 1
    ]
    return texts


def _runs(sizes):
    """[3, 3, 5] as "3 (2 times), 5"."""
    groups = [(k, len(list(group))) for k, group in itertools.groupby(sizes)]
    return ", ".join(
        f"{size} ({count} times)" if count > 1 else str(size)
        for size, count in groups
    )


# How the sentences begin that list the claims of a verdict.
_VERDICTS = {
    analysis.SEEN: "Seen here",
    analysis.OPPOSITE: "The opposite is seen for",
    analysis.NOT_CORRECTED: "Seen by its own interval alone, not after the "
    "correction",
    analysis.OPPOSITE_NOT_CORRECTED: "The opposite is seen by its own interval "
    "alone, not after the correction, for",
    analysis.UNDECIDED: "Not decided, since the interval holds zero",
    analysis.UNKNOWN: "Not tested, for want of runs",
}


def _verdicts(summary):
    claims = summary.claims
    seen = sum(x.verdict == analysis.SEEN for x in claims)
    opposite = sum(x.verdict == analysis.OPPOSITE for x in claims)
    texts = [
        f"Of {len(claims)} orders that the paper argues from, {seen} "
        f"{'is' if seen == 1 else 'are'} seen here, {opposite} "
        f"{'is' if opposite == 1 else 'are'} seen the other way round, and "
        f"{len(claims) - seen - opposite} "
        f"{'is' if len(claims) - seen - opposite == 1 else 'are'} not decided "
        f"by {len(summary.seeds)} seeds (paired t-tests, p below 0.05 after "
        f"Holm's correction for {len(claims)} orders)."
    ]
    for verdict, words in _VERDICTS.items():
        named = [tables.order(x.claim) for x in claims if x.verdict == verdict]
        if named:
            texts.append(f"{words}: {'; '.join(named)}.")
    return texts


def _orders(summary):
    """The rows by their means, here and in the paper."""
    here = [row for row in summary.rows if row.top1 and row.row.paper]
    if len(here) < 2:
        return []
    found = sorted(here, key=lambda row: -row.top1.mean)
    printed = sorted(here, key=lambda row: -row.row.paper)
    pairs = list(itertools.combinations(here, 2))
    agree = sum(
        (a.top1.mean - b.top1.mean) * (a.row.paper - b.row.paper) > 0
        for a, b in pairs
    )
    return [
        f"By their means here: {_names(found)}.",
        f"By what the paper reports: {_names(printed)}.",
        f"Both put {agree} of {len(pairs)} pairs in the same order; chance "
        f"alone would give {len(pairs) / 2:g}.",
    ]


def _names(rows):
    return ", ".join(row.row.name for row in rows)


def _alternative(summary):
    over = "over the kernel size" if summary.study.over_kernels else "per row"
    return f"Top-1 accuracy {over}: each seed, the mean and its 95 % interval"


def _listed(names):
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
