"""ONNX: the format of ONNX Runtime, on servers and in browsers."""

import collections
import contextlib
import logging
import os
import warnings

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.export import checks
from eca_keras.export import precision
from eca_keras.export.backend import freeze
from eca_keras.export.checking.network import count_of
from eca_keras.export.checking.network import keras_outputs
from eca_keras.export.checking.network import latency
from eca_keras.export.checking.network import runtime_outputs
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import endpoint_of
from eca_keras.export.tflite.quantization import KINDS
from eca_keras.utils import checks as value_checks
from eca_keras.utils.files import staged_files
from eca_keras.utils.quiet import quiet

# Below, Clip and Pad have their bounds as attributes; above, tf2onnx ends.
LAST_OPSET = 18
OPSET = 17

BATCH = "batch"  # what the size that is not fixed is called in the file


def export_onnx(
    model,
    path,
    *,
    samples=None,
    labels=None,
    preprocessing=None,
    tolerance=None,
    batch_size=None,
    opset=OPSET,
    channels_first=False,
    overwrite=True,
    allow_constant=False,
):
    """Writes an ONNX file and checks that it answers what the model answers.

    The file maps `images` to `outputs`; that of a detector has more inputs
    and outputs, see `DetectionEndpoint`. It has passed the checker of ONNX,
    and ONNX Runtime has computed what is compared. A model
    that computes in half precision is rebuilt in float32 first, with the same
    weights, and the file is compared with that. The report is written beside
    the file, as `*.onnx.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format, a detector, or a `DetectionEndpoint`.
        path: The file to write, `*.onnx`. It appears complete or not at all:
            the export is written, reloaded and compared under a temporary
            name beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more, and a detector needs
            some in which it finds something.
        labels: List of strings, the names of the classes, which are written
            into the file, and beside it, one per line, for `model.onnx` to
            `model.labels.txt`; `None` for those of `preprocessing`.
        preprocessing: `Preprocessing`: what pictures go through before the
            model, and its labels, which are written into the file, see
            `eca_keras.export.metadata`; `None` for none. With its `mean` and
            `std` they normalise; without, the model takes values in [0, 255].
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1. By
            default 1e-5, for a detector 1e-4, see `DetectionReport`.
        batch_size: Positive integer, or `None` for any.
        opset: Version of ONNX's operations, from 11 to 18; for a detector
            from 12.
        channels_first: Whether the file takes images of shape
            `(batch, channels, height, width)`. The samples are the model's.
        overwrite: Whether earlier files may be replaced.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples, as a freshly initialised one's, or a detector
            that finds nothing in them: then the comparison proves nothing.

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
    endpoint = endpoint_of(model)
    tolerance = endpoint.tolerance if tolerance is None else tolerance
    checks.check_tolerance(tolerance)
    metadata = endpoint.metadata(labels, preprocessing)
    checks.check_suffix(path, ".onnx")
    checks.check_batch_size(batch_size)
    _check_opset(opset, endpoint.least_opset)
    _check_channels_first(channels_first, endpoint.image_shape)
    checks.check_data_format(endpoint.model, "ONNX")
    samples = endpoint.samples(samples, endpoint.image_shape)
    endpoint, samples, notes = precision.lowered(endpoint, samples)
    with staged_files(
        path, *checks.companions(path, metadata.labels), overwrite=overwrite
    ) as (file, report_file, *label_files):
        checks.write_labels(label_files, metadata.labels)
        proto = _convert(endpoint, batch_size, opset, channels_first)
        metadata.add_properties(proto)
        with open(file, "wb") as stream:
            stream.write(proto.SerializeToString())
        run = _runner(file, channels_first)
        together = min(count_of(samples), endpoint.max_batch)
        report = endpoint.compare(
            keras_outputs(endpoint, samples),
            runtime_outputs(run, samples, batch_size or together),
            kind=KINDS["none"],
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format=f"ONNX file (opset {opset})",
            size=os.path.getsize(file),
            tolerance=tolerance,
            seconds=latency(run, samples, batch_size or 1),
            batch_size=batch_size or 1,
            ops=tuple(node.op_type for node in _nodes(proto.graph)),
            notes=notes,
            preprocessing=metadata.preprocessing,
        )
        report.write(report_file)
    return report


def _check_opset(opset, first):
    if not value_checks.is_int(opset) or not first <= opset <= LAST_OPSET:
        raise InputError(
            f"`opset` must be an integer from {first} to {LAST_OPSET}. "
            f"Received: opset={opset!r}"
        )


def _check_channels_first(channels_first, shape):
    if channels_first and len(shape) != 3:
        raise InputError(
            "`channels_first` must be False for a model that does not take "
            "images of shape (batch, height, width, channels). Received: "
            f"a model for samples of shape {shape}"
        )


def _convert(endpoint, batch_size, opset, channels_first):
    """Returns the content of the file, checked."""
    import onnx

    with quiet(), _silent("tf2onnx"), warnings.catch_warnings():
        graph, given, answered = _frozen(endpoint, batch_size)
        warnings.simplefilter("ignore")  # tf2onnx's own, about NumPy
        from tf2onnx import convert

        proto, _ = convert.from_graph_def(
            graph,
            input_names=list(given),
            output_names=list(answered),
            tensors_to_rename={**given, **answered},
            opset=opset,
            inputs_as_nchw=[next(iter(given))] if channels_first else None,
        )
    _check_operations(proto.graph, opset)
    for tensor in (*proto.graph.input, *proto.graph.output):
        size = tensor.type.tensor_type.shape.dim[0]
        if batch_size is None:
            size.dim_param = BATCH  # tf2onnx counts these names up
        else:
            size.dim_value = batch_size
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _frozen(endpoint, batch_size):
    """Returns a TensorFlow graph, and what its inputs and outputs are called.

    tf2onnx's own `from_function` takes every constant that a layer made when
    it was built, such as the mean of Normalization, for one more input.

    Returns:
        `(graph, inputs, outputs)`: two dictionaries from the names in the
        graph to those of the endpoint, in their order.
    """
    function = endpoint.graph(batch_size)
    frozen = freeze(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    answers = sorted(function.structured_outputs)  # TensorFlow's order
    inputs, outputs = (
        dict(zip([x.name for x in tensors], names, strict=True))
        for tensors, names in (
            (frozen.inputs, endpoint.specs()),
            (frozen.outputs, answers),
        )
    )
    return frozen.graph.as_graph_def(add_shapes=True), inputs, outputs


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


def _nodes(graph):
    """Yields the operations of a graph, those of its loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _check_operations(graph, opset):
    # tf2onnx leaves an operation that it does not know in the graph.
    from onnx import defs

    unknown = collections.Counter(
        node.op_type
        for node in _nodes(graph)
        if node.domain in ("", "ai.onnx")
        and not defs.has(node.op_type, opset, "")
    )
    if unknown:
        raise InputError(
            "`model` must have operations that ONNX has. Received: a model "
            f"with {', '.join(unknown)}, opset={opset}"
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

    names = [output.name for output in session.get_outputs()]

    def run(batch):
        if channels_first:
            images = batch[INPUT_NAME].transpose(0, 3, 1, 2)
            batch = {**batch, INPUT_NAME: images}
        return dict(zip(names, session.run(names, batch), strict=True))

    return run
