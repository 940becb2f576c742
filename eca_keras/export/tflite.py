"""TensorFlow Lite (LiteRT): the format of phones and small devices."""

import os
import re
import shutil

import numpy as np

from eca_keras.atomic import staged_files
from eca_keras.errors import InputError
from eca_keras.export import checks
from eca_keras.export import precision
from eca_keras.export import samples as sampling
from eca_keras.export.backend import tf
from eca_keras.export.compare import MAX_BATCH
from eca_keras.export.compare import compare
from eca_keras.export.compare import keras_outputs
from eca_keras.export.compare import runtime_outputs
from eca_keras.export.quiet import quiet
from eca_keras.export.saved_model import INPUT_NAME
from eca_keras.export.saved_model import OUTPUT_NAME
from eca_keras.export.saved_model import write
from eca_keras.layers import checks as value_checks

LABELS = "labels.txt"


def export_tflite(
    model,
    path,
    *,
    samples=None,
    labels=None,
    tolerance=1e-5,
    overwrite=True,
    batch_size=1,
    input_shape=None,
):
    """Writes a TFLite file and checks that it answers what the model answers.

    The file is float32, has TFLite's builtin operations only, and a signature
    that maps `images` to `outputs`. A model that computes in half precision
    is rebuilt in float32 first, with the same weights, and the file is
    compared with that.

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
            to `labels.txt` in the folder of `path`, one per line; `None` for
            none.
        tolerance: Positive number, the largest absolute difference that
            passes, times the largest output if that is more than 1.
        overwrite: Whether earlier files may be replaced.
        batch_size: Positive integer, or `None` for any. ECA networks are as
            fast with any; layers such as Flatten then need three more
            operations, and not every accelerator takes a variable size.
        input_shape: Shape of one sample, such as `(224, 224, 3)`, for a
            model that takes any size: TFLite files have one.

    Returns:
        A `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, or an operation of the
            model is not a builtin one of TFLite.
        ExportMismatch: if the export differs from the model. Nothing is kept.
        OSError: if a file cannot be written.
        ImportError: if LiteRT is not installed.
    """
    interpreter = _litert()
    image = checks.model_input(model)
    checks.check_tolerance(tolerance)
    checks.check_labels(labels, model)
    _check_path(path)
    _check_batch_size(batch_size)
    _check_data_format(model)
    shape = _sample_shape(image.shape[1:], input_shape)
    samples = sampling.resolve(samples, model, shape)
    model, notes = _in_float32(model, samples)
    samples = samples.astype(model.inputs[0].dtype)
    paths = [path]
    if labels is not None:
        folder = os.path.dirname(os.path.abspath(path))
        paths.append(os.path.join(folder, LABELS))
    with staged_files(*paths, overwrite=overwrite) as (file, *label_files):
        for label_file in label_files:
            checks.write_labels(label_file, labels)
        content = _convert(model, f"{file}.saved_model", (batch_size, *shape))
        with open(file, "wb") as stream:
            stream.write(content)
        with quiet():
            loaded = interpreter.Interpreter(model_path=file)
            loaded.allocate_tensors()
            run = loaded.get_signature_runner()
        return compare(
            keras_outputs(model, samples),
            runtime_outputs(
                lambda batch: run(**{INPUT_NAME: batch})[OUTPUT_NAME],
                samples,
                batch_size or min(len(samples), MAX_BATCH),
            ),
            path=os.path.abspath(path),
            format="TFLite file",
            size=os.path.getsize(file),
            tolerance=tolerance,
            ops=_operations(content),
            notes=notes,
        )


def _litert():
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise ImportError(
            "`export_tflite` checks its file with LiteRT: "
            "pip install 'eca-keras[export]'"
        ) from error
    return interpreter


def _check_path(path):
    if not os.fspath(path).endswith(".tflite"):
        raise InputError(
            f"`path` must end in .tflite. Received: path={os.fspath(path)}"
        )


def _check_batch_size(batch_size):
    if batch_size is not None and (
        not value_checks.is_int(batch_size) or batch_size < 1
    ):
        raise InputError(
            "`batch_size` must be a positive integer or None. "
            f"Received: batch_size={batch_size!r}"
        )


def _check_data_format(model):
    # The converter takes such a model and puts transpositions everywhere, but
    # Keras cannot run its convolutions on a CPU to compare.
    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(
                "`model` must be in the channels_last format for TFLite: "
                "build it so and copy the weights. Received: the layer "
                f"{layer.name} with data_format='channels_first'"
            )


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


def _in_float32(model, samples):
    """Returns the float32 model to convert and notes for the report."""
    # The converter writes half precision as Flex operations, without a word,
    # and LiteRT cannot run them.
    dtypes = precision.other_dtypes(model)
    if not dtypes:
        return model, ()
    rebuilt = precision.in_float32(model)
    before = keras_outputs(model, samples).astype("float64")
    after = keras_outputs(rebuilt, samples.astype(rebuilt.inputs[0].dtype))
    return rebuilt, (
        f"the model computes in {' and '.join(dtypes)} and was rebuilt in "
        "float32, which changes its outputs by up to "
        f"{abs(before - after).max():.1e}",
    )


def _convert(model, folder, shape):
    """Returns the content of the TFLite file.

    Args:
        model: The model.
        folder: Path of a SavedModel to write on the way.
        shape: Shape of the input with the batch, `None` for any.
    """
    # Not from_concrete_functions: over a Keras model it wrote NaN weights.
    write(model, folder, shape)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            content = converter.convert()
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
