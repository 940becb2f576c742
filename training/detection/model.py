"""The detector that is trained, and what its backbone starts from."""

import pathlib

import keras
import numpy as np

from eca_keras.applications.building import build_network
from eca_keras.applications.detection import published
from eca_keras.applications.detection.heads import KERNEL_INITIALIZER
from eca_keras.applications.features import stage_outputs
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.applications.registry import DETECTORS
from eca_keras.applications.registry import find_detector
from eca_keras.errors import InputError
from eca_keras.layers.feature_map import FeatureMapLayer
from eca_keras.training.classification.model import precision_policy
from eca_keras.utils.keras_graph import leaves
from eca_keras.utils.layer_settings import settings_of
from eca_keras.weights import load_model
from eca_keras.weights.keras_archive import kind_of

LEVELS = 5  # of the pyramid, each with anchors twice as large

# What settings call some arguments of a detector, by their values.
_WORDS = {"head_initializer": {"normal": KERNEL_INITIALIZER}}


def build_detector(config, backbone, num_classes):
    """Build the detector of a `DetectConfig`.

    Args:
        config: `DetectConfig`.
        backbone: What `make_backbone` returns.
        num_classes: Number of classes.

    Raises:
        InputError: with the builder's own sentence if an argument is bad.
    """
    names = DETECTORS[config.detector].options
    options = {name: getattr(config, name) for name in names}
    for name, values in _WORDS.items():
        if name in options:
            options[name] = values.get(options[name], options[name])
    try:
        with precision_policy(config.precision):
            return find_detector(config.detector)(
                backbone,
                num_classes=num_classes,
                frozen_stages=config.frozen_stages,
                input_shape=config.input_shape,
                frozen_batchnorm=config.frozen_batchnorm,
                filters=config.filters,
                anchor_sizes=[config.anchor_size * 2**i for i in range(LEVELS)],
                **options,
            )
    except ValueError as error:
        raise InputError(str(error)) from error


def make_backbone(config):
    """Build the backbone, with the weights that it starts from.

    Args:
        config: `DetectConfig`.

    Returns:
        A `keras.Model` for images as `preprocess_input` makes them.

    Raises:
        InputError, OSError, ImportError: if it cannot be built, or there are
            no such weights for it.
    """
    kernel_size = config.kernel_size
    if isinstance(kernel_size, str) and kernel_size == "paper":
        kernel_size = _published(config)
    alpha = config.backbone_alpha
    weights = config.backbone_weights
    of_keras = weights is not None and _is_model(weights)
    network = build_network(
        config.backbone,
        config.attention,
        kernel_size,
        include_top=False,
        input_shape=(None, None, 3),
        weights=None if of_keras else weights,
        **({} if alpha == 1 else {"alpha": alpha}),
    )
    if of_keras:
        copy_weights(pathlib.Path(weights), network)
    return network


def _published(config):
    """The kernel sizes of the released detector."""
    try:
        return published.kernel_sizes(config.detector, config.backbone)
    except ValueError as error:
        raise InputError(str(error)) from error


def _is_model(path):
    """Whether it is a run or a file that Keras saved whole."""
    path = pathlib.Path(path)
    if path.is_file():
        return kind_of(path) == "archive"
    # Hosted weights have names without a suffix; a missing file has one.
    return path.is_dir() or bool(path.suffix)


def copy_weights(path, network):
    """Give the stages of a network the weights of a saved model.

    Layers are found by their names, so that it does not matter what comes
    after the stages (a classifier, a detector), and the normalization that
    may come before them is left out.

    Args:
        path: Folder of a run, whose `model.keras` is meant, or a `.keras`
            file.
        network: A model made by a builder.

    Raises:
        InputError: if the saved model is another network, or has images that
            are normalized in another way.
    """
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(
            "`backbone_weights` must be the folder of a run with a "
            f"model.keras, or an existing file. Received: {path}"
        )
    layers = {layer.name: layer for layer in leaves(load_model(path))}
    _check_normalization(path, layers.values())
    wanted = keras.Model(network.input, stage_outputs(network))
    wanted = {
        layer.name: layer
        for layer in wanted.layers
        if layer.weights or isinstance(layer, FeatureMapLayer)
    }
    differing = [
        name
        for name, layer in wanted.items()
        if name not in layers or _function(layers[name]) != _function(layer)
    ]
    if differing:
        raise InputError(
            "`backbone_weights` must be of the same network, with the same "
            f"kernel sizes and attention. {path} has another or no layer "
            f"{differing[0]}, and {len(differing) - 1} more of "
            f"{len(wanted)} differ"
        )
    for name, layer in wanted.items():
        layer.set_weights(layers[name].get_weights())


def _function(layer):
    """What has to be the same for the weights to mean the same."""
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return shapes, settings_of(layer.get_config())


def _check_normalization(path, layers):
    """Refuse weights for images that are not as `preprocess_input`'s."""
    normalizations = [
        (np.ravel(layer.mean) / 255, np.ravel(layer.variance) ** 0.5 / 255)
        for layer in layers
        if isinstance(layer, keras.layers.Normalization)
    ]
    settings = Preprocessing.path(path)
    if not settings.is_file():
        settings = path.with_name(Preprocessing.FILE)
    if settings.is_file():
        settings = Preprocessing.load(path)
        if settings.mean is not None:
            normalizations.append((settings.mean, settings.std))
    for mean, std in normalizations:
        if not _near(mean, IMAGENET_MEAN) or not _near(std, IMAGENET_STD):
            raise InputError(
                "`backbone_weights` must be of a network for colour images "
                "that are normalized with ImageNet's mean and std, as a "
                f"detector's are. {path} has the mean {_shown(mean)} and the "
                f"std {_shown(std)}"
            )


def _near(values, expected):
    return len(values) == len(expected) and np.allclose(
        values, expected, rtol=0, atol=1e-3
    )


def _shown(values):
    return ", ".join(f"{value:.3f}" for value in values)
