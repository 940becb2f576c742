"""What every export is worth, on paper."""

import collections
import dataclasses
import json
import os

from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """An exported file beside the Keras model it was made from.

    What was compared is in the fields of the subclasses: `NetworkReport` for
    a model with one output, `DetectionReport` for a detector.

    Attributes:
        path: Where the export is.
        format: Name of the format.
        size: Bytes of the export, without this report.
        samples: Number of samples on which the two were compared.
        tolerance: What the caller allows.
        seconds: Median time in which the file answers a batch of
            `batch_size`.
        batch_size: Samples in that batch.
        threads: Threads that take part in that; `None` for as many as
            TensorFlow has, which a process cannot change later.
        ops: Names of the operations in the file, in their order; empty where
            the format does not tell.
        notes: Sentences about what else there is to know.
        preprocessing: What images go through before the file, as a
            dictionary for programs that read the JSON beside it; `None` if
            that was not said.
    """

    path: str
    format: str
    size: int
    samples: int
    tolerance: float
    seconds: float | None = None
    batch_size: int = 1
    threads: int | None = 1
    ops: tuple = ()
    notes: tuple = ()
    preprocessing: dict | None = None

    # Written to the JSON besides the fields.
    PROPERTIES: tuple[str, ...] = ("passed", "varies")

    @property
    def passed(self):
        """Whether the file answers what the model answers."""
        raise NotImplementedError

    @property
    def varies(self):
        """Whether the model's answers are such that this means much."""
        raise NotImplementedError

    def measures(self):
        """What was compared, pairs of a name and a text."""
        raise NotImplementedError

    def complaint(self):
        """Why the file was not kept, if it did not pass."""
        raise NotImplementedError

    def emptiness(self):
        """Why the comparison proves nothing, if nothing varies."""
        raise NotImplementedError

    def doubt(self):
        """The same in a few words."""
        return "outputs that do not vary over the samples"

    def check(self, allow_constant):
        """Raises what there is to say against keeping the file.

        Args:
            allow_constant: Whether a comparison may pass that proves nothing.
        """
        if not self.passed:
            raise ExportMismatch(f"{self.complaint()}.\n{self}", self)
        if not (self.varies or allow_constant):
            raise InputError(self.emptiness())

    def not_finite(self):
        """The complaint about a model that answers NaN or infinity."""
        return (
            "The Keras model's own outputs are not finite on the samples, so "
            f"the {self.format} was not kept"
        )

    def __str__(self):
        rows = [
            ("size", f"{self.size:,} bytes"),
            ("samples", str(self.samples)),
            *self.measures(),
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
            notes.append(f"{self.doubt()}: this comparison proves little")
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
        for name in self.PROPERTIES:
            values[name] = getattr(self, name)
        with open(file, "w", encoding="utf-8") as stream:
            json.dump(values, stream, indent=2)
            stream.write("\n")
