"""RetinaNet: one-stage detection with focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.detector import Shared
from eca_keras.applications.detection.heads import KERNEL_INITIALIZER
from eca_keras.applications.detection.heads import retina_head
from eca_keras.applications.detection.one_stage import OneStageDetector
from eca_keras.utils.types import Backbone
from eca_keras.utils.types import KernelSize
from eca_keras.utils.types import Serializable

if TYPE_CHECKING:
    from typing_extensions import Unpack

# An anchor is an object from this IoU on, and background below the other
# (Section 4.1); in between it is ignored.
OBJECT_OVERLAP = 0.5
BACKGROUND_OVERLAP = 0.4


@keras.saving.register_keras_serializable("eca_keras")
class RetinaNet(OneStageDetector):
    """RetinaNet on a network with channel attention.

    A feature pyramid of five levels (P3 to P7; P6 is computed from the last
    stage) and two small networks that give every one of nine anchors per
    position its classes and its box.

    Targets, predictions and arguments are those of every `Detector`. The
    loss is the sum of `class_loss` and `box_loss`, which are logged: the
    focal loss over all anchors and the L1 loss over the offsets of the
    matched ones, each divided by the number of matched anchors of the image.
    Calling the model returns the outputs of the heads, `"logits"` and
    `"offsets"` of all anchors.

    Args:
        backbone, kernel_size, num_classes, frozen_stages, input_shape: As in
            `Detector`.
        head_initializer: Initializer of the kernels of the heads' hidden
            convolutions. The default is the paper's, normal with 0.01; in
            heads narrower than its 256 channels the signal fades with it,
            and `"he_normal"` trains faster.
        **shared: The keyword arguments of `Detector`.

    Example:

    >>> from eca_keras.applications import ECAResNet18
    >>> model = RetinaNet(
    ...     ECAResNet18(include_top=False),
    ...     num_classes=3,
    ...     input_shape=(64, 96, 3),
    ...     filters=32,
    ... )
    >>> {name: tensor.shape[1:] for name, tensor in model.output.items()}
    {'logits': (1161, 3), 'offsets': (1161, 4)}

    Reference: [Focal Loss for Dense Object Detection](
    https://arxiv.org/abs/1708.02002) (ICCV 2017).
    """

    LOSSES = ("class_loss", "box_loss")

    NAMES = ("RetinaNet", "retinanet")
    EXTRA = "convolutions"
    OCTAVES = 3

    def __init__(
        self,
        backbone: Backbone = "ECAResNet50",
        kernel_size: KernelSize = "adaptive",
        num_classes: int = 80,
        frozen_stages: int = 1,
        input_shape: Sequence[int] = (800, 1344, 3),
        *,
        head_initializer: Serializable = KERNEL_INITIALIZER,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(
            backbone,
            kernel_size,
            num_classes,
            frozen_stages,
            input_shape,
            head_initializer=keras.initializers.get(head_initializer),
            **shared,
        )

    def outputs_of(self, pyramid, num_classes, filters, **options):
        logits, offsets = retina_head(
            pyramid,
            len(self.RATIOS) * self.OCTAVES,
            num_classes,
            filters=filters,
            hidden_initializer=options["head_initializer"],
        )
        return {"logits": logits, "offsets": offsets}

    def losses_of(self, objects, outputs, training):
        anchors = tf.concat(self.anchors, axis=0)
        boxes, labels = objects["boxes"], objects["labels"]
        matches = matching.match(
            anchors,
            boxes,
            labels >= 0,
            high=OBJECT_OVERLAP,
            low=BACKGROUND_OVERLAP,
            low_quality=True,
        )
        positive = tf.cast(matches >= 0, tf.float32)
        number = tf.maximum(tf.reduce_sum(positive, axis=1), 1.0)
        class_loss = self._class_losses(outputs["logits"], matches, labels)
        targets = self.coder.encode(matching.take(boxes, matches), anchors)
        box_loss = tf.reduce_sum(
            losses.smooth_l1(outputs["offsets"], targets) * positive[..., None],
            axis=(1, 2),
        )
        return {
            "class_loss": class_loss / number,
            "box_loss": box_loss / number,
        }

    def _class_losses(self, logits, matches, labels):
        """Return the sum over the anchors of every image, `(batch,)`."""
        classes = tf.where(matches >= 0, matching.take(labels, matches), -1)
        targets = tf.one_hot(classes, self.num_classes)  # -1: only zeros
        counted = tf.cast(matches != matching.IGNORED, tf.float32)
        elements = losses.focal_loss(logits, targets) * counted[..., None]
        return tf.reduce_sum(elements, axis=(1, 2))

    def get_config(self):
        initializer = keras.initializers.serialize(self.head_initializer)
        return {**super().get_config(), "head_initializer": initializer}
