"""The named studies: which networks are compared, and what was claimed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from eca_keras.applications.registry import check_builder
from eca_keras.errors import InputError

PAPER = "ECA-Net (arXiv 1910.03151)"


@dataclasses.dataclass(frozen=True)
class Row:
    """One network of a study.

    Attributes:
        name: What the report calls it.
        changes: Fields of `TrainConfig` that make it.
        baseline: Name of the row that it is compared with, `None` for one
            that others are compared with.
        paper: Top-1 accuracy in percent that the paper reports for it, on
            ImageNet with a ResNet-50; `None` where it reports none.
    """

    name: str
    changes: dict[str, Any]
    baseline: str | None = None
    paper: float | None = None


@dataclasses.dataclass(frozen=True)
class Claim:
    """An order of two rows.

    Attributes:
        better, worse: Names of the rows.
        reason: What the order is meant to show.
    """

    better: str
    worse: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Study:
    """Rows and claims.

    Attributes:
        name: What the command line calls it.
        title: Heading of the report.
        question: A sentence on what is compared.
        rows: `Row`s, in the order of the report.
        claims: `Claim`s of the paper.
        over_kernels: Whether the figure is one over the kernel size.
    """

    name: str
    title: str
    question: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    over_kernels: bool = False


# Table 2 of the paper (SE-GC: its first, with 16 groups; ECA and ECA-NS: with
# k = 3), and Table 3 for CBAM and GC.
_MODULES = (
    ("none", "none", 75.20),
    ("SE", "se", 76.71),
    ("SE-Var1", "se_var1", 76.00),
    ("SE-Var2", "se_var2", 77.07),
    ("SE-Var3", "se_var3", 77.42),
    ("SE-GC", "se_gc", 76.95),
    ("ECA-NS", "eca_ns", 77.35),
    ("ECA", "eca", 77.43),
    ("CBAM", "cbam", 77.34),
    ("GC", "gc", 77.70),
)
# Sections 3.2 and 4.1 of the paper argue from these orders.
_MODULE_CLAIMS = (
    Claim("SE", "none", "channel attention helps"),
    Claim("SE-Var1", "none", "it helps even without parameters"),
    Claim("SE-Var2", "SE", "avoiding the dimensionality reduction helps"),
    Claim("SE-Var3", "SE-Var2", "interaction across channels helps"),
    Claim("SE-Var3", "SE", "one full layer is better than two narrow ones"),
    Claim("SE-Var3", "SE-GC", "groups do not interact enough"),
    Claim("ECA-NS", "SE-GC", "neighbours are better than groups"),
    Claim("ECA", "ECA-NS", "the channels can share their weights"),
    Claim("ECA", "SE-Var2", "neighbours are better than no interaction"),
    Claim("ECA", "SE", "few weights are enough"),
    Claim("ECA", "none", "ECA helps"),
)

# Figure 4 of the paper has 3 to 9.
_KERNELS = (1, 3, 5, 7, 9)
ADAPTIVE = "adaptive"


def _modules(models):
    return Study(
        name="modules",
        title="Attention modules",
        question="The same network with each attention module on every "
        f"block: Table 2 of {PAPER}, with CBAM and GC from its Table 3.",
        rows=tuple(
            Row(
                name,
                _network(_only("modules", models), attention),
                baseline=None if attention == "none" else "none",
                paper=paper,
            )
            for name, attention, paper in _MODULES
        ),
        claims=_MODULE_CLAIMS,
    )


def _kernel_size(models):
    model = _only("kernel-size", models)
    fixed = tuple(
        Row(f"k = {k}", _network(model, "eca", k), baseline=ADAPTIVE)
        for k in _KERNELS
    )
    return Study(
        name="kernel-size",
        title="Kernel size of ECA",
        question="The same network with one kernel size for all its blocks, "
        "and with the adaptive size that follows from the channels of each "
        f"block: Figure 4 of {PAPER}, with k = 1 added, where no channel sees "
        "another one.",
        rows=(*fixed, Row(ADAPTIVE, _network(model, "eca"))),
        claims=tuple(
            Claim(ADAPTIVE, f"k = {k}", "no size has to be searched for")
            for k in _KERNELS
            if k > 1
        ),
        over_kernels=True,
    )


def _backbones(models):
    for model in models:
        check_builder(model)
    names = {model: model.removeprefix("ECA") for model in models}
    return Study(
        name="backbones",
        title="Networks with and without ECA",
        question="Each network without attention and with ECA on every "
        f"block: the comparison of Table 3 of {PAPER}.",
        rows=tuple(
            row
            for model, name in names.items()
            for row in (
                Row(name, _network(model, "none")),
                Row(f"{name} + ECA", _network(model, "eca"), baseline=name),
            )
        ),
        claims=tuple(
            Claim(f"{name} + ECA", name, "ECA helps") for name in names.values()
        ),
    )


def _network(model, attention, kernel_size="adaptive"):
    return {"model": model, "attention": attention, "kernel_size": kernel_size}


def _only(study, models):
    if len(models) != 1:
        raise InputError(
            f"`model` must be one network for the study {study!r}. "
            f"Received: model={' '.join(models)}"
        )
    check_builder(models[0])
    return models[0]


# The networks that are compared, if the user does not say.
MODELS = {
    "modules": ("ECAResNet20",),
    "kernel-size": ("ECAResNet18",),
    "backbones": ("ECAResNet20", "ECAResNet18", "ECAMobileNetV2"),
}
STUDIES = {
    "modules": _modules,
    "kernel-size": _kernel_size,
    "backbones": _backbones,
}


def find_study(name: str, models: Sequence[str] | None = None) -> Study:
    """Return a `Study` by its name.

    Args:
        name: A key of `STUDIES`.
        models: Names of builders, one but for 'backbones'; by default those
            of `MODELS`.

    Raises:
        InputError: if there is no such study or network.
    """
    if name not in STUDIES:
        raise InputError(
            f"`study` must be one of {', '.join(STUDIES)}. "
            f"Received: study={name!r}"
        )
    models = tuple(dict.fromkeys(models or MODELS[name]))
    return STUDIES[name](models)
