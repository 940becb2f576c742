"""What an export is worth: its outputs beside those of the Keras model."""

import collections
import dataclasses
import math

import keras
import numpy as np

MAX_BATCH = 32  # samples that a model or a file sees at once

# Outputs have to vary by this many times what the comparison lets pass.
# Below, a file that always answers the same would nearly pass as well.
CLEAR_VARIATION = 10


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
        size: Bytes, of all files together.
        samples: Number of samples on which the two were compared.
        largest_difference: Largest absolute difference of an output.
        mean_difference: Mean absolute difference of the outputs.
        top1_agreement: Share of the samples, or of their positions, for which
            the largest output has the same index; between 0 and 1.
        largest_output: Largest absolute output of the Keras model.
        spread: The most that one output of the Keras model changes from
            sample to sample.
        tolerance: What the caller allows where outputs are 1 or smaller.
        ops: Names of the operations in the file, in their order; empty where
            the format does not tell.
        notes: Sentences about what else there is to know.
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
    tolerance: float
    ops: tuple = ()
    notes: tuple = ()

    @property
    def allowed(self):
        """The largest difference that passes.

        The error of floating-point numbers grows with them, so this is the
        tolerance times the largest output where that is more than 1.
        """
        return self.tolerance * max(1.0, self.largest_output)

    @property
    def passed(self):
        return (
            math.isfinite(self.largest_output)
            and self.largest_difference <= self.allowed
        )

    @property
    def varies(self):
        """Whether the outputs vary enough for the comparison to mean much."""
        return self.spread > CLEAR_VARIATION * self.allowed

    def __str__(self):
        rows = [
            ("size", f"{self.size:,} bytes"),
            ("samples", str(self.samples)),
            (
                "largest difference",
                f"{self.largest_difference:.1e} (allowed {self.allowed:.1e})",
            ),
            ("mean difference", f"{self.mean_difference:.1e}"),
            ("top-1 agreement", f"{100 * self.top1_agreement:.1f} %"),
        ]
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


def compare(expected, actual, **fields):
    """Compares outputs and returns the report.

    Args:
        expected: Array of the Keras model's outputs, one row per sample.
        actual: Array of the file's outputs.
        **fields: The other fields of the `Report`.

    Raises:
        ExportMismatch: if the outputs differ by more than the tolerance
            allows, or the Keras model's outputs are not finite.
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
    agreement = expected.argmax(-1) == actual.argmax(-1)
    report = Report(
        samples=len(expected),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        top1_agreement=float(agreement.mean()),
        largest_output=float(np.abs(expected).max()),
        spread=float(spread),
        **fields,
    )
    if not math.isfinite(report.largest_output):
        raise ExportMismatch(
            "The Keras model's own outputs are not finite on the samples, so "
            f"the {report.format} was not kept.\n{report}",
            report,
        )
    if not report.passed:
        raise ExportMismatch(
            f"The {report.format} differs from the Keras model by up to "
            f"{report.largest_difference:.1e}, more than the "
            f"{report.allowed:.1e} allowed, and was not kept.\n{report}",
            report,
        )
    return report
