"""A member of each family of keras.applications, small where it can be."""

import dataclasses

import keras
import numpy as np
from cases import make_map
from export_models import randomised


@dataclasses.dataclass(frozen=True)
class Family:
    """One network and where attention goes in it.

    Attributes:
        size: Height and width of the images.
        residual: Number of places for `where="residual"`.
        stage: Number of places for `where="stage"`.
        arguments: Those of the builder.
    """

    size: int
    residual: int
    stage: int
    arguments: dict = dataclasses.field(default_factory=dict)


FAMILIES = {
    "ConvNeXtTiny": Family(64, 18, 4),
    "DenseNet121": Family(64, 0, 5),
    "EfficientNetB0": Family(64, 9, 5),
    "EfficientNetV2B0": Family(64, 15, 5),
    "InceptionResNetV2": Family(128, 40, 5),
    "InceptionV3": Family(128, 0, 5),
    "MobileNet": Family(64, 0, 5, {"alpha": 0.25}),
    "MobileNetV2": Family(64, 10, 5, {"alpha": 0.35}),
    "MobileNetV3Small": Family(64, 6, 5),
    "NASNetMobile": Family(64, 12, 6),
    "ResNet50": Family(64, 16, 5),
    "ResNet50V2": Family(64, 16, 5),
    "VGG16": Family(64, 0, 5),
    "VGG19": Family(64, 0, 5),
    "Xception": Family(96, 12, 5),
}

# What is 0 while the statistics are taken: nothing is dropped, and nothing
# of the earlier statistics is left.
HELD = {
    keras.layers.BatchNormalization: "momentum",
    keras.layers.Dropout: "rate",
}

CALIBRATION = 16  # images


def build(name):
    family = FAMILIES[name]
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(family.size, family.size, 3),
        classes=10,
        classifier_activation=None,
        **family.arguments,
    )
    randomised(model)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            # It only looks at its weights when it is loaded or adapted.
            layer.adapt(images(name))
    calibrate(model, images(name, CALIBRATION))
    return model


def calibrate(model, x):
    """Gives BatchNormalization the statistics of `x`, as training would.

    Without them the maps of a deep network vanish or explode. A channel that
    hardly varies over a few images is not blown up: rounding errors would be
    as well.
    """
    held = [
        (layer, name, getattr(layer, name))
        for layer in model.layers
        for kind, name in HELD.items()
        if isinstance(layer, kind)
    ]
    if not held:
        return
    for layer, name, _ in held:
        setattr(layer, name, 0.0)
    model(x, training=True)
    for layer, name, value in held:
        setattr(layer, name, value)
        if name == "momentum":
            variance = keras.ops.convert_to_numpy(layer.moving_variance)
            least = 0.5 * variance.mean()
            layer.moving_variance.assign(np.maximum(variance, least))


def exact_answers(model, file, x):
    """What a model answers in float64, to see what float32 rounds away.

    Args:
        model: The model.
        file: The `.keras` file that it was saved to, for the weights.
        x: The images.
    """
    twin = type(model).from_config(_in_float64(model.get_config()))
    # Not `set_weights`: a Normalization looks at its weights when it loads.
    twin.load_weights(file)
    answers = np.asarray(twin(x.astype("float64")))
    assert answers.dtype == "float64"
    return answers


def _in_float64(config):
    """A config with float64 for float32, and no weights to draw."""
    if isinstance(config, (list, tuple)):
        return type(config)(_in_float64(value) for value in config)
    if not isinstance(config, dict):
        return "float64" if config == "float32" else config
    if config.get("module") == "keras.initializers":
        return {**config, "class_name": "Zeros", "config": {}}
    return {key: _in_float64(value) for key, value in config.items()}


def images(name, count=3):
    size = FAMILIES[name].size
    return 3 * make_map((count, size, size, 3)).astype("float32")


def added(model, given):
    """The layers of `model` that `given` does not have."""
    known = {layer.name for layer in given.layers}
    return [layer for layer in model.layers if layer.name not in known]
