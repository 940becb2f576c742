"""What the detectors share as Keras models."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import keras
import tensorflow as tf

from eca_keras.applications.detection.anchors import make_anchors
from eca_keras.applications.detection.anchors import octave_sizes
from eca_keras.applications.detection.backbone import NAME
from eca_keras.applications.detection.backbone import choose_stages
from eca_keras.applications.detection.backbone import make_backbone
from eca_keras.applications.detection.fpn import feature_pyramid
from eca_keras.applications.detection.fpn import level_of
from eca_keras.utils.checks import check_count
from eca_keras.utils.checks import check_tensorflow
from eca_keras.utils.types import Attention
from eca_keras.utils.types import Backbone
from eca_keras.utils.types import KernelSize

# What arguments were called in older `.keras` files.
OLD_NAMES = {"fixed_statistics": "frozen_batchnorm"}


class Shared(typing.TypedDict, total=False):
    """The keyword arguments of `Detector`, for type checkers."""

    attention: Attention
    frozen_batchnorm: bool
    filters: int
    anchor_sizes: Sequence[float]
    score_threshold: float
    iou_threshold: float
    max_detections: int
    name: str | None


class Detector(keras.Model):
    """Base class: a functional model that trains on images and objects.

    `fit` and `evaluate` take images and a dictionary of targets, `"boxes"`
    `(batch, objects, 4)` with corners `(x1, y1, x2, y2)` in pixels, and
    `"labels"` `(batch, objects)` from 0 to `num_classes - 1`, -1 for entries
    that are padding. `compile` needs an optimizer and nothing else.

    `predict` takes images and returns a dictionary, best detections first:
    `"boxes"` `(batch, max_detections, 4)` within the image, `"scores"` and
    `"labels"` `(batch, max_detections)`, and `"count"` `(batch,)`; entries
    beyond the count hold 0, label -1.

    Images are as `preprocess_input` makes them, padded at the right and at
    the bottom to `input_shape`. To keep detections out of the padding, pass
    `{"images": images, "sizes": sizes}` instead of the images, with heights
    and widths `(batch, 2)`.

    A subclass names the parts of its loss in `LOSSES`, its pyramid in
    `STAGES` and `EXTRA`, its anchors in `RATIOS` and `OCTAVES`. It defines
    `outputs_of`, which puts its heads on the pyramid, `losses_of`, which
    computes the parts of the loss, and `detect`, which turns the outputs
    into detections.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one (with or without its head), whose weights are copied.
            It must have the stages that the detector reads, up to C5.
        kernel_size: As in the builders; `"paper"` stands for the kernels of
            the released detector, which are not those of the classifier.
        num_classes: Number of classes; background is not one.
        frozen_stages: The stem and so many stages do not train; 0 for none.
        input_shape: `(height, width, channels)` of the images. Any size.
        attention: As in the builders.
        frozen_batchnorm: Whether the backbone's BatchNormalization keeps its
            mean and variance in training (its `gamma` and `beta` train), as
            is usual with few images per step. Pass `False` to train from
            scratch.
        filters: Channels of the pyramid and of the convolutions of heads.
        anchor_sizes: Smallest size of the anchors per level, in pixels.
        score_threshold: Detections must have a higher score.
        iou_threshold: Of two detections of a class that overlap more, the
            better one stays.
        max_detections: Number of detections per image.
        name: Name of the model; by default that of the detector.
        **options: Arguments of the subclass, which `outputs_of` takes.

    Raises:
        ValueError: if an argument is out of its range.
        ImportError: if Keras runs on another backend than TensorFlow.
    """

    LOSSES: tuple[str, ...] = ()
    NAMES: tuple[str, str]  # of the detector in `published`, of the model
    STAGES: tuple[int, ...] = (3, 4, 5)
    EXTRA: str | None = None
    RATIOS = (0.5, 1.0, 2.0)
    OCTAVES = 1  # anchors of each ratio

    def __init__(
        self,
        backbone: Backbone = "ECAResNet50",
        kernel_size: KernelSize = "adaptive",
        num_classes: int = 80,
        frozen_stages: int = 1,
        input_shape: Sequence[int] = (800, 1344, 3),
        *,
        attention: Attention = "eca",
        frozen_batchnorm: bool = True,
        filters: int = 256,
        anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
        score_threshold: float = 0.05,
        iou_threshold: float = 0.5,
        max_detections: int = 100,
        name: str | None = None,
        **options: typing.Any,
    ) -> None:
        check_tensorflow(type(self).__name__)
        counts = {
            "num_classes": num_classes,
            "filters": filters,
            "max_detections": max_detections,
        }
        for argument, value in counts.items():
            check_count(argument, value)
        released, default_name = self.NAMES
        of_backbone = {
            "kernel_size": kernel_size,
            "attention": attention,
            "frozen_stages": frozen_stages,
            "frozen_batchnorm": frozen_batchnorm,
        }
        copy = make_backbone(
            backbone, input_shape=input_shape, detector=released, **of_backbone
        )
        images = keras.Input(input_shape, name="images")
        stages = choose_stages(copy(images), self.STAGES)
        pyramid = feature_pyramid(stages, filters, extra=self.EXTRA)
        outputs = self.outputs_of(pyramid, num_classes, filters, **options)
        super().__init__(images, outputs, name=name or default_name)
        self.remember(
            backbone,
            **of_backbone,
            **counts,
            anchor_sizes=tuple(anchor_sizes),
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            **options,
        )
        octaves = self.OCTAVES
        self.anchors = make_anchors(
            input_shape[:2],
            [2 ** level_of(level) for level in pyramid],
            [
                octave_sizes(size, octaves) if octaves > 1 else (size,)
                for size in anchor_sizes
            ],
            self.RATIOS,
        )

    def outputs_of(self, pyramid, num_classes, filters, **options):
        """Return the outputs of the graph, a dictionary of Keras tensors."""
        raise NotImplementedError

    def losses_of(self, objects, outputs, training):
        """Compute the parts of the loss, each `(batch,)`, by their names.

        Args:
            objects: `"boxes"` float32, `"labels"` int32, `"sizes"`, `(2,)`
                or `(batch, 2)`, what else the targets hold, and `"step"`, the
                number of the training step, which random draws follow from;
                without one they are always the same.
            outputs: The outputs of the graph.
            training: Whether this is a training step.
        """
        raise NotImplementedError

    def detect(self, outputs, sizes=None):
        """Turn the outputs of the graph into detections.

        Args:
            outputs: What calling the model returns.
            sizes: Heights and widths of the images without padding,
                `(batch, 2)`; `None` for `input_shape`.

        Returns:
            Dictionary of `"boxes"`, `"scores"`, `"labels"` and `"count"`.
        """
        raise NotImplementedError

    def remember(self, backbone, **arguments):
        """Keep what `get_config` needs to make the same model again."""
        for name, value in arguments.items():
            setattr(self, name, value)
        self._argument_names = tuple(arguments)
        # A name that makes the backbone again, or None: one from a model,
        # or with a function for its attention, has to be written down whole.
        rebuilt = isinstance(backbone, str) and not callable(self.attention)
        self._backbone_name = backbone if rebuilt else None
        self._parts = {name: keras.metrics.Mean(name) for name in self.LOSSES}

    @property
    def backbone(self):
        """The backbone, a functional model from an image to its stages."""
        return self.get_layer(NAME)

    def train_step(self, data):
        return super().train_step(_sizes_to_targets(data))

    def test_step(self, data):
        return super().test_step(_sizes_to_targets(data))

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        images, sizes = _images_and_sizes(x)
        return self.detect(self(images, training=False), sizes)

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        objects = {
            **y,
            "boxes": tf.cast(y["boxes"], tf.float32),
            "labels": tf.cast(y["labels"], tf.int32),
            "sizes": self.true_sizes(y.get("sizes")),
        }
        optimizer = getattr(self, "optimizer", None)  # None: not compiled
        if training and optimizer is not None:
            objects["step"] = optimizer.iterations
        parts = self.losses_of(objects, y_pred, training)
        for name, values in parts.items():
            self._parts[name].update_state(values, sample_weight)
        return self._average(sum(parts.values()), sample_weight)

    def _average(self, values, sample_weight):
        """Mean over the images of a step, `(batch,)` to a number.

        With weights the sum is divided by the number of images, not by that
        of the weights, as Keras does. Replicas add up their gradients, so
        that each has to return its fraction of the mean.
        """
        if sample_weight is not None:
            values = values * tf.cast(sample_weight, tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return tf.add_n([tf.reduce_mean(values), *self.losses]) / replicas

    def true_sizes(self, sizes):
        """Heights and widths of the images without padding."""
        return self.inputs[0].shape[1:3] if sizes is None else sizes

    def get_config(self):
        config = {
            "name": self.name,
            "input_shape": tuple(self.inputs[0].shape[1:]),
            **{name: getattr(self, name) for name in self._argument_names},
        }
        if self._backbone_name is not None:
            return {**config, "backbone": self._backbone_name}
        # The backbone has its kernel sizes and its attention.
        del config["kernel_size"], config["attention"]
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**config, "backbone": backbone}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = renamed(config)
        backbone = config["backbone"]
        if not isinstance(backbone, str):
            backbone = keras.saving.deserialize_keras_object(
                backbone, custom_objects=custom_objects
            )
        return cls(**{**config, "backbone": backbone})


def renamed(config):
    """Give the arguments of an older file the names that they have now."""
    return {OLD_NAMES.get(name, name): v for name, v in config.items()}


def _images_and_sizes(x):
    if isinstance(x, dict):
        return x["images"], x.get("sizes")
    return x, None


def _sizes_to_targets(data):
    """Move the sizes to the targets: the graph takes nothing but images."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    images, sizes = _images_and_sizes(x)
    if sizes is not None:
        y = {**y, "sizes": sizes}
    if isinstance(sample_weight, dict):
        # Keras has copied it for every target.
        sample_weight = next(iter(sample_weight.values()))
    return images, y, sample_weight
