"""TensorFlow SavedModel: the format of TensorFlow Serving."""

import errno
import os

import keras

from eca_keras.errors import InputError
from eca_keras.export import checks
from eca_keras.export import signatures as pictures
from eca_keras.export.backend import tf
from eca_keras.export.checking.network import count_of
from eca_keras.export.checking.network import keras_outputs
from eca_keras.export.checking.network import latency
from eca_keras.export.checking.network import runtime_outputs
from eca_keras.export.endpoints import OUTPUT_NAME
from eca_keras.export.endpoints import endpoint_of
from eca_keras.export.tflite.quantization import KINDS
from eca_keras.utils import checks as value_checks
from eca_keras.utils.files import staged_folder
from eca_keras.utils.quiet import quiet

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
    model,
    path,
    *,
    samples=None,
    labels=None,
    tolerance=None,
    preprocessing=None,
    serving_version=None,
    overwrite=True,
    allow_constant=False,
):
    """Writes a SavedModel and checks that it answers what the model answers.

    The folder needs neither this library nor Keras to be loaded. Its serving
    signature `serving_default` maps `images`, of any batch size, to
    `outputs`; that of a detector has more inputs and outputs, see
    `DetectionEndpoint`. The report is written into it, as
    `assets.extra/report.json`.

    With `preprocessing` there are two more signatures, for any batch size,
    whose pixels are those that `eca-keras predict` gives the model. Each
    answers with `labels`, strings, and `probabilities`, float32, both of
    shape `(batch, 5)`, the likeliest class first, or `(batch, classes)` for
    fewer classes than 5:

    - `classify` takes `image_bytes`, strings of shape `(batch,)`: the
      contents of JPEG, PNG, BMP or GIF files, of any sizes. A JPEG is turned
      as its Exif data says. TensorFlow Serving's JSON has them as
      `{"b64": "..."}`. One file that cannot be decoded fails the batch.
    - `classify_pixels` takes `pixels`, uint8 RGB of shape
      `(batch, height, width, 3)`, of any height and width.

    Args:
        model: A built `keras.Model` with one input and one output, a
            detector, or a `DetectionEndpoint`.
        path: The folder to write. It appears complete or not at all: the
            export is written, reloaded and compared under a temporary name
            beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more, and a detector needs
            some in which it finds something.
        labels: List of strings, the names of the classes, which are written
            to `assets.extra/labels.txt` in the folder, one per line; `None`
            for none.
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1. By
            default 1e-5, for a detector 1e-4, see `DetectionReport`.
        preprocessing: `Preprocessing`: what pictures go through before the
            model, and the labels of its outputs, which must be
            probabilities; `None` for a SavedModel that takes tensors only.
            With its `mean` and `std` the signatures normalise; without, the
            model takes values in [0, 255]. It is also written to
            `assets.extra/preprocessing.json`.
        serving_version: Positive integer: the SavedModel goes to the folder
            of this name in `path`, as TensorFlow Serving has the versions of
            a model; `None` for `path` itself.
        overwrite: Whether an earlier export at `path` may be replaced.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples, as a freshly initialised one's, or a detector
            that finds nothing in them: then the comparison proves nothing.

    Returns:
        A `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, or the outputs of the
            model do not vary.
        ExportMismatch: if the export differs from the model. Nothing is kept.
        OSError: if the folder cannot be written, or `path` has something else
            in it.
    """
    endpoint = endpoint_of(model)
    tolerance = endpoint.tolerance if tolerance is None else tolerance
    checks.check_tolerance(tolerance)
    metadata = endpoint.metadata(labels, preprocessing)
    path = _version_folder(path, serving_version)
    samples = endpoint.samples(samples, endpoint.image_shape)
    with staged_folder(
        path, is_ours=tf.saved_model.contains_saved_model, overwrite=overwrite
    ) as folder:
        expected = keras_outputs(endpoint, samples)
        more = []
        if preprocessing is not None:
            pictures.check_probabilities(expected[OUTPUT_NAME])
            more = pictures.signatures(model, preprocessing)
        write(endpoint, folder, endpoint.specs(), more)
        extra = os.path.join(folder, EXTRA)
        os.makedirs(extra)
        for name, text in metadata.texts().items():
            checks.write_text(os.path.join(extra, name), text)
        # The signature does not keep the model that it belongs to alive.
        loaded = tf.saved_model.load(folder)
        run = _runner(loaded)
        report = endpoint.compare(
            expected,
            runtime_outputs(
                run, samples, min(count_of(samples), endpoint.max_batch)
            ),
            kind=KINDS["none"],
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format="SavedModel",
            size=_size(folder),
            tolerance=tolerance,
            seconds=latency(run, samples, 1),
            threads=None,
            preprocessing=metadata.preprocessing,
        )
        if preprocessing is not None:
            report = pictures.compared(loaded, model, preprocessing, report)
        report.write(os.path.join(extra, REPORT))
    return report


def _version_folder(path, version):
    if version is None:
        return path
    if not value_checks.is_int(version) or version < 1:
        raise InputError(
            "`serving_version` must be a positive integer or None. "
            f"Received: serving_version={version!r}"
        )
    return os.path.join(path, str(version))


def _runner(loaded):
    """Returns a function from a batch to what the SavedModel answers."""
    serve = loaded.signatures["serving_default"]

    def run(batch):
        answer = serve(**{name: tf.constant(x) for name, x in batch.items()})
        return {name: tensor.numpy() for name, tensor in answer.items()}

    return run


def write(endpoint, folder, specs, more=()):
    """Writes a SavedModel.

    Args:
        endpoint: The `Endpoint` that is its serving signature.
        folder: Path, must not exist.
        specs: What the signature takes, as `endpoint.specs` has it.
        more: `pictures.Signature`s besides the one for tensors.

    Raises:
        OSError: if TensorFlow cannot write the files.
    """
    archive = keras.export.ExportArchive()
    # The archive finds the variables by itself, and would write those of a
    # tracked model a second time. Only other resources need tracking.
    for layer in endpoint.model._flatten_layers():
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


def _size(folder):
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
    )
