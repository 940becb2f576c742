"""Outputs of an exported file beside those of the Keras model."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from eca_keras.errors import ExportMismatch
from eca_keras.export.checking.report import CLEAR_VARIATION
from eca_keras.export.checking.report import Report

INT8_STEPS = 255  # of the range of values, between which int8 cannot tell


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkReport(Report):
    """A file beside a Keras model with one output.

    Attributes:
        max_absolute_error: Largest absolute difference of an output.
        mean_absolute_error: Mean absolute difference of the outputs.
        top1_agreement: Fraction of the samples, or of their positions, for
            which the largest output has the same index.
        largest_output: Largest absolute output of the Keras model.
        spread: The most that one output of the Keras model changes from
            sample to sample.
        variation: Mean absolute difference of the Keras model's outputs from
            their mean over the samples: the error of a file whose outputs
            are always this mean.
        integer: Whether the file computes in 8-bit integers, which is judged
            by the mean absolute error and the top-1 agreement.
        least_agreement: The top-1 agreement that an integer file needs.
    """

    max_absolute_error: float
    mean_absolute_error: float
    top1_agreement: float
    largest_output: float
    spread: float
    variation: float
    integer: bool = False
    least_agreement: float = 0.0

    PROPERTIES = ("allowed", *Report.PROPERTIES)

    @property
    def allowed(self) -> float:
        """The error that passes: the max, for integers the mean.

        The error of floating-point numbers grows with them, so this is the
        tolerance times the largest output where that is more than 1. Integers
        are allowed this fraction of the variation, and one step where the
        outputs do not vary.
        """
        if not self.integer:
            return self.tolerance * self._scale
        return self.tolerance * self.variation if self.varies else self._step

    @property
    def passed(self) -> bool:
        if not math.isfinite(self.largest_output):
            return False
        if not self.integer:
            return self.max_absolute_error <= self.allowed
        agrees = self.top1_agreement >= self.least_agreement
        # The largest of outputs that do not vary is a matter of rounding.
        return self.mean_absolute_error <= self.allowed and (
            agrees or not self.varies
        )

    @property
    def varies(self) -> bool:
        """Whether the outputs vary enough for the comparison to mean much."""
        least = self._step if self.integer else self.allowed
        return self.spread > CLEAR_VARIATION * least

    @property
    def _scale(self):
        return max(1.0, self.largest_output)

    @property
    def _step(self):
        return self._scale / INT8_STEPS

    def measures(self):
        allowed = [f" (allowed {self.allowed:.1e})", ""]
        agreement = f"{100 * self.top1_agreement:.1f} %"
        if self.integer:
            allowed.reverse()
            agreement += f" (needed {100 * self.least_agreement:.0f} %)"
        largest = f"{self.max_absolute_error:.1e}{allowed[0]}"
        mean = f"{self.mean_absolute_error:.1e}{allowed[1]}"
        return [
            ("max absolute error", largest),
            ("mean absolute error", mean),
            ("top-1 agreement", agreement),
        ]

    def complaint(self):
        if not math.isfinite(self.largest_output):
            return self.not_finite()
        start = f"The {self.format} differs from the Keras model"
        if not self.integer:
            return (
                f"{start} by up to {self.max_absolute_error:.1e}, more than "
                f"the {self.allowed:.1e} allowed, and was not kept"
            )
        return (
            f"{start} by {self.mean_absolute_error:.1e} on average (allowed "
            f"{self.allowed:.1e}) and agrees on the top-1 of "
            f"{self.top1_agreement:.1%} of the samples (needed "
            f"{self.least_agreement:.0%}), and was not kept"
        )

    def emptiness(self):
        return (
            "`model` must have outputs that vary over the samples, but its "
            "outputs do not vary, so that the comparison would prove "
            "nothing: train it, pass real images as `samples`, or say "
            "`allow_constant=True`. Received: outputs that change by "
            f"{self.spread:.1e} at most"
        )


def compare(expected, actual, *, allow_constant=False, **fields):
    """Compare outputs and return the report.

    Args:
        expected, actual: Arrays of the outputs of the Keras model and of the
            file, one row per sample.
        allow_constant: Whether the comparison may prove nothing.
        **fields: Other fields of the `NetworkReport`.

    Raises:
        ExportMismatch: if the outputs differ by more than the tolerance
            allows, or the Keras model's outputs are not finite.
        ValueError: if the Keras model's outputs do not vary over the samples.
    """
    if expected.shape != actual.shape:
        raise ExportMismatch(
            f"The {fields['format']} has outputs of shape {actual.shape} where "
            f"the Keras model has {expected.shape}, and was not kept."
        )
    # Half-precision and integer outputs must not overflow in the difference.
    expected = expected.astype("float64")
    actual = actual.astype("float64")
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected - actual)
        spread = np.ptp(expected, axis=0).max()
        variation = np.abs(expected - expected.mean(0)).mean()
    agreement = expected.argmax(-1) == actual.argmax(-1)
    report = NetworkReport(
        samples=len(expected),
        max_absolute_error=float(difference.max()),
        mean_absolute_error=float(difference.mean()),
        top1_agreement=float(agreement.mean()),
        largest_output=float(np.abs(expected).max()),
        spread=float(spread),
        variation=float(variation),
        **fields,
    )
    report.check(allow_constant)
    return report
