"""What an export is worth: its outputs beside those of the Keras model."""

import dataclasses
import math
import time

import keras
import numpy as np

from eca_keras.export.checking.report import ExportMismatch
from eca_keras.export.checking.report import Report

# Outputs have to vary by this many times what the comparison lets pass.
# Below, a file that always answers the same would nearly pass as well.
CLEAR_VARIATION = 10

INT8_STEPS = 255  # of the range of values, between which int8 cannot tell

ROUNDS = 10  # timed calls for the latency


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkReport(Report):
    """A file beside a Keras model with one output.

    Attributes:
        largest_difference: Largest absolute difference of an output.
        mean_difference: Mean absolute difference of the outputs.
        top1_agreement: Share of the samples, or of their positions, for which
            the largest output has the same index; between 0 and 1.
        largest_output: Largest absolute output of the Keras model.
        spread: The most that one output of the Keras model changes from
            sample to sample.
        variation: Mean absolute difference of the Keras model's outputs from
            their mean over the samples: what a file would differ by that
            always answers this mean.
        tolerance: What the caller allows, see `allowed`.
        integer: Whether the file computes in 8-bit integers, which is judged
            by the mean difference and the top-1 agreement.
        least_agreement: The top-1 agreement that an integer file needs.
    """

    largest_difference: float
    mean_difference: float
    top1_agreement: float
    largest_output: float
    spread: float
    variation: float
    integer: bool = False
    least_agreement: float = 0.0

    PROPERTIES = ("allowed", *Report.PROPERTIES)

    @property
    def allowed(self):
        """The difference that passes: the largest, of integers the mean.

        The error of floating-point numbers grows with them, so this is the
        tolerance times the largest output where that is more than 1. Integers
        are allowed this share of the variation, and one step where the
        outputs do not vary.
        """
        if not self.integer:
            return self.tolerance * self._scale
        return self.tolerance * self.variation if self.varies else self._step

    @property
    def passed(self):
        if not math.isfinite(self.largest_output):
            return False
        if not self.integer:
            return self.largest_difference <= self.allowed
        agrees = self.top1_agreement >= self.least_agreement
        # The largest of outputs that do not vary is a matter of rounding.
        return self.mean_difference <= self.allowed and (
            agrees or not self.varies
        )

    @property
    def varies(self):
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
        return [
            (
                "largest difference",
                f"{self.largest_difference:.1e}{allowed[0]}",
            ),
            ("mean difference", f"{self.mean_difference:.1e}{allowed[1]}"),
            ("top-1 agreement", agreement),
        ]

    def complaint(self):
        if not math.isfinite(self.largest_output):
            return self.not_finite()
        start = f"The {self.format} differs from the Keras model"
        if not self.integer:
            return (
                f"{start} by up to {self.largest_difference:.1e}, more than "
                f"the {self.allowed:.1e} allowed, and was not kept"
            )
        return (
            f"{start} by {self.mean_difference:.1e} in the mean (allowed "
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


def keras_outputs(endpoint, samples):
    """Returns the outputs of an endpoint for samples, arrays by name."""
    run = endpoint.as_predicted()
    return _by_batches(
        lambda batch: keras.tree.map_structure(np.array, run(**batch)),
        samples,
        endpoint.max_batch,
    )


def runtime_outputs(run, samples, batch_size):
    """Returns the outputs of an exported file for samples, arrays by name.

    Args:
        run: Callable that maps a batch of exactly `batch_size` samples to
            its outputs.
        samples: Arrays of samples by name; the last batch is filled up.
        batch_size: Positive integer.
    """
    count = count_of(samples)
    missing = -count % batch_size
    filled = {
        name: np.concatenate([values, *[values[-1:]] * missing])
        for name, values in samples.items()
    }
    outputs = _by_batches(run, filled, batch_size)
    return {name: values[:count] for name, values in outputs.items()}


def _by_batches(run, samples, batch_size):
    answers = []
    for i in range(0, count_of(samples), batch_size):
        batch = {name: x[i : i + batch_size] for name, x in samples.items()}
        # Copied: a runtime may write its next answer to the same place.
        answers.append({name: np.array(x) for name, x in run(batch).items()})
    return {
        name: np.concatenate([answer[name] for answer in answers])
        for name in answers[0]
    }


def count_of(samples):
    """Number of samples, which are arrays by name."""
    return len(next(iter(samples.values())))


def latency(run, samples, batch_size):
    """Returns the median seconds of a call with `batch_size` samples."""
    batch = {
        name: np.resize(values, (batch_size, *values.shape[1:]))
        for name, values in samples.items()
    }
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def compare(expected, actual, *, allow_constant=False, **fields):
    """Compares outputs and returns the report.

    Args:
        expected: Array of the Keras model's outputs, one row per sample.
        actual: Array of the file's outputs.
        allow_constant: Whether the outputs may be alike for all samples.
        **fields: The other fields of the `NetworkReport`.

    Raises:
        ExportMismatch: if the outputs differ by more than the tolerance
            allows, or the Keras model's outputs are not finite.
        ValueError: if the Keras model's outputs do not vary over the samples.
    """
    if expected.shape != actual.shape:
        raise ExportMismatch(
            f"The {fields['format']} answers the shape {actual.shape} where "
            f"the Keras model answers {expected.shape}, and was not kept.",
            None,
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
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        top1_agreement=float(agreement.mean()),
        largest_output=float(np.abs(expected).max()),
        spread=float(spread),
        variation=float(variation),
        **fields,
    )
    report.check(allow_constant)
    return report
