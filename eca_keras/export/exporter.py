"""The skeleton of an export: check, convert, reload, compare, keep."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import ClassVar

from eca_keras.applications.detection.detector import Detector
from eca_keras.errors import InputError
from eca_keras.export import precision
from eca_keras.export.checking.outputs import file_outputs
from eca_keras.export.checking.outputs import latency
from eca_keras.export.checking.outputs import model_outputs
from eca_keras.export.checking.outputs import sample_count
from eca_keras.export.checking.samples import COUNT
from eca_keras.export.detection import DetectionEndpoint
from eca_keras.export.endpoints import Endpoint
from eca_keras.export.endpoints import Network
from eca_keras.export.formats import FORMATS
from eca_keras.export.formats import format_of
from eca_keras.export.metadata import LABELS
from eca_keras.export.metadata import write_text
from eca_keras.utils import checks
from eca_keras.utils.files import staged_files
from eca_keras.utils.keras_graph import flatten_layers


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What a file computes in, and what passes.

    Attributes:
        weights: What the weights are stored in, for the name of the format.
        tolerance: Default tolerance. For `integer` it is the mean absolute
            error as a fraction of `NetworkReport.variation`: 1 is the score
            of a file that ignores its input.
        integer: Whether the file computes in 8-bit integers.
        samples: How many samples are generated where none are given: a single
            one must not decide about an agreement of 97 %.
    """

    weights: str = "float32"
    tolerance: float = 1e-5
    integer: bool = False
    samples: int = COUNT


@dataclasses.dataclass
class Target:
    """A file to write: what is particular to its format, for `export`.

    This base class is a single file, with its report and labels beside it,
    whose runtime computes in float32. A subclass has `write`, and its module
    has `open_file`, see `Format`.

    Attributes:
        format: Key in `FORMATS`.
        batch_size: Samples that the file takes at once; `None` for any.
        least_agreement: The agreement that the file needs, unless it
            computes in float32.
        numbers: What the file computes in.
        threads: Threads of the runtime; `None` for TensorFlow's.
    """

    format: ClassVar[str]
    threads: ClassVar[int | None] = 1
    batch_size: int | None = None
    least_agreement: float = 0.0
    numbers: Numbers = Numbers()

    @property
    def row(self):
        return FORMATS[self.format]

    def check(self, endpoint):
        """Check the arguments of the format against the model."""
        checks.check_count("batch_size", self.batch_size, none=True)
        # Keras must run the model on a CPU, to compare with it.
        for layer in flatten_layers(endpoint.model):
            if getattr(layer, "data_format", None) == "channels_first":
                raise InputError(
                    "`model` must be in the channels_last format for "
                    f"{self.row.title}: build it so and copy the weights. "
                    f"Received: the layer {layer.name} with "
                    "data_format='channels_first'"
                )

    def sample_shape(self, endpoint):
        """Return the shape of one image; `None` stands for any size."""
        return endpoint.image_shape

    def prepare(self, endpoint, samples):
        """Return what to write, samples for it, and notes for the report."""
        return precision.lowered(endpoint, samples)

    @contextlib.contextmanager
    def stage(self, path, metadata, overwrite):
        """Yield where to write the file and its report.

        Both are named after the file: another model may be in the folder.
        """
        path = os.path.abspath(path)
        paths = [path, f"{path}.json"]
        if metadata.labels is not None:
            paths.append(f"{os.path.splitext(path)[0]}.{LABELS}")
        with staged_files(*paths, overwrite=overwrite) as files:
            for file in files[2:]:
                write_text(file, metadata.texts()[LABELS])
            yield files[0], files[1]

    def check_outputs(self, outputs):
        """Check the model's outputs for the samples, arrays by name."""

    def write(self, endpoint, file, metadata):
        """Write the file.

        Returns:
            Fields of the report: `format`, and `ops` and `notes` if any.
        """
        raise NotImplementedError

    def open(self, file):
        """Return a function from a batch to the outputs of the file."""
        return self.row.open_file(file)

    def size(self, file):
        """Return the bytes of what was written."""
        return os.path.getsize(file)

    def finish(self, report):
        """Compare what else there is, and return the report with notes."""
        return report


def export(
    target,
    model,
    path,
    *,
    samples=None,
    labels=None,
    preprocessing=None,
    tolerance=None,
    overwrite=True,
    allow_constant=False,
):
    """Export a model to a `Target`; return the report.

    The other arguments are those of `export_tflite`.
    """
    target.row.check_packages()
    endpoint = endpoint_of(model)
    target.check(endpoint)
    if tolerance is None:
        tolerance = max(target.numbers.tolerance, endpoint.tolerance)
    checks.check_positive("tolerance", tolerance)
    metadata = endpoint.metadata(labels, preprocessing)
    format_of(path, target.format)
    samples = endpoint.samples(
        samples, target.sample_shape(endpoint), target.numbers.samples
    )
    endpoint, samples, notes = target.prepare(endpoint, samples)
    with target.stage(path, metadata, overwrite) as (file, report_file):
        expected = model_outputs(endpoint, samples)
        target.check_outputs(expected)
        written = target.write(endpoint, file, metadata)
        run = target.open(file)
        together = min(sample_count(samples), endpoint.max_batch)
        report = endpoint.compare(
            expected,
            file_outputs(run, samples, target.batch_size or together),
            numbers=target.numbers,
            least_agreement=target.least_agreement,
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            size=target.size(file),
            tolerance=tolerance,
            seconds=latency(run, samples, target.batch_size or 1),
            batch_size=target.batch_size or 1,
            threads=target.threads,
            preprocessing=metadata.preprocessing,
            **{**written, "notes": written.get("notes", ()) + notes},
        )
        report = target.finish(report)
        report.write(report_file)
    return report


def endpoint_of(model):
    """Return the `Endpoint` of a model, a detector, or itself."""
    if isinstance(model, Endpoint):
        return model
    if isinstance(model, Detector):
        return DetectionEndpoint(model)
    return Network(model)
