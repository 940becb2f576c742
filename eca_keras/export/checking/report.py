"""The report that every export comes with."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import textwrap
from typing import Any

from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError

# Outputs have to vary by this many times what the comparison lets pass.
# Below, a file with constant outputs would nearly pass as well.
CLEAR_VARIATION = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """An exported file beside the Keras model that it was made from.

    The subclasses have what was compared: `NetworkReport` for a model with
    one output, `DetectionReport` for a detector. Print a report to read it.

    A subclass has `passed`, `varies`, and methods for texts: `measures`, the
    rows of what was compared, `complaint`, why the file was not kept, and
    `emptiness`, why the comparison proves nothing.

    Attributes:
        path: Where the export is.
        format: Name of the format.
        size: Bytes of the export, without this report.
        samples: Number of samples on which the two were compared.
        tolerance: What the caller allows.
        seconds: Median seconds of a call with a batch of `batch_size`.
        batch_size: Samples in that batch.
        threads: Threads of that call; `None` for as many as
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
    ops: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: dict[str, Any] | None = None

    # Written to the JSON besides the fields.
    PROPERTIES: tuple[str, ...] = ("passed", "varies")

    @property
    def passed(self) -> bool:
        """Whether the outputs of the file are those of the model."""
        raise NotImplementedError

    @property
    def varies(self) -> bool:
        """Whether the model's outputs are such that this means much."""
        raise NotImplementedError

    def measures(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    def doubt(self):
        """Say the same in a few words."""
        return "outputs that do not vary over the samples"

    def check(self, allow_constant):
        """Raise unless the file passed and the comparison proves something.

        Args:
            allow_constant: Whether a comparison may pass that proves nothing.
        """
        if not self.passed:
            raise ExportMismatch(f"{self.complaint()}.\n{self}", self)
        if not (self.varies or allow_constant):
            raise InputError(self.emptiness())

    def not_finite(self):
        """Say that the outputs of the model are NaN or infinite."""
        return (
            "The Keras model's own outputs are not finite on the samples, so "
            f"the {self.format} was not kept"
        )

    def __str__(self) -> str:
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
        lines = [_row(name, value) for name, value in rows]
        return "\n".join([f"{self.format}: {self.path}", *lines])

    def write(self, file):
        """Write all fields as JSON.

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


def _row(name, value):
    return textwrap.fill(
        value,
        80,
        initial_indent=f"  {name:<20}",
        subsequent_indent=" " * 22,
        break_long_words=False,
        break_on_hyphens=False,
    )
