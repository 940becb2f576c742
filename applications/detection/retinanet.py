"""RetinaNet: one-stage detection with focal loss."""

import keras
import tensorflow as tf

from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.anchors import make_anchors
from eca_keras.applications.detection.anchors import octave_sizes
from eca_keras.applications.detection.boxes import BoxCoder
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.detections import best_detections
from eca_keras.applications.detection.detector import Detector
from eca_keras.applications.detection.fpn import feature_pyramid
from eca_keras.applications.detection.fpn import level_of
from eca_keras.applications.detection.heads import KERNEL_INITIALIZER
from eca_keras.applications.detection.heads import retina_head
from eca_keras.applications.detection.trunk import choose_stages
from eca_keras.applications.detection.trunk import make_trunk
from eca_keras.layers.dense import check_positive

# An anchor learns an object from this overlap on, background below the
# other (Section 4.1); in between it learns nothing.
OBJECT_OVERLAP = 0.5
BACKGROUND_OVERLAP = 0.4

# Candidates per level that go into the suppression (Section 4.1).
CANDIDATES = 1000

RATIOS = (0.5, 1.0, 2.0)
OCTAVES = 3  # anchors of each ratio


@keras.saving.register_keras_serializable("eca_keras")
class RetinaNet(Detector):
    """RetinaNet on a network with channel attention.

    A feature pyramid of five levels (P3 to P7; P6 is computed from the last
    stage) and two small networks that give every one of nine anchors per
    position its classes and its box.

    `fit` and `evaluate` take images and a dictionary of targets, `"boxes"`
    `(batch, objects, 4)` with corners `(x1, y1, x2, y2)` in pixels, and
    `"labels"` `(batch, objects)` from 0 to `num_classes - 1`, -1 in the
    places that are padding. The loss is the sum of `class_loss` and
    `box_loss`, which are logged: the focal loss over all anchors and the L1
    loss over the offsets of the matched ones, each divided by the number of
    matched anchors of the image. `compile` needs an optimizer and nothing
    else.

    `predict` takes images and returns a dictionary, best detections first:
    `"boxes"` `(batch, max_detections, 4)` within the image, `"scores"` and
    `"labels"` `(batch, max_detections)`, and `"count"` `(batch,)`; places
    beyond the count hold 0, label -1. Calling the model returns what the
    heads answer, `"logits"` and `"offsets"` of all anchors.

    Images are as `preprocess_input` makes them, padded at the right and at
    the bottom to `input_shape`. For detections within the images as they
    were before, pass `{"images": images, "sizes": sizes}` instead of the
    images, with heights and widths `(batch, 2)`.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one (with or without its head), whose weights are copied.
            It must have the stages C3, C4 and C5.
        kernel_size: As in the builders; `"paper"` stands for the kernels of
            the released RetinaNet, which are not those of the classifier.
        num_classes: Number of classes; background is not one.
        frozen_stages: The stem and so many stages do not train; 0 for none.
        input_shape: `(height, width, channels)` of the images. Any size.
        attention: As in the builders.
        fixed_statistics: Whether the backbone's BatchNormalization keeps its
            statistics in training (its `gamma` and `beta` train), as is
            usual with few images per step. Pass `False` to train from
            scratch.
        filters: Channels of the pyramid and the heads.
        head_initializer: Initializer of the kernels of the heads' hidden
            convolutions. The default is the paper's, normal with 0.01; in
            heads narrower than its 256 channels the signal fades with it,
            and `"he_normal"` learns faster.
        anchor_sizes: Smallest size of the anchors per level, in pixels.
        score_threshold: Detections must have a higher score.
        iou_threshold: Of two detections of a class that overlap more, the
            better one stays.
        max_detections: Number of detections per image.
        name: Name of the model.

    Raises:
        ValueError: if an argument is out of its range.

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

    def __init__(
        self,
        backbone="ECAResNet50",
        kernel_size="adaptive",
        num_classes=80,
        frozen_stages=1,
        input_shape=(800, 1344, 3),
        *,
        attention="eca",
        fixed_statistics=True,
        filters=256,
        head_initializer=KERNEL_INITIALIZER,
        anchor_sizes=(32, 64, 128, 256, 512),
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        name="retinanet",
    ):
        check_positive("num_classes", num_classes)
        check_positive("filters", filters)
        check_positive("max_detections", max_detections)
        trunk = make_trunk(
            backbone,
            kernel_size=kernel_size,
            attention=attention,
            input_shape=input_shape,
            frozen_stages=frozen_stages,
            fixed_statistics=fixed_statistics,
            detector="RetinaNet",
        )
        images = keras.Input(input_shape, name="images")
        stages = choose_stages(trunk(images), (3, 4, 5))
        pyramid = feature_pyramid(stages, filters, extra="convolutions")
        logits, offsets = retina_head(
            pyramid,
            len(RATIOS) * OCTAVES,
            num_classes,
            filters=filters,
            hidden_initializer=head_initializer,
        )
        super().__init__(
            images, {"logits": logits, "offsets": offsets}, name=name
        )
        self.remember(
            backbone,
            kernel_size=kernel_size,
            num_classes=num_classes,
            frozen_stages=frozen_stages,
            attention=attention,
            fixed_statistics=fixed_statistics,
            filters=filters,
            head_initializer=keras.initializers.get(head_initializer),
            anchor_sizes=tuple(anchor_sizes),
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        self.anchors = make_anchors(
            input_shape[:2],
            [2 ** level_of(level) for level in pyramid],
            [octave_sizes(size, OCTAVES) for size in anchor_sizes],
            RATIOS,
        )
        self._coder = BoxCoder()

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
        targets = self._coder.encode(matching.take(boxes, matches), anchors)
        box_loss = tf.reduce_sum(
            losses.smooth_l1(outputs["offsets"], targets) * positive[..., None],
            axis=(1, 2),
        )
        return {
            "class_loss": class_loss / number,
            "box_loss": box_loss / number,
        }

    def _class_losses(self, logits, matches, labels):
        """Sum over the anchors of every image, `(batch,)`."""
        classes = tf.where(matches >= 0, matching.take(labels, matches), -1)
        targets = tf.one_hot(classes, self.num_classes)  # -1: only zeros
        counted = tf.cast(matches != matching.IGNORED, tf.float32)
        elements = losses.focal_loss(logits, targets) * counted[..., None]
        return tf.reduce_sum(elements, axis=(1, 2))

    def detect(self, outputs, sizes=None):
        """Turn what the model answers for images into detections.

        Args:
            outputs: `"logits"` and `"offsets"`.
            sizes: Heights and widths of the images without padding,
                `(batch, 2)`; `None` for `input_shape`.

        Returns:
            Dictionary of `"boxes"`, `"scores"`, `"labels"` and `"count"`.
        """
        counts = [len(anchors) for anchors in self.anchors]
        candidates = [
            self._candidates(*level)
            for level in zip(
                self.anchors,
                tf.split(outputs["logits"], counts, axis=1),
                tf.split(outputs["offsets"], counts, axis=1),
                strict=True,
            )
        ]
        boxes, scores, labels = (
            tf.concat(parts, axis=1) for parts in zip(*candidates, strict=True)
        )
        return best_detections(
            clip(boxes, self.true_sizes(sizes)),
            scores,
            labels,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.max_detections,
        )

    def _candidates(self, anchors, logits, offsets):
        """Return the best pairs of anchor and class of a level."""
        pairs = tf.reshape(logits, (-1, len(anchors) * self.num_classes))
        best, indices = tf.math.top_k(pairs, min(CANDIDATES, pairs.shape[1]))
        rows = indices // self.num_classes
        boxes = self._coder.decode(
            tf.gather(offsets, rows, batch_dims=1), tf.gather(anchors, rows)
        )
        return boxes, tf.sigmoid(best), indices % self.num_classes

    def get_config(self):
        initializer = keras.initializers.serialize(self.head_initializer)
        return {**super().get_config(), "head_initializer": initializer}
