"""The backbone inside a detector."""

import keras

from eca_keras import applications
from eca_keras.applications.detection import published
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.applications.features import stage_outputs
from eca_keras.utils import checks

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
    """Make the part of a network that a detector stands on.

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
    source = source_network(
        backbone, kernel_size, attention, input_shape, detector
    )
    trunk = copy_stages(source, input_shape, fixed_statistics)
    freeze_stages(trunk, frozen_stages)
    return keras.Model(trunk.input, trunk.output, name=NAME)


def source_network(
    backbone, kernel_size, attention, input_shape, detector=None
):
    """Return the network of a trunk, which is not to be changed.

    Args:
        backbone, kernel_size, attention, input_shape: As in `make_trunk`.
        detector: Name of the class, for `kernel_size="paper"`; `None` leaves
            that to the builder.

    Raises:
        ValueError: if an argument is out of its range.
    """
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
    released = isinstance(kernel_size, str) and kernel_size == "paper"
    if released and detector is not None:
        kernel_size = published.kernel_sizes(detector, backbone)
    return getattr(applications, backbone)(
        include_top=False,
        input_shape=tuple(input_shape),
        kernel_size=kernel_size,
        attention=attention,
    )


def copy_stages(source, input_shape, fixed_statistics, dtype=None):
    """Copy a network up to its last stage, weights included.

    Args:
        source: A model made by a builder.
        input_shape: As that of the copy is to be, without the batch.
        fixed_statistics: As in `make_trunk`.
        dtype: Data type policy of every layer; `None` for those of `source`.

    Returns:
        A functional model from an image to the dictionary of the outputs of
        its stages.
    """

    def copy(layer):
        kind = layer.__class__
        if fixed_statistics and issubclass(
            kind, keras.layers.BatchNormalization
        ):
            kind = FixedBatchNormalization
        config = layer.get_config()
        if dtype is not None:
            config["dtype"] = dtype
        return kind.from_config(config)

    stages = keras.Model(source.input, stage_outputs(source))
    # The input first: its shape decides those of all others.
    trunk = keras.models.clone_model(
        stages,
        input_tensors=keras.Input(input_shape, name="images"),
        clone_function=copy,
    )
    trunk.set_weights(stages.get_weights())
    return trunk


def freeze_stages(trunk, count):
    """Freeze the stem and so many stages of a model with those outputs.

    Raises:
        ValueError: if there are not so many stages.
    """
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


def choose_stages(stages, levels):
    """Return the stages that a pyramid is built on, e.g. C3, C4 and C5."""
    names = [f"C{level}" for level in levels]
    if not set(names) <= set(stages):
        raise ValueError(
            f"`backbone` must have the stages {', '.join(names[:-1])} and "
            f"{names[-1]}; Cn is 2 ** n times smaller than the image. "
            f"Received: stages {list(stages)}"
        )
    return {name: stages[name] for name in names}


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
