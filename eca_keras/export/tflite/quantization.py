"""Smaller numbers in a TFLite file, and what they may cost."""

import dataclasses
import warnings

import numpy as np

from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.checking import samples as sampling


@dataclasses.dataclass(frozen=True)
class Quantization:
    """What a kind of quantisation computes in, and what passes.

    Attributes:
        weights: What the weights are stored in, for the name of the format.
        tolerance: Default of `export_tflite`. For `integer` kinds it is the
            mean difference as a share of `NetworkReport.variation`: 1 is what
            a file scores that ignores its input.
        integer: Whether it computes in 8-bit integers.
        samples: How many samples are generated where none are given: a single
            one must not decide about an agreement of 97 %.
    """

    weights: str
    tolerance: float
    integer: bool = False
    samples: int = sampling.COUNT


KINDS = {
    "none": Quantization("float32", 1e-5),
    # The weights are rounded to 11 bits, the arithmetic stays float32: up to
    # 1.9e-3 with the weights of tests/golden and on scanned digits.
    "float16": Quantization("float16", 5e-3),
    # Measured with the weights of tests/golden, which are random: 0.05 to
    # 0.15 dynamic, 0.10 to 0.26 int8; trained on digits 0.001 and 0.003.
    "dynamic": Quantization("int8 weights", 0.3, integer=True, samples=128),
    "int8": Quantization("int8", 0.3, integer=True, samples=128),
}

LEAST_AGREEMENT = 0.97  # top-1, of the integer kinds

# Fewer images than this leave out values that a deployed file will meet.
ENOUGH_IMAGES = 100

TYPES = ("float32", "int8", "uint8")


def check(quantize, representative, input_type, output_type):
    """Checks the arguments that do not need the model."""
    if quantize not in KINDS:
        raise InputError(
            f"`quantize` must be one of {', '.join(KINDS)}. "
            f"Received: quantize={quantize!r}"
        )
    if representative is not None and quantize != "int8":
        raise InputError(
            "`representative` must be None unless quantize='int8': only int8 "
            f"looks at images. Received: quantize={quantize!r}"
        )
    types = {"input_type": input_type, "output_type": output_type}
    for name, value in types.items():
        if value not in TYPES:
            raise InputError(
                f"`{name}` must be one of {', '.join(TYPES)}. "
                f"Received: {name}={value!r}"
            )
        if value != "float32" and quantize != "int8":
            raise InputError(
                f"`{name}` must be float32 unless quantize='int8'. "
                f"Received: {name}={value!r}, quantize={quantize!r}"
            )


def check_least_agreement(least_agreement):
    if not 0 <= least_agreement <= 1:
        raise InputError(
            "`least_agreement` must be between 0 and 1. "
            f"Received: least_agreement={least_agreement!r}"
        )


def calibration(quantize, representative, model, samples):
    """Returns the images that int8 is calibrated on, and notes about them.

    Args:
        quantize: One of `KINDS`.
        representative: What the user gave.
        model: Model with one input.
        samples: Array of the images that the file is compared on.
    """
    if quantize != "int8":
        return None, ()
    if not tf.as_dtype(model.inputs[0].dtype).is_floating:
        raise InputError(
            "`model` must have a float input for quantize='int8'. Received: "
            f"an input of type {model.inputs[0].dtype}"
        )
    if representative is None:
        representative = samples
    else:
        representative = sampling.resolve(
            representative, model, samples.shape[1:], name="representative"
        )
    note = f"calibrated on {len(representative)} images"
    if len(representative) < ENOUGH_IMAGES:
        note += f": {ENOUGH_IMAGES} or more give better ranges"
    return representative, (note,)


def configure(converter, quantize, images, batch_size, types):
    """Sets a converter up.

    Args:
        converter: `tf.lite.TFLiteConverter`.
        quantize: One of `KINDS`.
        images: Array of images for int8, or `None`.
        batch_size: Of the file; `None` for any.
        types: Types of the input and of the output.
    """
    operations = tf.lite.OpsSet.TFLITE_BUILTINS
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        # Not float where an integer kernel is missing, but an error.
        operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        converter.representative_dataset = lambda: _batches(images, batch_size)
        converter.inference_input_type = tf.as_dtype(types[0])
        converter.inference_output_type = tf.as_dtype(types[1])
    converter.target_spec.supported_ops = [operations]


def _batches(images, batch_size):
    batch_size = batch_size or 1
    for i in range(0, len(images), batch_size):
        batch = images[i : i + batch_size]
        # Repeats the first of a last, smaller batch: no new values.
        yield [np.resize(batch, (batch_size, *images.shape[1:]))]


def convert(converter):
    """Returns what a converter writes, without the warnings it gives."""
    with warnings.catch_warnings():
        # It announces the end of tf.lite.Interpreter, which it uses itself,
        # and that the range of an integer input is unknown.
        warnings.simplefilter("ignore")
        return converter.convert()


def to_file(values, details):
    """Maps numbers to those of an integer input of a TFLite file."""
    if np.issubdtype(values.dtype, np.floating) and np.issubdtype(
        details["dtype"], np.integer
    ):
        scale, zero = details["quantization"]
        limits = np.iinfo(details["dtype"])
        values = np.round(values / scale) + zero
        values = np.clip(values, limits.min, limits.max)
    return values.astype(details["dtype"])


def from_file(values, details):
    """Maps the values of an output of a TFLite file to numbers."""
    scale, zero = details["quantization"]
    if scale == 0:  # an output that is not quantised
        return values
    return scale * (values.astype("float32") - zero)
