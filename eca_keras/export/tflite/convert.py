"""TensorFlow Lite (LiteRT): the format of phones and small devices."""

import os
import re
import shutil

import numpy as np

from eca_keras.errors import InputError
from eca_keras.export import checks
from eca_keras.export import precision
from eca_keras.export.backend import tf
from eca_keras.export.checking.network import count_of
from eca_keras.export.checking.network import keras_outputs
from eca_keras.export.checking.network import latency
from eca_keras.export.checking.network import runtime_outputs
from eca_keras.export.checking.report import ExportMismatch
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import endpoint_of
from eca_keras.export.saved_model import write
from eca_keras.export.tflite import epsilons
from eca_keras.export.tflite import quantization
from eca_keras.export.tflite import scales
from eca_keras.utils import checks as value_checks
from eca_keras.utils.files import staged_files
from eca_keras.utils.quiet import quiet


def export_tflite(
    model,
    path,
    *,
    samples=None,
    labels=None,
    preprocessing=None,
    tolerance=None,
    overwrite=True,
    batch_size=1,
    input_shape=None,
    quantize="none",
    representative=None,
    input_type="float32",
    output_type="float32",
    least_agreement=quantization.LEAST_AGREEMENT,
    allow_constant=False,
):
    """Writes a TFLite file and checks that it answers what the model answers.

    The file has TFLite's builtin operations only, and a signature that maps
    `images` to `outputs`; that of a detector has more inputs and outputs, see
    `DetectionEndpoint`. A model that computes in half precision is rebuilt
    in float32 first, with the same weights, and the file is compared with
    that. The report is written beside the file, as `*.tflite.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format, a detector, or a `DetectionEndpoint`.
        path: The file to write, `*.tflite`. It appears complete or not at
            all: the export is written, reloaded and compared under a
            temporary name beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more, and a detector needs
            some in which it finds something.
        labels: List of strings, the names of the classes, which are written
            into the file, and beside it, one per line, for `model.tflite` to
            `model.labels.txt`; `None` for those of `preprocessing`.
        preprocessing: `Preprocessing`: what pictures go through before the
            model, and its labels, which are written into the file, see
            `eca_keras.export.metadata`; `None` for none. With its `mean` and
            `std` they normalise; without, the model takes values in [0, 255].
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1; for
            `"dynamic"` and `"int8"` the mean absolute difference, as a share
            of how much the outputs vary (their mean absolute difference from
            their mean over the samples). By default 1e-5, for a detector
            1e-4 (see `DetectionReport`), for `"float16"` 5e-3, and 0.3 for
            these two.
        overwrite: Whether earlier files may be replaced.
        batch_size: Positive integer, or `None` for any. ECA networks are as
            fast with any; layers such as Flatten then need three more
            operations, and not every accelerator takes a variable size.
        input_shape: Shape of one sample, such as `(224, 224, 3)`, for a
            model that takes any size: TFLite files have one.
        quantize: `"none"` for float32; `"float16"` for weights of half the
            size; `"dynamic"` for weights of a quarter, in 8 bits, with the
            ranges of everything else found as the file runs; `"int8"` for
            integers throughout, with ranges from `representative`. Detectors
            take the first two.
        representative: Array of shape `(count, *input_shape)`, images like
            those that the file will meet, 100 or more, for `"int8"`; `None`
            for the samples.
        input_type: `"float32"`, or `"int8"` or `"uint8"` for a file that is
            given integers, with `"int8"`; their scale and zero point are in
            the details of the input.
        output_type: As `input_type`, of the output.
        least_agreement: Share of the samples for which the largest output of
            a `"dynamic"` or `"int8"` file must have the same index; 0 for a
            model whose outputs are not classes. For a detector, the share of
            detections that a `"float16"` file must have.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples, as a freshly initialised one's, or a detector
            that finds nothing in them: then the comparison proves nothing.

    Returns:
        A `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, an operation of the
            model is not a builtin one of TFLite, or its outputs do not vary.
        ExportMismatch: if the export differs from the model, or LiteRT cannot
            run it. Nothing is kept.
        OSError: if a file cannot be written.
        ImportError: if LiteRT is not installed.
    """
    interpreter = _litert()
    endpoint = endpoint_of(model)
    quantization.check(quantize, representative, input_type, output_type)
    quantization.check_least_agreement(least_agreement)
    endpoint.check_quantization(quantize)
    kind = quantization.KINDS[quantize]
    if tolerance is None:
        tolerance = max(kind.tolerance, endpoint.tolerance)
    checks.check_tolerance(tolerance)
    metadata = endpoint.metadata(labels, preprocessing)
    checks.check_suffix(path, ".tflite")
    checks.check_batch_size(batch_size)
    checks.check_data_format(endpoint.model, "TFLite")
    shape = _sample_shape(endpoint.image_shape, input_shape)
    samples = endpoint.samples(samples, shape, kind.samples)
    images, image_notes = quantization.calibration(
        quantize, representative, endpoint.model, samples[INPUT_NAME]
    )
    endpoint, samples, notes = precision.lowered(endpoint, samples)

    def configure(converter):
        quantization.configure(
            converter, quantize, images, batch_size, (input_type, output_type)
        )

    with staged_files(
        path, *checks.companions(path, metadata.labels), overwrite=overwrite
    ) as (file, report_file, *label_files):
        checks.write_labels(label_files, metadata.labels)
        specs = endpoint.specs(batch_size, shape)
        content = _convert(endpoint, f"{file}.saved_model", specs, configure)
        if quantize == "int8":
            content, widened = scales.widen(content)
            notes += scales.notes(widened)
        if quantize == "float16":
            content, restored = epsilons.restore(content)
            notes += epsilons.notes(restored)
        with open(file, "wb") as stream:
            stream.write(content)
        metadata.append(file)
        run = _runner(interpreter, file)
        together = min(count_of(samples), endpoint.max_batch)
        report = endpoint.compare(
            keras_outputs(endpoint, samples),
            runtime_outputs(run, samples, batch_size or together),
            kind=kind,
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format=f"TFLite file ({kind.weights})",
            size=os.path.getsize(file),
            tolerance=tolerance,
            least_agreement=least_agreement,
            seconds=latency(run, samples, batch_size or 1),
            batch_size=batch_size or 1,
            ops=_operations(content),
            notes=notes + image_notes,
            preprocessing=metadata.preprocessing,
        )
        report.write(report_file)
    return report


def _litert():
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise ImportError(
            "`export_tflite` checks its file with LiteRT: "
            "pip install 'eca-keras[export]'"
        ) from error
    return interpreter


def _runner(interpreter, file):
    """Returns a function from a batch to what the file answers."""
    try:
        with quiet():
            loaded = interpreter.Interpreter(model_path=file, num_threads=1)
            loaded.allocate_tensors()
            run = loaded.get_signature_runner()
    except RuntimeError as error:  # such as a scale that no kernel takes
        raise ExportMismatch(
            f"LiteRT cannot run the TFLite file, which was not kept: {error}",
            None,
        ) from error
    given, answered = run.get_input_details(), run.get_output_details()

    def answer(batch):
        outputs = run(
            **{
                name: quantization.to_file(values, given[name])
                for name, values in batch.items()
            }
        )
        return {
            name: quantization.from_file(values, answered[name])
            for name, values in outputs.items()
        }

    return answer


def _sample_shape(shape, input_shape):
    if input_shape is None:
        if None in shape:
            raise InputError(
                "`input_shape` must be given, such as "
                "`input_shape=(224, 224, 3)`, for a model that takes any "
                f"size: a TFLite file has one. Received: a model for {shape}"
            )
        return tuple(shape)
    fits = np.shape(input_shape) == (len(shape),) and all(
        value_checks.is_int(m) and m > 0 and n in (None, m)
        for m, n in zip(input_shape, shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"`input_shape` must fit the model's {tuple(shape)}. "
            f"Received: input_shape={input_shape!r}"
        )
    return tuple(input_shape)


def _convert(endpoint, folder, specs, configure):
    """Returns the content of the TFLite file.

    Args:
        endpoint: The `Endpoint`.
        folder: Path of a SavedModel to write on the way.
        specs: What the file takes, as `endpoint.specs` has it.
        configure: Function that sets the converter up.
    """
    # Not from_concrete_functions: over a Keras model it wrote NaN weights.
    write(endpoint, folder, specs)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        configure(converter)
        try:
            content = quantization.convert(converter)
        except Exception as error:  # its ConverterError is not public
            unsupported = re.findall(
                r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE
            )
            if not unsupported:
                raise
            raise InputError(
                "`model` must have operations that TFLite has built in. "
                f"Received: a model with {', '.join(unsupported)}"
            ) from error
    shutil.rmtree(folder)  # its room on the disk is the file's
    return content


def _operations(content):
    """Returns the names of the operations in a TFLite file, in order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {
        code: name
        for name, code in vars(schema.BuiltinOperator).items()
        if isinstance(code, int)
    }
    file = schema.Model.GetRootAs(content, 0)
    graphs = [file.Subgraphs(i) for i in range(file.SubgraphsLength())]
    return tuple(
        names[
            file.OperatorCodes(graph.Operators(i).OpcodeIndex()).BuiltinCode()
        ]
        for graph in graphs
        for i in range(graph.OperatorsLength())
    )
