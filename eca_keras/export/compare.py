"""What an export is worth: its outputs beside those of the Keras model."""

import collections
import dataclasses
import json
import math
import os
import time

import keras
import numpy as np

from eca_keras.errors import InputError

MAX_BATCH = 32  # samples that a model or a file sees at once

# Outputs have to vary by this many times what the comparison lets pass.
# Below, a file that always answers the same would nearly pass as well.
CLEAR_VARIATION = 10

INT8_STEPS = 255  # of the range of values, between which int8 cannot tell

ROUNDS = 10  # timed calls for the latency


class ExportMismatch(RuntimeError):
    """A written file does not answer what the Keras model answers.

    Attributes:
        report: The `Report` of the comparison, or `None` where not even the
            shapes of the outputs agree.
    """

    def __init__(self, message, report):
        super().__init__(message)
        self.report = report


@dataclasses.dataclass(frozen=True)
class Report:
    """An exported file beside the Keras model it was made from.

    Attributes:
        path: Where the export is.
        format: Name of the format.
        size: Bytes of the export, without this report.
        samples: Number of samples on which the two were compared.
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
        seconds: Median time in which the file answers a batch of
            `batch_size`.
        batch_size: Samples in that batch.
        threads: Threads that take part in that; `None` for as many as
            TensorFlow has, which a process cannot change later.
        ops: Names of the operations in the file, in their order; empty where
            the format does not tell.
        notes: Sentences about what else there is to know.
        preprocessing: The fields of the `Preprocessing` that was given, for
            programs that read the JSON beside a file; `None` without.
    """

    path: str
    format: str
    size: int
    samples: int
    largest_difference: float
    mean_difference: float
    top1_agreement: float
    largest_output: float
    spread: float
    variation: float
    tolerance: float
    integer: bool = False
    least_agreement: float = 0.0
    seconds: float | None = None
    batch_size: int = 1
    threads: int | None = 1
    ops: tuple = ()
    notes: tuple = ()
    preprocessing: dict | None = None

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

    def __str__(self):
        allowed = [f" (allowed {self.allowed:.1e})", ""]
        agreement = f"{100 * self.top1_agreement:.1f} %"
        if self.integer:
            allowed.reverse()
            agreement += f" (needed {100 * self.least_agreement:.0f} %)"
        rows = [
            ("size", f"{self.size:,} bytes"),
            ("samples", str(self.samples)),
            (
                "largest difference",
                f"{self.largest_difference:.1e}{allowed[0]}",
            ),
            ("mean difference", f"{self.mean_difference:.1e}{allowed[1]}"),
            ("top-1 agreement", agreement),
        ]
        if self.seconds is not None:
            threads = "TensorFlow's threads"
            if self.threads is not None:
                threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
            batch = f"batch of {self.batch_size}, {threads}"
            rows.append(("latency", f"{1e3 * self.seconds:.2f} ms ({batch})"))
        if self.ops:
            counts = collections.Counter(self.ops).most_common()
            names = ", ".join(f"{n} {name}" for name, n in counts)
            rows.append(("operations", f"{len(self.ops)}: {names}"))
        rows.append(("result", "passed" if self.passed else "FAILED"))
        notes = list(self.notes)
        if not self.varies:
            notes.append(
                "its outputs do not vary over the samples: this comparison "
                "proves little"
            )
        rows.extend(("note", note) for note in notes)
        lines = [f"  {name:<20}{value}" for name, value in rows]
        return "\n".join([f"{self.format}: {self.path}", *lines])

    def write(self, file):
        """Writes the figures as JSON.

        Without folders: the file goes where the export goes.
        """
        values = dataclasses.asdict(self)
        values["path"] = os.path.basename(self.path)
        values["ops"] = dict(collections.Counter(self.ops))
        for name in ("allowed", "passed", "varies"):
            values[name] = getattr(self, name)
        with open(file, "w", encoding="utf-8") as stream:
            json.dump(values, stream, indent=2)
            stream.write("\n")


def call(model, images):
    """Returns the only output of a model for a batch, as a tensor."""
    return keras.tree.flatten(model(images, training=False))[0]


def keras_outputs(model, samples):
    """Returns the outputs of a model for samples, as an array."""
    return np.concatenate(
        [
            call(model, samples[i : i + MAX_BATCH]).numpy()
            for i in range(0, len(samples), MAX_BATCH)
        ]
    )


def runtime_outputs(run, samples, batch_size):
    """Returns the outputs of an exported file for samples.

    Args:
        run: Callable that maps a batch of exactly `batch_size` samples to
            its outputs.
        samples: Array of samples; the last batch is filled up.
        batch_size: Positive integer.
    """
    outputs = []
    for i in range(0, len(samples), batch_size):
        batch = samples[i : i + batch_size]
        missing = batch_size - len(batch)
        batch = np.concatenate([batch, *[batch[-1:]] * missing])
        outputs.append(np.array(run(batch))[: batch_size - missing])
    return np.concatenate(outputs)


def latency(run, samples, batch_size):
    """Returns the median seconds of a call with `batch_size` samples."""
    batch = np.resize(samples, (batch_size, *samples.shape[1:]))
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
        **fields: The other fields of the `Report`.

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
    report = Report(
        samples=len(expected),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        top1_agreement=float(agreement.mean()),
        largest_output=float(np.abs(expected).max()),
        spread=float(spread),
        variation=float(variation),
        **fields,
    )
    if not math.isfinite(report.largest_output):
        raise ExportMismatch(
            "The Keras model's own outputs are not finite on the samples, so "
            f"the {report.format} was not kept.\n{report}",
            report,
        )
    if not report.passed:
        raise ExportMismatch(f"{_complaint(report)}.\n{report}", report)
    if not (report.varies or allow_constant):
        raise InputError(
            "`model` must have outputs that vary over the samples, but its "
            "outputs do not vary, so that the comparison would prove "
            "nothing: train it, pass real images as `samples`, or say "
            "`allow_constant=True`. Received: outputs that change by "
            f"{report.spread:.1e} at most"
        )
    return report


def _complaint(report):
    start = f"The {report.format} differs from the Keras model"
    if not report.integer:
        return (
            f"{start} by up to {report.largest_difference:.1e}, more than the "
            f"{report.allowed:.1e} allowed, and was not kept"
        )
    return (
        f"{start} by {report.mean_difference:.1e} in the mean (allowed "
        f"{report.allowed:.1e}) and agrees on the top-1 of "
        f"{report.top1_agreement:.1%} of the samples (needed "
        f"{report.least_agreement:.0%}), and was not kept"
    )
