"""What the exports ask of their arguments."""

import os

import keras

from eca_keras.errors import InputError
from eca_keras.utils import checks

LABELS = "labels.txt"


def model_input(model):
    """Returns the only input of a model, a Keras tensor.

    Raises:
        ValueError: if `model` is not a built `keras.Model` with one input
            and one output, of any batch size.
    """
    if not isinstance(model, keras.Model):
        raise InputError(
            f"`model` must be a keras.Model. Received: model={model!r}"
        )
    # A Sequential without input shape raises; other models have no inputs.
    inputs = getattr(model, "inputs", None)
    if not model.built or not inputs:
        raise InputError(
            "`model` must be built with a known input: a Functional model, or "
            "a Sequential one that starts with keras.Input. Another model "
            "`m` becomes one as `x = keras.Input(shape)` and "
            f"`keras.Model(x, m(x))`. Received: model={model!r}"
        )
    if len(inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            "`model` must have one input and one output: export its parts "
            "one by one, as `keras.Model(one_input, one_output)`. Received a "
            f"model with {len(inputs)} inputs and {len(model.outputs)} "
            "outputs."
        )
    if inputs[0].shape[0] is not None:
        raise InputError(
            "`model` must take any batch size: build it on a keras.Input "
            "without `batch_size`. Received: a model for "
            f"{tuple(inputs[0].shape)}"
        )
    return inputs[0]


def check_tolerance(tolerance):
    if not checks.is_real(tolerance) or tolerance <= 0:
        raise InputError(
            "`tolerance` must be a positive number. "
            f"Received: tolerance={tolerance!r}"
        )


def check_batch_size(batch_size):
    if batch_size is not None and (
        not checks.is_int(batch_size) or batch_size < 1
    ):
        raise InputError(
            "`batch_size` must be a positive integer or None. "
            f"Received: batch_size={batch_size!r}"
        )


def check_labels(labels, classes):
    """Checks that there is one line of text for each class."""
    if labels is None:
        return
    one_line = isinstance(labels, (list, tuple)) and all(
        isinstance(label, str) and label.splitlines() == [label]
        for label in labels
    )
    if not one_line or len(labels) != classes:
        raise InputError(
            "`labels` must be a list of non-empty strings without line "
            f"breaks, one per output of the model, so {classes}. "
            f"Received: labels={shortened(labels)}"
        )


def check_data_format(model, format):
    """Checks that Keras can run the model on a CPU, to compare with it."""
    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(
                f"`model` must be in the channels_last format for {format}: "
                "build it so and copy the weights. Received: the layer "
                f"{layer.name} with data_format='channels_first'"
            )


def check_suffix(path, suffix):
    if not os.fspath(path).endswith(suffix):
        raise InputError(
            f"`path` must end in {suffix}. Received: path={os.fspath(path)}"
        )


def companions(path, labels):
    """Returns the paths of the report, and of the labels if there are any.

    Both are named after the file: another model may be in the same folder.
    """
    path = os.path.abspath(path)
    stem = os.path.splitext(path)[0]
    return [f"{path}.json", *([] if labels is None else [f"{stem}.{LABELS}"])]


def shortened(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}... ({len(value)})"


def write_text(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_labels(files, labels):
    """Writes one label per line, in the order of the outputs, as UTF-8."""
    for file in files:  # one or, without labels, none
        write_text(file, "".join(f"{label}\n" for label in labels))
