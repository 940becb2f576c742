"""The backbone inside a detector."""

import keras

from eca_keras import applications
from eca_keras.applications.detection import published
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.applications.features import stage_outputs
from eca_keras.layers import checks

NAME = "backbone"


def make_trunk(
    backbone,
    *,
    kernel_size,
    attention,
    input_shape,
    frozen_stages,
    fixed_statistics,
    detector,
):
    """Makes the part of a network that a detector stands on.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one: its weights are copied, the model itself stays as it
            is, and its head, if any, is left out.
        kernel_size, attention: Arguments of the builder. For a model they
            must have their default values.
        input_shape: `(height, width, channels)`, all known.
        frozen_stages: The stem and so many stages do not train.
        fixed_statistics: Whether every BatchNormalization keeps its moving
            averages.
        detector: Name of the class, for `kernel_size="paper"`.

    Returns:
        A functional model from an image to the dictionary of the outputs of
        its stages, `"C2"` and so on.

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check_input_shape(input_shape)
    source = _source(backbone, kernel_size, attention, input_shape, detector)
    stages = keras.Model(source.input, stage_outputs(source))
    # The input first: its shape decides those of all others.
    trunk = keras.models.clone_model(
        stages,
        input_tensors=keras.Input(input_shape, name="images"),
        clone_function=_with_fixed_statistics if fixed_statistics else _copy,
    )
    trunk.set_weights(stages.get_weights())
    _freeze(trunk, frozen_stages)
    return keras.Model(trunk.input, trunk.output, name=NAME)


def choose_stages(stages, levels):
    """Returns the stages that a pyramid is built on, e.g. C3, C4 and C5."""
    names = [f"C{level}" for level in levels]
    if not set(names) <= set(stages):
        raise ValueError(
            f"`backbone` must have the stages {', '.join(names[:-1])} and "
            f"{names[-1]}; Cn is 2 ** n times smaller than the image. "
            f"Received: stages {list(stages)}"
        )
    return {name: stages[name] for name in names}


def _source(backbone, kernel_size, attention, input_shape, detector):
    if isinstance(backbone, keras.Model):
        if (kernel_size, attention) != ("adaptive", "eca"):
            raise ValueError(
                "`kernel_size` and `attention` only apply to a backbone that "
                "is given by name: a model has its own. Received: "
                f"kernel_size={kernel_size!r}, attention={attention!r}"
            )
        return backbone
    names = [name for name in applications.__all__ if name.startswith("ECA")]
    if backbone not in names:
        raise ValueError(
            "`backbone` must be a model of eca_keras.applications or the name "
            f"of a builder, one of {names}. Received: backbone={backbone!r}"
        )
    if isinstance(kernel_size, str) and kernel_size == "paper":
        kernel_size = published.kernel_sizes(detector, backbone)
    return getattr(applications, backbone)(
        include_top=False,
        input_shape=tuple(input_shape),
        kernel_size=kernel_size,
        attention=attention,
    )


def _copy(layer):
    return layer.__class__.from_config(layer.get_config())


def _with_fixed_statistics(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        return FixedBatchNormalization.from_config(layer.get_config())
    return _copy(layer)


def _freeze(trunk, count):
    stages = list(trunk.output.values())
    if not checks.is_int(count) or not 0 <= count <= len(stages):
        raise ValueError(
            f"`frozen_stages` must be an integer from 0 to {len(stages)}. "
            f"Received: frozen_stages={count!r}"
        )
    if count:
        # All that the stage is computed from, the stem included.
        for layer in keras.Model(trunk.input, stages[count - 1]).layers:
            layer.trainable = False


def _check_input_shape(input_shape):
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Detectors need the image data format 'channels_last'. Received: "
            "keras.config.image_data_format()="
            f"{keras.config.image_data_format()!r}"
        )
    if len(input_shape) != 3 or not all(
        checks.is_int(size) and size > 0 for size in input_shape
    ):
        raise ValueError(
            "`input_shape` must be a tuple of three positive integers, "
            "height, width and channels: the anchors follow from it. "
            f"Received: input_shape={input_shape}"
        )
