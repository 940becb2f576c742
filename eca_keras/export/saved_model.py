"""TensorFlow SavedModel: the format of TensorFlow Serving."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from typing import ClassVar

import keras
from numpy.typing import ArrayLike

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.export import signatures
from eca_keras.export.backend import tf
from eca_keras.export.checking.report import Report
from eca_keras.export.endpoints import OUTPUT_NAME
from eca_keras.export.endpoints import Endpoint
from eca_keras.export.exporter import Target
from eca_keras.export.exporter import export
from eca_keras.export.metadata import write_text
from eca_keras.utils import checks
from eca_keras.utils.files import staged_folder
from eca_keras.utils.keras_graph import flatten_layers
from eca_keras.utils.quiet import quiet
from eca_keras.utils.types import PathLike

# TensorFlow Serving keeps this folder for what the model's user brings along.
EXTRA = "assets.extra"
REPORT = "report.json"

# Layers with a table that is not a variable.
LOOKUPS = (keras.layers.IntegerLookup, keras.layers.StringLookup)

# What TensorFlow's messages about files end in, as numbers of the OS.
WRITE_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
)


def export_saved_model(
    model: keras.Model | Endpoint,
    path: PathLike,
    *,
    samples: ArrayLike | dict[str, ArrayLike] | None = None,
    labels: list[str] | None = None,
    tolerance: float | None = None,
    preprocessing: Preprocessing | None = None,
    serving_version: int | None = None,
    overwrite: bool = True,
    allow_constant: bool = False,
) -> Report:
    """Write a SavedModel and check that its outputs are those of the model.

    The folder needs neither this library nor Keras to be loaded. Its serving
    signature `serving_default` maps `images`, of any batch size, to
    `outputs`; that of a detector has more inputs and outputs, see
    `DetectionEndpoint`. The report is written into it, as
    `assets.extra/report.json`.

    With `preprocessing` there are two more signatures, for any batch size,
    which give the model the same pixels as `eca-keras predict`. Each returns
    `labels`, strings, and `probabilities`, float32, both of shape
    `(batch, 5)`, the likeliest class first, or `(batch, classes)` for fewer
    classes than 5:

    - `classify` takes `image_bytes`, strings of shape `(batch,)`: the
      contents of JPEG, PNG, BMP or GIF files, of any sizes. JPEG and PNG are
      turned as their Exif data say. TensorFlow Serving's JSON has them as
      `{"b64": "..."}`. One file that cannot be decoded fails the batch.
    - `classify_pixels` takes `pixels`, uint8 RGB of shape
      `(batch, height, width, 3)`, of any height and width.

    Args:
        model: A built `keras.Model` with one input and one output, a
            detector, or a `DetectionEndpoint`.
        path: The folder to write. It appears complete or not at all.
        samples: Array of shape `(count, *input_shape)` to compare on, in the
            range of values that the model expects; `None` generates some. A
            detector needs images in which it finds something.
        labels: Names of the classes, written to `assets.extra/labels.txt` in
            the folder; `None` for those of `preprocessing`.
        tolerance: Positive number, the largest absolute error that passes,
            times the largest output if that is more than 1. By default 1e-5,
            for a detector 1e-4, see `DetectionReport`.
        preprocessing: What images go through before the model, and the
            labels of its outputs, which must be probabilities; `None` for a
            SavedModel that takes tensors only. With its `mean` and `std` the
            signatures normalize; without, the model takes values in
            [0, 255]. It is also written to `assets.extra/preprocessing.json`.
        serving_version: Positive integer: the SavedModel goes to the folder
            of this name in `path`, as TensorFlow Serving has the versions of
            a model; `None` for `path` itself.
        overwrite: Whether an earlier export at `path` may be replaced.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples: then the comparison proves nothing.

    Returns:
        The `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, or the outputs of the
            model do not vary.
        ExportMismatch: if the outputs differ. Nothing is kept.
        OSError: if the folder cannot be written, or `path` has something else
            in it.
    """
    checks.check_count("serving_version", serving_version, none=True)
    if serving_version is not None:
        path = os.path.join(path, str(serving_version))
    return export(
        SavedModel(preprocessing=preprocessing),
        model,
        path,
        samples=samples,
        labels=labels,
        preprocessing=preprocessing,
        tolerance=tolerance,
        overwrite=overwrite,
        allow_constant=allow_constant,
    )


def open_file(path, threads=None):
    """Return a function from a batch to the outputs of a SavedModel."""
    return _runner(tf.saved_model.load(path))


def write(endpoint, folder, specs, more=()):
    """Write a SavedModel.

    Args:
        endpoint: The `Endpoint` that is its serving signature.
        folder: Path, must not exist.
        specs: What the signature takes, as `endpoint.specs` has it.
        more: `signatures.Signature`s besides the one for tensors.

    Raises:
        OSError: if TensorFlow cannot write the files.
    """
    archive = keras.export.ExportArchive()
    # The archive finds the variables by itself, and would write those of a
    # tracked model a second time. Only other resources need tracking.
    for layer in flatten_layers(endpoint.model):
        if isinstance(layer, LOOKUPS):
            archive.track(layer)
    archive.add_endpoint(
        "serve",
        endpoint.function(),
        input_signature=list(specs.values()),
    )
    for signature in more:
        archive.add_endpoint(
            signature.name,
            signature.function,
            input_signature=[signature.spec],
        )
    try:
        with quiet():
            archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        # A full disk is reported in several ways, none of them an OSError.
        for number in WRITE_ERRORS:
            if os.strerror(number) in error.message:
                raise OSError(number, os.strerror(number)) from error
        reason = error.message.partition("\n")[0]
        raise OSError(errno.EIO, reason) from error


@dataclasses.dataclass
class SavedModel(Target):
    """A folder, of any data format and precision, for images as well."""

    format: ClassVar[str] = "saved_model"
    threads: ClassVar[None] = None
    preprocessing: Preprocessing | None = None

    def check(self, endpoint):
        self.model = endpoint.model

    def prepare(self, endpoint, samples):
        return endpoint, samples, ()

    @contextlib.contextmanager
    def stage(self, path, metadata, overwrite):
        with staged_folder(
            path,
            is_ours=tf.saved_model.contains_saved_model,
            overwrite=overwrite,
        ) as folder:
            yield folder, os.path.join(folder, EXTRA, REPORT)

    def check_outputs(self, outputs):
        if self.preprocessing is not None:
            signatures.check_probabilities(outputs[OUTPUT_NAME])

    def write(self, endpoint, file, metadata):
        more = []
        if self.preprocessing is not None:
            more = signatures.signatures(self.model, self.preprocessing)
        write(endpoint, file, endpoint.specs(), more)
        extra = os.path.join(file, EXTRA)
        os.makedirs(extra)
        for name, text in metadata.texts().items():
            write_text(os.path.join(extra, name), text)
        return {"format": "SavedModel"}

    def open(self, file):
        self.loaded = tf.saved_model.load(file)
        return _runner(self.loaded)

    def size(self, file):
        return sum(
            os.path.getsize(os.path.join(parent, name))
            for parent, _, names in os.walk(file)
            for name in names
        )

    def finish(self, report):
        if self.preprocessing is None:
            return report
        return signatures.compared(
            self.loaded, self.model, self.preprocessing, report
        )


def _runner(loaded):
    serve = loaded.signatures["serving_default"]

    def run(batch, loaded=loaded):  # which keeps it alive
        outputs = serve(**{name: tf.constant(x) for name, x in batch.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run
