"""Detections of an exported file beside those of the Keras detector."""

import dataclasses

import numpy as np

from eca_keras.export.checking.network import CLEAR_VARIATION
from eca_keras.export.checking.pairs import LEAST_SIDE
from eca_keras.export.checking.pairs import MASK_FACTOR
from eca_keras.export.checking.pairs import Limits
from eca_keras.export.checking.pairs import Pairs
from eca_keras.export.checking.report import ExportMismatch
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
        agreement: Share of the detections that are the same; from 0 to 1.
        least_agreement: What the agreement must be.
        box_difference: Largest difference of a corner, in pixels. This and
            the next two are of detections of one label that overlap at least
            by half, the most alike together.
        score_difference: Largest difference of a score.
        mask_difference: Largest difference in a mask; `None` without masks.
        allowed_pixels: Difference of a corner that passes, of boxes with
            sides up to 32 pixels; of larger ones more in proportion.
        distinct: Whether the detector answers some images otherwise than
            others.
        finite: Whether the detector's own outputs are finite.
    """

    detections: int
    found: int
    agreement: float
    least_agreement: float
    box_difference: float
    score_difference: float
    mask_difference: float | None
    allowed_pixels: float
    distinct: bool
    finite: bool

    @property
    def passed(self):
        return self.finite and self.agreement >= self.least_agreement

    @property
    def varies(self):
        """Whether there is something to find, and not in all images alike."""
        return self.detections > 0 and self.distinct

    def measures(self):
        needed = f"needed {100 * self.least_agreement:.0f} %"
        rows = [
            ("detections", f"{self.detections}, in the file {self.found}"),
            ("agreement", f"{100 * self.agreement:.1f} % ({needed})"),
            (
                "boxes differ by",
                f"{self.box_difference:.1e} px "
                f"(allowed {self.allowed_pixels:.1e} for sides up to "
                f"{LEAST_SIDE} px)",
            ),
            (
                "scores differ by",
                f"{self.score_difference:.1e} (allowed {self.tolerance:.1e})",
            ),
        ]
        if self.mask_difference is not None:
            allowed = MASK_FACTOR * self.tolerance
            text = f"{self.mask_difference:.1e} (allowed {allowed:.1e})"
            rows.append(("masks differ by", text))
        return rows

    def complaint(self):
        if not self.finite:
            return self.not_finite()
        return (
            f"The {self.format} answers other detections than the Keras "
            f"detector: {self.agreement:.1%} of them agree (needed "
            f"{self.least_agreement:.0%}), so that it was not kept"
        )

    @property
    def _sameness(self):
        """What the detector answers where it proves little."""
        if not self.detections:
            return "no detections"
        return "the same detections in all of them"

    def doubt(self):
        return f"{self.samples} samples with {self._sameness}"

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
    """Compares detections and returns the report.

    Args:
        expected: Dictionary of arrays, the Keras detector's answer.
        actual: The same of the file.
        threshold: Detections have a higher score.
        tolerance: See `DetectionReport`.
        allow_constant: Whether the samples may be such that the comparison
            proves nothing.
        **fields: The other fields of the `DetectionReport`.

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
        box_difference=float(pairs.box_difference),
        score_difference=float(pairs.score_difference),
        mask_difference=(
            float(pairs.mask_difference) if "masks" in expected else None
        ),
        allowed_pixels=limits.boxes * LEAST_SIDE,
        distinct=_distinct(expected, limits, threshold),
        finite=all(np.isfinite(values).all() for values in expected.values()),
        **fields,
    )
    report.check(allow_constant)
    return report


def _check_layout(expected, actual, format):
    """Checks what can be said without looking at single detections."""
    shapes, others = (
        {name: values.shape for name, values in sorted(outputs.items())}
        for outputs in (expected, actual)
    )
    if shapes != others:
        raise ExportMismatch(
            f"The {format} answers the shapes {others} where the Keras "
            f"detector answers {shapes}, and was not kept.",
            None,
        )
    taken = np.arange(actual["labels"].shape[1]) < actual["count"][:, None]
    if (taken != (actual["labels"] >= 0)).any():
        raise ExportMismatch(
            f"The {format} has labels in other places than its counts say, "
            "and was not kept.",
            None,
        )


def _distinct(outputs, limits, threshold):
    """Whether some images are clearly answered otherwise than the first."""
    wide = Limits(
        **{
            name: CLEAR_VARIATION * limit
            for name, limit in dataclasses.asdict(limits).items()
        }
    )

    def only(i):
        return {name: values[i : i + 1] for name, values in outputs.items()}

    return any(
        Pairs(only(0), only(i), wide, threshold).agreement < 1
        for i in range(1, len(outputs["count"]))
    )
