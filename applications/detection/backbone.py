"""The backbone inside a detector."""

import keras

from eca_keras.applications.detection import published
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.applications.features import stage_outputs
from eca_keras.applications.registry import BUILDERS
from eca_keras.applications.registry import find_builder
from eca_keras.errors import InputError
from eca_keras.utils import checks

NAME = "backbone"


def make_backbone(
    backbone,
    *,
    kernel_size,
    attention,
    input_shape,
    frozen_stages,
    frozen_batchnorm,
    detector,
):
    """Make the part of a network that a detector stands on.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one: its weights are copied, the model itself stays as it
            is, and its head, if any, is left out.
        kernel_size, attention: Arguments of the builder. For a model they
            must have their default values.
        input_shape: `(height, width, channels)`, all known.
        frozen_stages: The stem and so many stages do not train.
        frozen_batchnorm: Whether every BatchNormalization keeps its moving
            averages.
        detector: Name of the class, for `kernel_size="paper"`.

    Returns:
        A functional model from an image to the dictionary of the outputs of
        its stages, `"C2"` and so on.

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check_input_shape(input_shape)
    source = source_network(
        backbone, kernel_size, attention, input_shape, detector
    )
    copy = copy_stages(source, input_shape, frozen_batchnorm)
    freeze_stages(copy, frozen_stages)
    return keras.Model(copy.input, copy.output, name=NAME)


def source_network(
    backbone, kernel_size, attention, input_shape, detector=None
):
    """Return the network of a backbone, which is not to be changed.

    Args:
        backbone, kernel_size, attention, input_shape: As in `make_backbone`.
        detector: Name of the class, for `kernel_size="paper"`; `None` leaves
            that to the builder.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if isinstance(backbone, keras.Model):
        if not checks.is_adaptive(kernel_size) or attention != "eca":
            raise InputError(
                "`kernel_size` and `attention` only apply to a backbone that "
                "is given by name: a model has its own. Received: "
                f"kernel_size={kernel_size!r}, attention={attention!r}"
            )
        return backbone
    rule = (
        "must be a model of eca_keras.applications or the name of a builder, "
        f"one of {list(BUILDERS)}"
    )
    checks.check("backbone", backbone, backbone in list(BUILDERS), rule)
    released = isinstance(kernel_size, str) and kernel_size == "paper"
    if released and detector is not None:
        kernel_size = published.kernel_sizes(detector, backbone)
    return find_builder(backbone)(
        include_top=False,
        input_shape=tuple(input_shape),
        kernel_size=kernel_size,
        attention=attention,
    )


def copy_stages(source, input_shape, frozen_batchnorm, dtype=None):
    """Copy a network up to its last stage, weights included.

    Args:
        source: A model made by a builder.
        input_shape: As that of the copy is to be, without the batch.
        frozen_batchnorm: As in `make_backbone`.
        dtype: Data type policy of every layer; `None` for those of `source`.

    Returns:
        A functional model from an image to the dictionary of the outputs of
        its stages.
    """

    def copy(layer):
        kind = layer.__class__
        if frozen_batchnorm and issubclass(
            kind, keras.layers.BatchNormalization
        ):
            kind = FixedBatchNormalization
        config = layer.get_config()
        if dtype is not None:
            config["dtype"] = dtype
        return kind.from_config(config)

    stages = keras.Model(source.input, stage_outputs(source))
    # The input first: its shape decides those of all others.
    copied = keras.models.clone_model(
        stages,
        input_tensors=keras.Input(input_shape, name="images"),
        clone_function=copy,
    )
    copied.set_weights(stages.get_weights())
    return copied


def freeze_stages(model, count):
    """Freeze the stem and so many stages of a model with those outputs.

    Raises:
        ValueError: if there are not so many stages.
    """
    stages = list(model.output.values())
    holds = checks.is_int(count) and 0 <= count <= len(stages)
    rule = f"must be an integer from 0 to {len(stages)}"
    checks.check("frozen_stages", count, holds, rule)
    if count:
        # All that the stage is computed from, the stem included.
        for layer in keras.Model(model.input, stages[count - 1]).layers:
            layer.trainable = False


def choose_stages(stages, levels):
    """Return the stages that a pyramid is built on, e.g. C3, C4 and C5."""
    names = [f"C{level}" for level in levels]
    if not set(names) <= set(stages):
        raise InputError(
            f"`backbone` must have the stages {', '.join(names[:-1])} and "
            f"{names[-1]}; Cn is 2 ** n times smaller than the image. "
            f"Received: stages {list(stages)}"
        )
    return {name: stages[name] for name in names}


def _check_input_shape(input_shape):
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Detectors need the image data format 'channels_last'. Received: "
            "keras.config.image_data_format()="
            f"{keras.config.image_data_format()!r}"
        )
    known = all(checks.is_int(size) and size > 0 for size in input_shape)
    rule = (
        "must be a tuple of three positive integers, height, width and "
        "channels: the anchors follow from it"
    )
    holds = len(input_shape) == 3 and known
    checks.check("input_shape", input_shape, holds, rule)
