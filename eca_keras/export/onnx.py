"""ONNX: the format of ONNX Runtime, on servers and in browsers."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import warnings
from typing import ClassVar

import keras
from numpy.typing import ArrayLike

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import InputError
from eca_keras.export.backend import freeze
from eca_keras.export.checking.report import Report
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import Endpoint
from eca_keras.export.exporter import Target
from eca_keras.export.exporter import export
from eca_keras.utils import checks
from eca_keras.utils.quiet import quiet
from eca_keras.utils.types import PathLike

# Below, Clip and Pad have their bounds as attributes; above, tf2onnx ends.
LAST_OPSET = 18
OPSET = 17

BATCH = "batch"  # what the size that is not fixed is called in the file


def export_onnx(
    model: keras.Model | Endpoint,
    path: PathLike,
    *,
    samples: ArrayLike | dict[str, ArrayLike] | None = None,
    labels: list[str] | None = None,
    preprocessing: Preprocessing | None = None,
    tolerance: float | None = None,
    batch_size: int | None = None,
    opset: int = OPSET,
    channels_first: bool = False,
    overwrite: bool = True,
    allow_constant: bool = False,
) -> Report:
    """Write an ONNX file and check that its outputs are those of the model.

    The file maps `images` to `outputs`; that of a detector has more inputs
    and outputs, see `DetectionEndpoint`. It has passed the checker of ONNX,
    and ONNX Runtime has computed what is compared. A model that computes in
    half precision is rebuilt in float32 first, with the same weights, and the
    file is compared with that. The report is written beside the file, as
    `*.onnx.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format, a detector, or a `DetectionEndpoint`.
        path: The file to write, `*.onnx`. It appears complete or not at all.
        samples: Array of shape `(count, *input_shape)` to compare on, in the
            range of values that the model expects; `None` generates some. A
            detector needs images in which it finds something.
        labels: Names of the classes, written into the file and beside it,
            to `model.labels.txt`; `None` for those of `preprocessing`.
        preprocessing: What images go through before the model, written into
            the file, see `eca_keras.export.metadata`. Without a `mean` and
            `std` the model takes values in [0, 255].
        tolerance: Positive number, the largest absolute error that passes,
            times the largest output if that is more than 1. By default 1e-5,
            for a detector 1e-4, see `DetectionReport`.
        batch_size: Positive integer, or `None` for any.
        opset: Version of ONNX's operations, from 11 to 18; for a detector
            from 12.
        channels_first: Whether the file takes images of shape
            `(batch, channels, height, width)`. The samples are the model's.
        overwrite: Whether earlier files may be replaced.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples: then the comparison proves nothing.

    Returns:
        The `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, ONNX lacks an
            operation of the model, or its outputs do not vary.
        ExportMismatch: if the outputs differ. Nothing is kept.
        OSError: if a file cannot be written.
        ImportError: if a package is not installed.
    """
    return export(
        Onnx(batch_size, opset=opset, channels_first=channels_first),
        model,
        path,
        samples=samples,
        labels=labels,
        preprocessing=preprocessing,
        tolerance=tolerance,
        overwrite=overwrite,
        allow_constant=allow_constant,
    )


def open_file(path, threads=1):
    """Return a function from a batch to the outputs of an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # fatal only: errors are exceptions
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda batch: dict(
        zip(names, session.run(names, batch), strict=True)
    )


@dataclasses.dataclass
class Onnx(Target):
    """An ONNX file, see `export_onnx`."""

    format: ClassVar[str] = "onnx"
    opset: int = OPSET
    channels_first: bool = False

    def check(self, endpoint):
        super().check(endpoint)
        first = endpoint.least_opset
        checks.check(
            "opset",
            self.opset,
            checks.is_int(self.opset) and first <= self.opset <= LAST_OPSET,
            f"must be an integer from {first} to {LAST_OPSET}",
        )
        if self.channels_first and len(endpoint.image_shape) != 3:
            raise InputError(
                "`channels_first` must be False for a model that does not "
                "take images of shape (batch, height, width, channels). "
                f"Received: a model for samples of shape {endpoint.image_shape}"
            )

    def write(self, endpoint, file, metadata):
        proto = self._convert(endpoint)
        metadata.add_properties(proto)
        with open(file, "wb") as stream:
            stream.write(proto.SerializeToString())
        return {
            "format": f"ONNX file (opset {self.opset})",
            "ops": tuple(node.op_type for node in _nodes(proto.graph)),
        }

    def open(self, file):
        run = super().open(file)
        if not self.channels_first:
            return run
        return lambda batch: run(
            {**batch, INPUT_NAME: batch[INPUT_NAME].transpose(0, 3, 1, 2)}
        )

    def _convert(self, endpoint):
        """Return the content of the file, checked."""
        import onnx

        with quiet(), _silent("tf2onnx"), warnings.catch_warnings():
            graph, inputs, outputs = _frozen(endpoint, self.batch_size)
            warnings.simplefilter("ignore")  # tf2onnx's own, about NumPy
            from tf2onnx import convert

            images = next(iter(inputs))
            proto, _ = convert.from_graph_def(
                graph,
                input_names=list(inputs),
                output_names=list(outputs),
                tensors_to_rename={**inputs, **outputs},
                opset=self.opset,
                inputs_as_nchw=[images] if self.channels_first else None,
            )
        _check_operations(proto.graph, self.opset)
        for tensor in (*proto.graph.input, *proto.graph.output):
            size = tensor.type.tensor_type.shape.dim[0]
            if self.batch_size is None:
                size.dim_param = BATCH  # tf2onnx counts these names up
            else:
                size.dim_value = self.batch_size
        onnx.checker.check_model(proto, full_check=True)
        return proto


def _frozen(endpoint, batch_size):
    """Return a TensorFlow graph, and what its inputs and outputs are called.

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
    outputs = sorted(function.structured_outputs)  # TensorFlow's order
    renamed = (
        dict(zip([x.name for x in tensors], names, strict=True))
        for tensors, names in (
            (frozen.inputs, endpoint.specs()),
            (frozen.outputs, outputs),
        )
    )
    return frozen.graph.as_graph_def(add_shapes=True), *renamed


@contextlib.contextmanager
def _silent(name):
    """Have a logger and those below it say nothing."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _nodes(graph):
    """Yield the operations of a graph, those of its loops included."""
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
