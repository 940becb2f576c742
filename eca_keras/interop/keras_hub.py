"""This library's networks as backbones of KerasHub, which has to be there.

Import this module before a model with such a backbone is loaded: Keras then
knows the class.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from eca_keras.applications.detection.backbone import NAME
from eca_keras.applications.detection.backbone import copy_stages
from eca_keras.applications.detection.backbone import freeze_stages
from eca_keras.applications.detection.backbone import source_network
from eca_keras.applications.detection.detector import renamed
from eca_keras.errors import require
from eca_keras.utils.types import Attention
from eca_keras.utils.types import Backbone
from eca_keras.utils.types import KernelSize
from eca_keras.utils.types import Serializable

require("keras-hub", "eca_keras.interop.keras_hub", "keras_hub")

import keras_hub  # noqa: E402

__all__ = ["ECABackbone"]


@keras.saving.register_keras_serializable("eca_keras")
class ECABackbone(keras_hub.models.FeaturePyramidBackbone):
    """A network with channel attention, for KerasHub to build on.

    Calling it gives the last feature map. `pyramid_outputs` has the outputs
    of the stages, C2 to C5 and in an ECAMobileNetV2 no others, under the
    names that KerasHub gives them: `"P2"` to `"P5"`, Keras tensors that are
    `2 ** n` times smaller than the image.

    `.keras` files and presets hold it, frozen stages too: which layer trains
    is no part of such a file, so that here it follows from the arguments.
    Images are as `eca_keras.applications.preprocess_input` makes them.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one (with or without its head), whose weights are copied.
        kernel_size, attention: As in the builders; only for a name.
        image_shape: `(height, width, channels)`, or the channels first if
            that is `keras.config.image_data_format()`. Height and width may
            be `None`.
        frozen_stages: The stem and so many stages do not train; 0 for none.
        frozen_batchnorm: Whether BatchNormalization keeps its mean and
            variance in training (its `gamma` and `beta` train), as is usual
            in detectors with few images per step.
        dtype: Data type policy of all layers, or its name; `None` for those
            of the given model, or else that of `keras.config`.
        trainable: Whether what is not frozen trains.
        name: Name of the model; `None` for one that Keras makes.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> backbone = ECABackbone("ECAResNet18", image_shape=(64, 96, 3))
    >>> backbone.pyramid_outputs["P3"].shape
    (None, 8, 12, 128)
    """

    def __init__(
        self,
        backbone: Backbone = "ECAResNet50",
        kernel_size: KernelSize = "adaptive",
        *,
        attention: Attention = "eca",
        image_shape: Sequence[int | None] = (None, None, 3),
        frozen_stages: int = 1,
        frozen_batchnorm: bool = True,
        dtype: Serializable = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        source = source_network(backbone, kernel_size, attention, image_shape)
        stages = copy_stages(source, image_shape, frozen_batchnorm, dtype)
        outputs = list(stages.output.values())
        super().__init__(
            stages.input,
            outputs[-1],
            # KerasHub gives its own layers, such as a pyramid, this policy.
            dtype=stages.layers[-1].dtype_policy if dtype is None else dtype,
            trainable=trainable,  # of all layers: what is frozen comes after
            name=name,
        )
        freeze_stages(stages, frozen_stages)
        self.pyramid_outputs = {
            stage.replace("C", "P"): x for stage, x in stages.output.items()
        }
        # A name that makes the network again, or None: a model, or one with
        # a function for its attention, has to be written down whole.
        rebuilt = isinstance(backbone, str) and not callable(attention)
        self._backbone_name = backbone if rebuilt else None
        self.kernel_size = kernel_size
        self.attention = attention
        self.image_shape = tuple(image_shape)
        self.frozen_stages = frozen_stages
        self.frozen_batchnorm = frozen_batchnorm

    def get_config(self):
        config = {
            **super().get_config(),
            "image_shape": self.image_shape,
            "frozen_stages": self.frozen_stages,
            "frozen_batchnorm": self.frozen_batchnorm,
        }
        if self._backbone_name is not None:
            return {
                **config,
                "backbone": self._backbone_name,
                "kernel_size": self.kernel_size,
                "attention": self.attention,
            }
        # It has its kernel sizes, its attention and its policies.
        del config["dtype"]
        network = keras.Model(self.inputs[0], self.pyramid_outputs, name=NAME)
        return {
            **config,
            "backbone": keras.saving.serialize_keras_object(network),
        }

    @classmethod
    def from_config(cls, config):
        config = renamed(config)
        if not isinstance(config["backbone"], str):
            backbone = keras.saving.deserialize_keras_object(config["backbone"])
            config = {**config, "backbone": backbone}
        return super().from_config(config)
