"""The arguments that all builders share: input, head and weights."""

from __future__ import annotations

import dataclasses
import os
import typing
import warnings

import keras
from keras import layers

from eca_keras.errors import InputError
from eca_keras.utils import checks


@dataclasses.dataclass(frozen=True)
class Request:
    """What a builder is asked for, apart from the network itself.

    Attributes:
        builder: Name of the builder, under which public weights are known.
        row: What it builds, with `default_size`, the height and width if
            `input_shape` does not say, and `min_size`, the smallest.
        include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, name, dropout: As in every builder.
    """

    builder: str
    row: typing.Any
    include_top: bool
    weights: typing.Any
    input_tensor: typing.Any
    input_shape: typing.Any
    pooling: str | None
    classes: int
    classifier_activation: typing.Any
    name: str | None
    dropout: float


def build_classifier(features, request):
    """Build a model as `keras.applications` does.

    Args:
        features: Callable that maps an image tensor to the last feature map.
        request: The `Request`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if an argument is out of its range.
    """
    hosted = _check_weights(request.weights, request.builder)
    _check_head(request)
    if hosted and request.include_top:
        _check_hosted_classes(request.weights, request.classes)
    inputs, image = _inputs(request)
    outputs = _head(features(image), request)
    model = keras.Model(inputs, outputs, name=request.name)
    if request.weights is not None:
        _load_weights(model, request.builder if hosted else None, request)
    return model


def _inputs(request):
    """Return the inputs of the model, and the image of the network."""
    if request.input_tensor is None:
        image = layers.Input(shape=_input_shape(request))
        return image, image
    _check_input_tensor(request)
    # What the caller computed before `input_tensor` belongs to the model.
    inputs = keras.utils.get_source_inputs(request.input_tensor)
    if len(inputs) == 1:
        [inputs] = inputs  # a list would be part of the call's structure
    return inputs, request.input_tensor


def _head(x, request):
    if request.include_top:
        return _classify(x, request)
    if request.pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if request.pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def _classify(x, request):
    # Half precision is too coarse for logits and their softmax.
    compute_dtype = keras.config.dtype_policy().compute_dtype
    dtype = keras.backend.result_type(compute_dtype, "float32")
    x = layers.GlobalAveragePooling2D(name="avg_pool", dtype=dtype)(x)
    if request.dropout:
        x = layers.Dropout(request.dropout, name="top_dropout", dtype=dtype)(x)
    return layers.Dense(
        int(request.classes),  # Dense does not take NumPy's integers
        activation=request.classifier_activation,
        name="predictions",
        dtype=dtype,
    )(x)


def _load_weights(model, hosted_builder, request):
    weights = request.weights
    if hosted_builder:
        from eca_keras.weights import hub

        weights = hub.download(hosted_builder, weights)
    from eca_keras.weights import load_into

    load_into(model, weights)


def _check_weights(weights, builder):
    """Check `weights` and return whether they are hosted publicly."""
    if weights is None:
        return False
    # Imported here: `eca_keras.weights` builds on the builders.
    from eca_keras.weights import hub

    if isinstance(weights, str) and hub.find_tag(builder, weights):
        return True
    if isinstance(weights, str) and weights == "imagenet":
        raise InputError(
            "`weights='imagenet'` is not available: no ImageNet weights are "
            "hosted for this model. Pass `None` (random initialization) or "
            "the path to a weights file."
        )
    if not isinstance(weights, (str, os.PathLike)) or not os.path.exists(
        weights
    ):
        tags = hub.HOSTED.get(builder, ())
        names = ", ".join(map(repr, ("imagenet", *tags)))
        hosted = f", {names} (hosted weights)," if tags else ""
        raise InputError(
            "The `weights` argument should be either `None` (random "
            f"initialization){hosted} or the path to the weights file to be "
            f"loaded. Received: weights={weights}"
        )
    return False


def _check_hosted_classes(weights, classes):
    from eca_keras.weights import hub

    if classes != hub.CLASSES:
        raise InputError(
            f"If using `weights={weights!r}` with `include_top=True`, "
            f"`classes` should be {hub.CLASSES}. Received: classes={classes}"
        )


def _check_head(request):
    pooling, dropout = request.pooling, request.dropout
    rule = "must be None, 'avg' or 'max'"
    checks.check("pooling", pooling, pooling in (None, "avg", "max"), rule)
    holds = checks.is_real(dropout) and 0 <= dropout < 1
    checks.check("dropout", dropout, holds, "must be a number in [0, 1)")
    if not request.include_top:
        return
    checks.check_count("classes", request.classes)
    activation = request.classifier_activation
    allowed = (keras.activations.softmax, keras.activations.linear)
    if (
        request.weights is not None
        and keras.activations.get(activation) not in allowed
    ):
        raise InputError(
            "Only `None` and `softmax` activations are allowed for the "
            "`classifier_activation` argument when using pretrained weights, "
            "with `include_top=True`; Received: "
            f"classifier_activation={activation}"
        )


def _check_input_tensor(request):
    tensor, input_shape = request.input_tensor, request.input_shape
    if not keras.backend.is_keras_tensor(tensor):
        rule = (
            "must be a Keras tensor, such as the output of "
            "`keras.layers.Input()`"
        )
        raise checks.refusal("input_tensor", tensor, rule)
    shape = tuple(tensor.shape[1:])
    if input_shape is not None and tuple(input_shape) != shape:
        rule = "must equal the shape of `input_tensor` without the batch"
        raise checks.refusal("input_shape", input_shape, rule, expected=shape)
    _check_shape(shape, request.row.min_size)


def _input_shape(request):
    """Return the shape of one image, `None` for an unknown size."""
    channels_first = keras.config.image_data_format() == "channels_first"
    if request.input_shape is None:
        size = request.row.default_size if request.include_top else None
        return (3, size, size) if channels_first else (size, size, 3)
    input_shape = tuple(request.input_shape)
    channels = _check_shape(input_shape, request.row.min_size)
    if channels not in (1, 3):
        warnings.warn(
            "This model usually expects 1 or 3 input channels. However, it "
            f"was passed an input_shape with {channels} input channels.",
            stacklevel=5,
        )
    if request.include_top and None in input_shape:
        raise InputError(
            "If `include_top` is True, you should specify a static "
            f"`input_shape`. Received: input_shape={input_shape}"
        )
    return input_shape


def _check_shape(shape, min_size):
    """Check the shape of one image and return its number of channels."""
    rule = "must be a tuple of three integers"
    checks.check("input_shape", shape, len(shape) == 3, rule)
    if keras.config.image_data_format() == "channels_first":
        channels, *size = shape
    else:
        *size, channels = shape
    if not checks.is_int(channels) or channels < 1:
        rule = "must have a positive integer for the channels"
        raise checks.refusal("input_shape", shape, rule)
    for extent in size:
        if extent is not None and (
            not checks.is_int(extent) or extent < min_size
        ):
            raise InputError(
                f"Input size must be at least {min_size}x{min_size}; "
                f"Received: input_shape={shape}"
            )
    return channels
