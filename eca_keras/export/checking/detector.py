"""Detections of an exported file beside those of the Keras detector."""

from __future__ import annotations

import dataclasses

import numpy as np

from eca_keras.errors import ExportMismatch
from eca_keras.export.checking.pairs import LEAST_SIDE
from eca_keras.export.checking.pairs import MASK_FACTOR
from eca_keras.export.checking.pairs import Limits
from eca_keras.export.checking.pairs import Pairs
from eca_keras.export.checking.report import CLEAR_VARIATION
from eca_keras.export.checking.report import Report


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionReport(Report):
    """A file beside a Keras detector.

    A detection is the same on both sides if its label is, and its corners
    differ by at most `tolerance` times its longer side, or times 32 pixels if
    it is smaller, its score by the tolerance, and the probabilities in its
    mask by ten times the tolerance. A detection that only one side has counts
    against the file unless its score is that close to the least one that a
    detection needs.

    Attributes:
        detections: Number that the Keras detector finds in the samples.
        found: Number that the file finds.
        agreement: Fraction of the detections that are the same.
        least_agreement: What the agreement must be.
        max_box_error: Largest difference of a corner, in pixels. This and
            the next two are of detections of one label with an IoU of 0.5 or
            more, the most alike together.
        max_score_error: Largest difference of a score.
        max_mask_error: Largest difference in a mask; `None` without masks.
        allowed_pixels: Difference of a corner that passes, of boxes with
            sides up to 32 pixels; of larger ones more in proportion.
        distinct: Whether some images have other detections than others.
        finite: Whether the detector's own outputs are finite.
    """

    detections: int
    found: int
    agreement: float
    least_agreement: float
    max_box_error: float
    max_score_error: float
    max_mask_error: float | None
    allowed_pixels: float
    distinct: bool
    finite: bool

    @property
    def passed(self) -> bool:
        return self.finite and self.agreement >= self.least_agreement

    @property
    def varies(self) -> bool:
        """Whether there is something to find, and not in all images alike."""
        return self.detections > 0 and self.distinct

    def measures(self):
        needed = f"needed {100 * self.least_agreement:.0f} %"
        rows = [
            ("detections", f"{self.detections}, in the file {self.found}"),
            ("agreement", f"{100 * self.agreement:.1f} % ({needed})"),
            (
                "max box error",
                f"{self.max_box_error:.1e} px "
                f"(allowed {self.allowed_pixels:.1e} for sides up to "
                f"{LEAST_SIDE} px)",
            ),
            (
                "max score error",
                f"{self.max_score_error:.1e} (allowed {self.tolerance:.1e})",
            ),
        ]
        if self.max_mask_error is not None:
            allowed = MASK_FACTOR * self.tolerance
            text = f"{self.max_mask_error:.1e} (allowed {allowed:.1e})"
            rows.append(("max mask error", text))
        return rows

    def complaint(self):
        if not self.finite:
            return self.not_finite()
        return (
            f"The {self.format} has other detections than the Keras "
            f"detector: {self.agreement:.1%} of them agree (needed "
            f"{self.least_agreement:.0%}), so that it was not kept"
        )

    def doubt(self):
        found = "the same detections in all of them"
        if not self.detections:
            found = "no detections"
        return f"{self.samples} samples with {found}"

    def emptiness(self):
        return (
            "`samples` must be two images or more in which the detector finds "
            "something, or the comparison would prove nothing: pass some, "
            "train the detector, or say `allow_constant=True`. Received: "
            f"{self.doubt()}"
        )


def compare(
    expected,
    actual,
    *,
    threshold,
    tolerance,
    allow_constant=False,
    **fields,
):
    """Compare detections and return the report.

    Args:
        expected, actual: Dictionaries of arrays, the outputs of the Keras
            detector and of the file.
        threshold: Detections have a higher score.
        allow_constant: Whether the comparison may prove nothing.
        tolerance, **fields: Other fields of the `DetectionReport`.

    Raises:
        ExportMismatch: if the detections are others, or the detector's
            outputs are not finite.
        ValueError: if the comparison proves nothing.
    """
    _check_layout(expected, actual, fields["format"])
    limits = Limits.of(tolerance)
    pairs = Pairs(expected, actual, limits, threshold)
    report = DetectionReport(
        samples=len(expected["count"]),
        tolerance=tolerance,
        detections=pairs.total,
        found=pairs.found,
        agreement=pairs.agreement,
        max_box_error=float(pairs.max_box_error),
        max_score_error=float(pairs.max_score_error),
        max_mask_error=(
            float(pairs.max_mask_error) if "masks" in expected else None
        ),
        allowed_pixels=limits.boxes * LEAST_SIDE,
        distinct=_distinct(expected, limits, threshold),
        finite=all(np.isfinite(values).all() for values in expected.values()),
        **fields,
    )
    report.check(allow_constant)
    return report


def _check_layout(expected, actual, format):
    """Check what can be said without looking at single detections."""
    shapes, others = (
        {name: values.shape for name, values in sorted(outputs.items())}
        for outputs in (expected, actual)
    )
    if shapes != others:
        raise ExportMismatch(
            f"The {format} has outputs of shapes {others} where the Keras "
            f"detector has {shapes}, and was not kept."
        )
    taken = np.arange(actual["labels"].shape[1]) < actual["count"][:, None]
    if (taken != (actual["labels"] >= 0)).any():
        raise ExportMismatch(
            f"The {format} has labels that do not match its counts, and was "
            "not kept."
        )


def _distinct(outputs, limits, threshold):
    """Whether some images clearly have other detections than the first."""
    wide = Limits(
        *(CLEAR_VARIATION * limit for limit in dataclasses.astuple(limits))
    )

    def only(i):
        return {name: values[i : i + 1] for name, values in outputs.items()}

    return any(
        Pairs(only(0), only(i), wide, threshold).agreement < 1
        for i in range(1, len(outputs["count"]))
    )
