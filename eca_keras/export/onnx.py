"""ONNX: the format of ONNX Runtime, on servers and in browsers."""

import collections
import contextlib
import functools
import logging
import os
import warnings

from eca_keras.atomic import staged_files
from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.export import checks
from eca_keras.export import metadata
from eca_keras.export import precision
from eca_keras.export import samples as sampling
from eca_keras.export.backend import freeze
from eca_keras.export.backend import tf
from eca_keras.export.compare import MAX_BATCH
from eca_keras.export.compare import call
from eca_keras.export.compare import compare
from eca_keras.export.compare import keras_outputs
from eca_keras.export.compare import latency
from eca_keras.export.compare import runtime_outputs
from eca_keras.export.quiet import quiet
from eca_keras.export.saved_model import INPUT_NAME
from eca_keras.export.saved_model import OUTPUT_NAME
from eca_keras.layers import checks as value_checks

# Below, Clip and Pad have their bounds as attributes; above, tf2onnx ends.
OPSETS = (11, 18)
OPSET = 17

BATCH = "batch"  # what the size that is not fixed is called in the file


def export_onnx(
    model,
    path,
    *,
    samples=None,
    labels=None,
    preprocessing=None,
    tolerance=1e-5,
    batch_size=None,
    opset=OPSET,
    channels_first=False,
    overwrite=True,
    allow_constant=False,
):
    """Writes an ONNX file and checks that it answers what the model answers.

    The file maps `images` to `outputs`. It has passed the
    checker of ONNX, and ONNX Runtime has computed what is compared. A model
    that computes in half precision is rebuilt in float32 first, with the same
    weights, and the file is compared with that. The report is written beside
    the file, as `*.onnx.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format.
        path: The file to write, `*.onnx`. It appears complete or not at all:
            the export is written, reloaded and compared under a temporary
            name beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more.
        labels: List of strings, the names of the outputs, which are written
            into the file, and beside it, one per line, for `model.onnx` to
            `model.labels.txt`; `None` for those of `preprocessing`.
        preprocessing: `Preprocessing`: what pictures go through before the
            model, and its labels, which are written into the file, see
            `eca_keras.export.metadata`; `None` for none. With its `mean` and
            `std` they normalise; without, the model takes values in [0, 255].
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1.
        batch_size: Positive integer, or `None` for any.
        opset: Version of ONNX's operations, from 11 to 18.
        channels_first: Whether the file takes images of shape
            `(batch, channels, height, width)`. The samples are the model's.
        overwrite: Whether earlier files may be replaced.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples, as a freshly initialised one's: then the
            comparison proves nothing.

    Returns:
        A `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, ONNX lacks an
            operation of the model, or its outputs do not vary.
        ExportMismatch: if the export differs from the model. Nothing is kept.
        OSError: if a file cannot be written.
        ImportError: if a package is not installed.
    """
    require("export", "`export_onnx`", "tf2onnx", "onnx", "onnxruntime")
    image = checks.model_input(model)
    checks.check_tolerance(tolerance)
    labels = metadata.check(preprocessing, labels, model)
    checks.check_labels(labels, model)
    checks.check_suffix(path, ".onnx")
    checks.check_batch_size(batch_size)
    _check_opset(opset)
    _check_channels_first(channels_first, image.shape)
    checks.check_data_format(model, "ONNX")
    samples = sampling.resolve(samples, model, tuple(image.shape[1:]))
    model, samples, notes = precision.lowered(model, samples)
    with staged_files(
        path, *checks.companions(path, labels), overwrite=overwrite
    ) as (file, report_file, *label_files):
        checks.write_labels(label_files, labels)
        proto = _convert(
            model, (batch_size, *image.shape[1:]), opset, channels_first
        )
        metadata.add_properties(proto, preprocessing, labels)
        with open(file, "wb") as stream:
            stream.write(proto.SerializeToString())
        run = _runner(file, channels_first)
        report = compare(
            keras_outputs(model, samples),
            runtime_outputs(
                run, samples, batch_size or min(len(samples), MAX_BATCH)
            ),
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format=f"ONNX file (opset {opset})",
            size=os.path.getsize(file),
            tolerance=tolerance,
            seconds=latency(run, samples, batch_size or 1),
            batch_size=batch_size or 1,
            ops=tuple(node.op_type for node in proto.graph.node),
            notes=notes,
            preprocessing=metadata.fields(preprocessing),
        )
        report.write(report_file)
    return report


def _check_opset(opset):
    first, last = OPSETS
    if not value_checks.is_int(opset) or not first <= opset <= last:
        raise InputError(
            f"`opset` must be an integer from {first} to {last}. "
            f"Received: opset={opset!r}"
        )


def _check_channels_first(channels_first, shape):
    if channels_first and len(shape) != 4:
        raise InputError(
            "`channels_first` must be False for a model that does not take "
            "images of shape (batch, height, width, channels). Received: "
            f"a model for {tuple(shape)}"
        )


def _convert(model, shape, opset, channels_first):
    """Returns the content of the file, checked."""
    import onnx

    with quiet(), _silent("tf2onnx"), warnings.catch_warnings():
        graph, given, answered = _frozen(model, shape)
        warnings.simplefilter("ignore")  # tf2onnx's own, about NumPy
        from tf2onnx import convert

        proto, _ = convert.from_graph_def(
            graph,
            input_names=[given],
            output_names=[answered],
            tensors_to_rename={given: INPUT_NAME, answered: OUTPUT_NAME},
            opset=opset,
            inputs_as_nchw=[given] if channels_first else None,
        )
    _check_operations(proto.graph, opset)
    for tensor in (*proto.graph.input, *proto.graph.output):
        size = tensor.type.tensor_type.shape.dim[0]
        if shape[0] is None:
            size.dim_param = BATCH  # tf2onnx counts these names up
        else:
            size.dim_value = shape[0]
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _frozen(model, shape):
    """Returns a TensorFlow graph, and the names of its input and output.

    tf2onnx's own `from_function` takes every constant that a layer made when
    it was built, such as the mean of Normalization, for one more input.
    """
    spec = tf.TensorSpec(shape, model.inputs[0].dtype, name=INPUT_NAME)
    function = tf.function(
        functools.partial(call, model), input_signature=[spec]
    )
    frozen = freeze(
        function.get_concrete_function(),
        lower_control_flow=False,
        aggressive_inlining=True,
    )
    [given], [answered] = frozen.inputs, frozen.outputs
    graph = frozen.graph.as_graph_def(add_shapes=True)
    return graph, given.name, answered.name


@contextlib.contextmanager
def _silent(name):
    """Has a logger and those below it say nothing."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_operations(graph, opset):
    # tf2onnx leaves an operation that it does not know in the graph.
    from onnx import defs

    unknown = collections.Counter(
        node.op_type
        for node in graph.node
        if node.domain in ("", "ai.onnx")
        and not defs.has(node.op_type, opset, "")
    )
    if unknown:
        raise InputError(
            "`model` must have operations that ONNX has. Received: a model "
            f"with {', '.join(unknown)}"
        )


def _runner(file, channels_first):
    """Returns a function from a batch to what the file answers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: errors are exceptions
    session = onnxruntime.InferenceSession(
        file, options, providers=["CPUExecutionProvider"]
    )

    def run(batch):
        if channels_first:
            batch = batch.transpose(0, 3, 1, 2)
        return session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]

    return run
