"""TensorFlow Lite (LiteRT): the format of phones and small devices."""

import os
import re
import shutil

import numpy as np

from eca_keras.atomic import staged_files
from eca_keras.errors import InputError
from eca_keras.export import checks
from eca_keras.export import metadata
from eca_keras.export import precision
from eca_keras.export import quantization
from eca_keras.export import samples as sampling
from eca_keras.export import scales
from eca_keras.export.backend import tf
from eca_keras.export.compare import MAX_BATCH
from eca_keras.export.compare import ExportMismatch
from eca_keras.export.compare import compare
from eca_keras.export.compare import keras_outputs
from eca_keras.export.compare import latency
from eca_keras.export.compare import runtime_outputs
from eca_keras.export.quiet import quiet
from eca_keras.export.saved_model import INPUT_NAME
from eca_keras.export.saved_model import OUTPUT_NAME
from eca_keras.export.saved_model import write
from eca_keras.layers import checks as value_checks


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
    `images` to `outputs`. A model that computes in half precision is rebuilt
    in float32 first, with the same weights, and the file is compared with
    that. The report is written beside the file, as `*.tflite.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format.
        path: The file to write, `*.tflite`. It appears complete or not at
            all: the export is written, reloaded and compared under a
            temporary name beside it.
        samples: Array of shape `(count, *input_shape)` on which the two are
            compared, in the range of values that the model expects; `None`
            for generated ones. Real images prove more.
        labels: List of strings, the names of the outputs, which are written
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
            their mean over the samples). By default 1e-5, for `"float16"`
            5e-3, and 0.3 for these two.
        overwrite: Whether earlier files may be replaced.
        batch_size: Positive integer, or `None` for any. ECA networks are as
            fast with any; layers such as Flatten then need three more
            operations, and not every accelerator takes a variable size.
        input_shape: Shape of one sample, such as `(224, 224, 3)`, for a
            model that takes any size: TFLite files have one.
        quantize: `"none"` for float32; `"float16"` for weights of half the
            size; `"dynamic"` for weights of a quarter, in 8 bits, with the
            ranges of everything else found as the file runs; `"int8"` for
            integers throughout, with ranges from `representative`.
        representative: Array of shape `(count, *input_shape)`, images like
            those that the file will meet, 100 or more, for `"int8"`; `None`
            for the samples.
        input_type: `"float32"`, or `"int8"` or `"uint8"` for a file that is
            given integers, with `"int8"`; their scale and zero point are in
            the details of the input.
        output_type: As `input_type`, of the output.
        least_agreement: Share of the samples for which the largest output of
            a `"dynamic"` or `"int8"` file must have the same index; 0 for a
            model whose outputs are not classes.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples, as a freshly initialised one's: then the
            comparison proves nothing.

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
    image = checks.model_input(model)
    quantization.check(quantize, representative, input_type, output_type)
    quantization.check_least_agreement(least_agreement)
    kind = quantization.KINDS[quantize]
    tolerance = kind.tolerance if tolerance is None else tolerance
    checks.check_tolerance(tolerance)
    labels = metadata.check(preprocessing, labels, model)
    checks.check_labels(labels, model)
    checks.check_suffix(path, ".tflite")
    checks.check_batch_size(batch_size)
    checks.check_data_format(model, "TFLite")
    shape = _sample_shape(image.shape[1:], input_shape)
    samples = sampling.resolve(samples, model, shape, kind.samples)
    images, image_notes = quantization.calibration(
        quantize, representative, model, samples
    )
    model, samples, notes = precision.lowered(model, samples)

    def configure(converter):
        quantization.configure(
            converter, quantize, images, batch_size, (input_type, output_type)
        )

    with staged_files(
        path, *checks.companions(path, labels), overwrite=overwrite
    ) as (file, report_file, *label_files):
        checks.write_labels(label_files, labels)
        content = _convert(
            model, f"{file}.saved_model", (batch_size, *shape), configure
        )
        if quantize == "int8":
            content, widened = scales.widen(content)
            notes += scales.notes(widened)
        with open(file, "wb") as stream:
            stream.write(content)
        metadata.append(file, preprocessing, labels)
        run = _runner(interpreter, file)
        report = compare(
            keras_outputs(model, samples),
            runtime_outputs(
                run, samples, batch_size or min(len(samples), MAX_BATCH)
            ),
            allow_constant=allow_constant,
            path=os.path.abspath(path),
            format=f"TFLite file ({kind.weights})",
            size=os.path.getsize(file),
            tolerance=tolerance,
            integer=kind.integer,
            least_agreement=least_agreement if kind.integer else 0.0,
            seconds=latency(run, samples, batch_size or 1),
            batch_size=batch_size or 1,
            ops=_operations(content),
            notes=notes + image_notes,
            preprocessing=metadata.fields(preprocessing),
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
    given = run.get_input_details()[INPUT_NAME]
    answered = run.get_output_details()[OUTPUT_NAME]

    def answer(batch):
        batch = quantization.to_file(batch, given)
        outputs = run(**{INPUT_NAME: batch})[OUTPUT_NAME]
        return quantization.from_file(outputs, answered)

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


def _convert(model, folder, shape, configure):
    """Returns the content of the TFLite file.

    Args:
        model: The model.
        folder: Path of a SavedModel to write on the way.
        shape: Shape of the input with the batch, `None` for any.
        configure: Function that sets the converter up.
    """
    # Not from_concrete_functions: over a Keras model it wrote NaN weights.
    write(model, folder, shape)
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
