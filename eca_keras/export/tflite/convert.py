"""TensorFlow Lite (LiteRT): the format of phones and small devices."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Sequence
from typing import Any
from typing import ClassVar
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.checking.report import Report
from eca_keras.export.endpoints import INPUT_NAME
from eca_keras.export.endpoints import Endpoint
from eca_keras.export.exporter import Target
from eca_keras.export.exporter import export
from eca_keras.export.saved_model import write
from eca_keras.export.tflite import epsilons
from eca_keras.export.tflite import quantization
from eca_keras.export.tflite import scales
from eca_keras.utils import checks
from eca_keras.utils.quiet import quiet
from eca_keras.utils.types import PathLike


def export_tflite(
    model: keras.Model | Endpoint,
    path: PathLike,
    *,
    samples: ArrayLike | dict[str, ArrayLike] | None = None,
    labels: list[str] | None = None,
    preprocessing: Preprocessing | None = None,
    tolerance: float | None = None,
    overwrite: bool = True,
    batch_size: int | None = 1,
    input_shape: Sequence[int] | None = None,
    quantize: Literal["none", "float16", "dynamic", "int8"] = "none",
    representative: ArrayLike | None = None,
    input_type: quantization.Type = "float32",
    output_type: quantization.Type = "float32",
    least_agreement: float = quantization.LEAST_AGREEMENT,
    allow_constant: bool = False,
) -> Report:
    """Write a TFLite file and check that its outputs are those of the model.

    The file has TFLite's builtin operations only, and a signature that maps
    `images` to `outputs`; that of a detector has more inputs and outputs, see
    `DetectionEndpoint`. A model that computes in half precision is rebuilt
    in float32 first, with the same weights, and the file is compared with
    that. The report is written beside the file, as `*.tflite.json`.

    Args:
        model: A built `keras.Model` with one input and one output, in the
            `channels_last` format, a detector, or a `DetectionEndpoint`.
        path: The file to write, `*.tflite`. It appears complete or not at
            all.
        samples: Array of shape `(count, *input_shape)` to compare on, in the
            range of values that the model expects; `None` generates some. A
            detector needs images in which it finds something.
        labels: Names of the classes, written into the file and beside it,
            to `model.labels.txt`; `None` for those of `preprocessing`.
        preprocessing: What images go through before the model, written into
            the file, see `eca_keras.export.metadata`. Without a `mean` and
            `std` the model takes values in [0, 255].
        tolerance: Positive number, the largest absolute error that passes,
            times the largest output if that is more than 1; for `"dynamic"`
            and `"int8"` the mean absolute error, as a fraction of how much
            the outputs vary (their mean absolute difference from their mean
            over the samples). By default 1e-5, for a detector
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
        least_agreement: Fraction of the samples for which the largest output of
            a `"dynamic"` or `"int8"` file must have the same index; 0 for a
            model whose outputs are not classes. For a detector, the fraction of
            detections that a `"float16"` file must have.
        allow_constant: Whether a model may pass whose outputs hardly vary
            over the samples: then the comparison proves nothing.

    Returns:
        The `Report`; print it to read it.

    Raises:
        ValueError: if an argument is out of its range, an operation of the
            model is not a builtin one of TFLite, or its outputs do not vary.
        ExportMismatch: if the outputs differ, or LiteRT cannot run the file.
            Nothing is kept.
        OSError: if a file cannot be written.
        ImportError: if LiteRT is not installed.
    """
    quantization.check(quantize, representative, input_type, output_type)
    target = TFLite(
        batch_size,
        least_agreement,
        quantization.KINDS[quantize],
        quantize=quantize,
        representative=representative,
        types=(input_type, output_type),
        input_shape=input_shape,
    )
    return export(
        target,
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
    """Return a function from a batch to the outputs of a TFLite file.

    Raises:
        ExportMismatch: if LiteRT cannot run it.
    """
    from ai_edge_litert import interpreter

    try:
        with quiet():
            loaded = interpreter.Interpreter(
                model_path=str(path), num_threads=threads
            )
            loaded.allocate_tensors()
            signature = loaded.get_signature_runner()
    except RuntimeError as error:  # such as a scale that no kernel takes
        raise ExportMismatch(
            f"LiteRT cannot run the TFLite file, which was not kept: {error}"
        ) from error
    inputs = signature.get_input_details()
    outputs = signature.get_output_details()

    def run(batch, loaded=loaded):  # which keeps it alive
        numbers = signature(
            **{
                name: quantization.to_file(values, inputs[name])
                for name, values in batch.items()
            }
        )
        return {
            name: quantization.from_file(values, outputs[name])
            for name, values in numbers.items()
        }

    return run


@dataclasses.dataclass
class TFLite(Target):
    """A TFLite file, see `export_tflite`."""

    format: ClassVar[str] = "tflite"
    quantize: str = "none"
    representative: Any = None
    types: tuple[str, str] = ("float32", "float32")
    input_shape: Sequence[int] | None = None

    def check(self, endpoint):
        checks.check(
            "least_agreement",
            self.least_agreement,
            checks.is_real(self.least_agreement)
            and 0 <= self.least_agreement <= 1,
            "must be between 0 and 1",
        )
        endpoint.check_quantization(self.quantize)
        super().check(endpoint)
        self.shape = _sample_shape(endpoint.image_shape, self.input_shape)

    def sample_shape(self, endpoint):
        return self.shape

    def prepare(self, endpoint, samples):
        self.images, notes = quantization.calibration(
            self.quantize,
            self.representative,
            endpoint.model,
            samples[INPUT_NAME],
        )
        endpoint, samples, more = super().prepare(endpoint, samples)
        return endpoint, samples, more + notes

    def write(self, endpoint, file, metadata):
        content, notes = self._convert(endpoint, f"{file}.saved_model"), ()
        if self.quantize == "int8":
            content, widened = scales.widen(content)
            notes = scales.notes(widened)
        if self.quantize == "float16":
            content, restored = epsilons.restore(content)
            notes = epsilons.notes(restored)
        with open(file, "wb") as stream:
            stream.write(content)
        metadata.append(file)
        return {
            "format": f"TFLite file ({self.numbers.weights})",
            "ops": _operations(content),
            "notes": notes,
        }

    def _convert(self, endpoint, folder):
        """Return the content of the file.

        Args:
            endpoint: The `Endpoint`.
            folder: Path of a SavedModel to write on the way.
        """
        # Not from_concrete_functions: over a Keras model it wrote NaN weights.
        write(endpoint, folder, endpoint.specs(self.batch_size, self.shape))
        with quiet():
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            quantization.configure(
                converter,
                self.quantize,
                self.images,
                self.batch_size,
                self.types,
            )
            try:
                content = quantization.convert(converter)
            except Exception as error:  # its ConverterError is not public
                unsupported = re.findall(
                    r"^(?:TF Select|Custom) ops: (.+)$",
                    str(error),
                    re.MULTILINE,
                )
                if not unsupported:
                    raise
                raise InputError(
                    "`model` must have operations that TFLite has built in. "
                    f"Received: a model with {', '.join(unsupported)}"
                ) from error
        shutil.rmtree(folder)  # its room on the disk is the file's
        return content


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
        checks.is_int(m) and m > 0 and n in (None, m)
        for m, n in zip(input_shape, shape, strict=True)
    )
    rule = f"must fit the model's {tuple(shape)}"
    checks.check("input_shape", input_shape, fits, rule)
    return tuple(input_shape)


def _operations(content):
    """Return the names of the operations in a TFLite file, in order."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    return tuple(
        name
        for i in range(model.SubgraphsLength())
        for name, _ in scales.operators(schema, model, model.Subgraphs(i))
    )
