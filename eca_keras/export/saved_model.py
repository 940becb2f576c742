"""TensorFlow SavedModel: the format of TensorFlow Serving."""

import errno
import os

import keras

from eca_keras.atomic import staged_folder
from eca_keras.errors import InputError
from eca_keras.export import checks
from eca_keras.export import metadata
from eca_keras.export import pictures
from eca_keras.export import samples as sampling
from eca_keras.export.backend import tf
from eca_keras.export.compare import MAX_BATCH
from eca_keras.export.compare import call
from eca_keras.export.compare import compare
from eca_keras.export.compare import keras_outputs
from eca_keras.export.compare import latency
from eca_keras.export.compare import runtime_outputs
from eca_keras.export.quiet import quiet
from eca_keras.layers import checks as value_checks

# Keras counts its names up (`keras_tensor_7`), so that they would change with
# what else the process has built. These do not.
INPUT_NAME = "images"
OUTPUT_NAME = "outputs"

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
    tolerance=1e-5,
    preprocessing=None,
    serving_version=None,
    overwrite=True,
    allow_constant=False,
):
    """Writes a SavedModel and checks that it answers what the model answers.

    The folder needs neither this library nor Keras to be loaded. Its serving
    signature `serving_default` maps `images`, of any batch size, to
    `outputs`. The report is written into it, as `assets.extra/report.json`.

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
        model: A built `keras.Model` with one input and one output.
        path: The folder to write. It appears complete or not at all: the
            export is written, reloaded and compared under a temporary name
            beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more.
        labels: List of strings, the names of the outputs, which are written
            to `assets.extra/labels.txt` in the folder, one per line; `None`
            for none.
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1.
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
            over the samples, as a freshly initialised one's: then the
            comparison proves nothing.

    Returns:
        A `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, or the outputs of the
            model do not vary.
        ExportMismatch: if the export differs from the model. Nothing is kept.
        OSError: if the folder cannot be written, or `path` has something else
            in it.
    """
    image = checks.model_input(model)
    checks.check_tolerance(tolerance)
    labels = metadata.check(preprocessing, labels, model)
    checks.check_labels(labels, model)
    path = _version_folder(path, serving_version)
    samples = sampling.resolve(samples, model, tuple(image.shape[1:]))
    with staged_folder(
        path, is_ours=tf.saved_model.contains_saved_model, overwrite=overwrite
    ) as folder:
        expected = keras_outputs(model, samples)
        more = []
        if preprocessing is not None:
            pictures.check_probabilities(expected)
            more = pictures.signatures(model, preprocessing)
        write(model, folder, image.shape, more)
        extra = os.path.join(folder, EXTRA)
        os.makedirs(extra)
        for name, text in metadata.texts(preprocessing, labels).items():
            checks.write_text(os.path.join(extra, name), text)
        # The signature does not keep the model that it belongs to alive.
        loaded = tf.saved_model.load(folder)
        run = _runner(loaded)
        report = compare(
            expected,
            runtime_outputs(run, samples, min(len(samples), MAX_BATCH)),
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format="SavedModel",
            size=_size(folder),
            tolerance=tolerance,
            seconds=latency(run, samples, 1),
            threads=None,
            preprocessing=metadata.fields(preprocessing),
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
        answer = serve(**{INPUT_NAME: tf.constant(batch)})
        return answer[OUTPUT_NAME].numpy()

    return run


def write(model, folder, shape, more=()):
    """Writes a SavedModel.

    Args:
        model: A model with one input and one output.
        folder: Path, must not exist.
        shape: Shape of the input with the batch; `None` stands for any size.
        more: `pictures.Signature`s besides the one for tensors.

    Raises:
        OSError: if TensorFlow cannot write the files.
    """
    archive = keras.export.ExportArchive()
    # The archive finds the variables by itself, and would write those of a
    # tracked model a second time. Only other resources need tracking.
    for layer in model._flatten_layers():
        if isinstance(layer, LOOKUPS):
            archive.track(layer)
    archive.add_endpoint(
        "serve",
        lambda images: {OUTPUT_NAME: call(model, images)},
        input_signature=[
            tf.TensorSpec(shape, model.inputs[0].dtype, name=INPUT_NAME)
        ],
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
