"""The arguments that all builders share: input, head and weights."""

import os
import warnings

import keras
from keras import layers

from eca_keras.utils import checks

# What PyTorch's checkpoints are called: other files are Keras's.
TORCH_SUFFIXES = (".pth", ".pth.tar", ".pt", ".bin", ".safetensors")


def build_classifier(
    features,
    *,
    include_top,
    weights,
    input_tensor,
    input_shape,
    pooling,
    classes,
    classifier_activation,
    name,
    builder,
    dropout=0.0,
    default_size=224,
    min_size=32,
):
    """Build a model as `keras.applications` does.

    Args:
        features: Callable that maps an image tensor to the last feature map.
        include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, name, dropout: As in every builder.
        builder: Name of the builder, under which public weights are known.
        default_size: Height and width if `input_shape` does not say.
        min_size: Smallest height and width.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if an argument is out of its range.
    """
    hosted = _check_weights(weights, builder)
    _check_head(include_top, pooling, classes, classifier_activation, weights)
    if not checks.is_real(dropout) or not 0 <= dropout < 1:
        raise ValueError(
            "`dropout` must be a number in [0, 1). "
            f"Received: dropout={dropout!r}"
        )
    if hosted and include_top:
        _check_hosted_classes(weights, classes)
    if input_tensor is None:
        shape = _input_shape(
            input_shape,
            default_size=default_size,
            min_size=min_size,
            static=include_top,
        )
        image = layers.Input(shape=shape)
        inputs = image
    else:
        _check_input_tensor(input_tensor, input_shape, min_size)
        image = input_tensor
        # What the caller computed before `input_tensor` belongs to the model.
        inputs = keras.utils.get_source_inputs(input_tensor)
        if len(inputs) == 1:
            [inputs] = inputs  # a list would be part of the call's structure
    x = features(image)
    if include_top:
        x = _classify(x, classes, classifier_activation, dropout)
    elif pooling == "avg":
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D(name="max_pool")(x)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        _load_weights(model, builder if hosted else None, weights)
    return model


def _load_weights(model, hosted_builder, weights):
    if hosted_builder:
        from eca_keras.weights import hub

        weights = hub.download(hosted_builder, weights)
    if not str(weights).endswith(TORCH_SUFFIXES):
        model.load_weights(weights)
        return
    from eca_keras.weights import load_into

    load_into(model, weights)


def _classify(x, classes, activation, dropout):
    # Half precision is too coarse for logits and their softmax.
    compute_dtype = keras.config.dtype_policy().compute_dtype
    dtype = keras.backend.result_type(compute_dtype, "float32")
    x = layers.GlobalAveragePooling2D(name="avg_pool", dtype=dtype)(x)
    if dropout:
        x = layers.Dropout(dropout, name="top_dropout", dtype=dtype)(x)
    return layers.Dense(
        classes, activation=activation, name="predictions", dtype=dtype
    )(x)


def _check_weights(weights, builder):
    """Check `weights` and returns whether they are hosted publicly."""
    if weights is None:
        return False
    # Imported here: `eca_keras.weights` builds on the builders.
    from eca_keras.weights import hub

    if isinstance(weights, str) and hub.find_tag(builder, weights):
        return True
    if isinstance(weights, str) and weights == "imagenet":
        raise ValueError(
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
        raise ValueError(
            "The `weights` argument should be either `None` (random "
            f"initialization){hosted} or the path to the weights file to be "
            f"loaded. Received: weights={weights}"
        )
    return False


def _check_hosted_classes(weights, classes):
    from eca_keras.weights import hub

    if classes != hub.CLASSES:
        raise ValueError(
            f"If using `weights={weights!r}` with `include_top=True`, "
            f"`classes` should be {hub.CLASSES}. Received: classes={classes}"
        )


def _check_head(include_top, pooling, classes, activation, weights):
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            "`pooling` must be None, 'avg' or 'max'. "
            f"Received: pooling={pooling!r}"
        )
    if not include_top:
        return
    if not checks.is_int(classes) or classes < 1:
        raise ValueError(
            "`classes` must be a positive integer. "
            f"Received: classes={classes!r}"
        )
    allowed = (keras.activations.softmax, keras.activations.linear)
    if weights is not None and keras.activations.get(activation) not in allowed:
        raise ValueError(
            "Only `None` and `softmax` activations are allowed for the "
            "`classifier_activation` argument when using pretrained weights, "
            "with `include_top=True`; Received: "
            f"classifier_activation={activation}"
        )


def _check_input_tensor(input_tensor, input_shape, min_size):
    if not keras.backend.is_keras_tensor(input_tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, such as the output of "
            f"`keras.layers.Input()`. Received: input_tensor={input_tensor!r} "
            f"of type {type(input_tensor)}"
        )
    shape = tuple(input_tensor.shape[1:])
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            "`input_shape` must equal the shape of `input_tensor` without "
            f"the batch. Received: input_tensor.shape={input_tensor.shape}, "
            f"input_shape={input_shape}"
        )
    _check_shape(shape, min_size)


def _input_shape(input_shape, *, default_size, min_size, static):
    """Return the shape of one image, `None` for an unknown size."""
    channels_first = keras.config.image_data_format() == "channels_first"
    if input_shape is None:
        size = (default_size, default_size) if static else (None, None)
        return (3, *size) if channels_first else (*size, 3)
    input_shape = tuple(input_shape)
    channels = _check_shape(input_shape, min_size)
    if channels not in (1, 3):
        warnings.warn(
            "This model usually expects 1 or 3 input channels. However, it "
            f"was passed an input_shape with {channels} input channels.",
            stacklevel=4,
        )
    if static and None in input_shape:
        raise ValueError(
            "If `include_top` is True, you should specify a static "
            f"`input_shape`. Received: input_shape={input_shape}"
        )
    return input_shape


def _check_shape(shape, min_size):
    """Check the shape of one image and returns its number of channels."""
    if len(shape) != 3:
        raise ValueError(
            "`input_shape` must be a tuple of three integers. "
            f"Received: input_shape={shape}"
        )
    if keras.config.image_data_format() == "channels_first":
        channels, *size = shape
    else:
        *size, channels = shape
    if not checks.is_int(channels) or channels < 1:
        raise ValueError(
            "The number of channels of `input_shape` must be a positive "
            f"integer. Received: input_shape={shape}"
        )
    for extent in size:
        if extent is not None and (
            not checks.is_int(extent) or extent < min_size
        ):
            raise ValueError(
                f"Input size must be at least {min_size}x{min_size}; "
                f"Received: input_shape={shape}"
            )
    return channels
