"""Smaller numbers in a TFLite file, and what they may cost."""

import warnings
from typing import Literal
from typing import get_args

import numpy as np

from eca_keras.errors import InputError
from eca_keras.export.backend import tf
from eca_keras.export.checking import samples as sampling
from eca_keras.export.exporter import Numbers
from eca_keras.utils import checks

KINDS = {
    "none": Numbers(),
    # The weights are rounded to 11 bits, the arithmetic stays float32: up to
    # 1.9e-3 with the weights of tests/golden and on scanned digits.
    "float16": Numbers("float16", 5e-3),
    # Measured with the weights of tests/golden, which are random: 0.05 to
    # 0.15 dynamic, 0.10 to 0.26 int8; trained on digits 0.001 and 0.003.
    "dynamic": Numbers("int8 weights", 0.3, integer=True, samples=128),
    "int8": Numbers("int8", 0.3, integer=True, samples=128),
}

LEAST_AGREEMENT = 0.97  # top-1, of the integer kinds

# Fewer images than this leave out values that a deployed file will meet.
ENOUGH_IMAGES = 100

Type = Literal["float32", "int8", "uint8"]


def check(quantize, representative, input_type, output_type):
    """Check the arguments that do not need the model."""
    checks.check_choice("quantize", quantize, KINDS)
    if representative is not None and quantize != "int8":
        raise InputError(
            "`representative` must be None unless quantize='int8': only int8 "
            f"looks at images. Received: quantize={quantize!r}"
        )
    types = {"input_type": input_type, "output_type": output_type}
    for name, value in types.items():
        checks.check_choice(name, value, get_args(Type))
        if value != "float32" and quantize != "int8":
            raise InputError(
                f"`{name}` must be float32 unless quantize='int8'. "
                f"Received: {name}={value!r}, quantize={quantize!r}"
            )


def calibration(quantize, representative, model, samples):
    """Return the images that int8 is calibrated on, and notes about them.

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
    """Set a converter up.

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
    """Return what a converter writes, without the warnings it gives."""
    with warnings.catch_warnings():
        # It announces the end of tf.lite.Interpreter, which it uses itself,
        # and that the range of an integer input is unknown.
        warnings.simplefilter("ignore")
        return converter.convert()


def to_file(values, details):
    """Map numbers to those of an integer input of a TFLite file."""
    if np.issubdtype(values.dtype, np.floating) and np.issubdtype(
        details["dtype"], np.integer
    ):
        scale, zero = details["quantization"]
        limits = np.iinfo(details["dtype"])
        values = np.round(values / scale) + zero
        values = np.clip(values, limits.min, limits.max)
    return values.astype(details["dtype"])


def from_file(values, details):
    """Map the values of an output of a TFLite file to numbers."""
    scale, zero = details["quantization"]
    if scale == 0:  # an output that is not quantized
        return values
    return scale * (values.astype("float32") - zero)
