"""Faster R-CNN: proposals first, then their classes and boxes."""

from typing import NamedTuple

import keras
import tensorflow as tf

from eca_keras.applications.detection import heads
from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.anchors import make_anchors
from eca_keras.applications.detection.boxes import BoxCoder
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.boxes import longer_than
from eca_keras.applications.detection.detections import best_detections
from eca_keras.applications.detection.detector import Detector
from eca_keras.applications.detection.fpn import feature_pyramid
from eca_keras.applications.detection.fpn import level_of
from eca_keras.applications.detection.proposals import BETA
from eca_keras.applications.detection.proposals import proposal_losses
from eca_keras.applications.detection.proposals import propose
from eca_keras.applications.detection.roi_align import roi_align
from eca_keras.applications.detection.trunk import choose_stages
from eca_keras.applications.detection.trunk import make_trunk
from eca_keras.layers.dense import check_positive

RATIOS = (0.5, 1.0, 2.0)

# A proposal is an object from this overlap on, and background below; at most
# so many of those that a step draws are objects (Fast R-CNN, Section 2.3).
OVERLAP = 0.5
POSITIVES = 0.25

# Offsets are scaled to about unit variance (R-CNN, Appendix C).
WEIGHTS = (10.0, 10.0, 5.0, 5.0)

# Pairs of proposal and class that go into the suppression. All that are above
# the threshold, in practice: the scores of a proposal add up to 1.
CANDIDATES = 4096

# Detections with a shorter side have been cut away (torchvision).
SHORTEST_SIDE = 1e-2


class Draw(NamedTuple):
    """The regions that a step learns from, positives first.

    Attributes:
        regions: `(batch, samples, 4)`, without a gradient.
        matches: The object of each, `(batch, samples)`.
        positive: Whether a region holds an object, `(batch, samples)`.
        weights: 1.0, or 0.0 in places that are empty.
    """

    regions: tf.Tensor
    matches: tf.Tensor
    positive: tf.Tensor
    weights: tf.Tensor


@keras.saving.register_keras_serializable("eca_keras")
class FasterRCNN(Detector):
    """Faster R-CNN on a network with channel attention.

    On a feature pyramid of five levels (P2 to P6) a small network proposes
    boxes in which there may be an object; what RoIAlign reads there gives the
    class and the exact box.

    `fit` and `evaluate` take images and a dictionary of targets, `"boxes"`
    `(batch, objects, 4)` with corners `(x1, y1, x2, y2)` in pixels, and
    `"labels"` `(batch, objects)` from 0 to `num_classes - 1`, -1 in the
    places that are padding. The loss is the sum of four, which are logged:
    `objectness_loss` and `rpn_box_loss` of the proposals, `class_loss` and
    `box_loss` of their classes and boxes. Each is a mean over the anchors or
    proposals that a step draws from all its images; `evaluate` always draws
    the same. `compile` needs an optimizer and nothing else.

    `predict` takes images and returns a dictionary, best detections first:
    `"boxes"` `(batch, max_detections, 4)` within the image, `"scores"` and
    `"labels"` `(batch, max_detections)`, and `"count"` `(batch,)`; places
    beyond the count hold 0, label -1. Calling the model returns what `detect`
    makes them from: the pyramid, `"P2"` to `"P5"`, and `"objectness"` and
    `"offsets"` of all anchors.

    Images are as `preprocess_input` makes them, padded at the right and at
    the bottom to `input_shape`. To keep proposals and detections out of the
    padding, pass `{"images": images, "sizes": sizes}` instead of the images,
    with heights and widths `(batch, 2)`.

    Args:
        backbone: Name of a builder in `eca_keras.applications`, or a model
            made by one (with or without its head), whose weights are copied.
            It must have the stages C2 to C5.
        kernel_size: As in the builders; `"paper"` stands for the kernels of
            the released Faster R-CNN, which are not those of the classifier.
        num_classes: Number of classes; background is not one.
        frozen_stages: The stem and so many stages do not train; 0 for none.
        input_shape: `(height, width, channels)` of the images. Any size.
        attention: As in the builders.
        fixed_statistics: Whether the backbone's BatchNormalization keeps its
            statistics in training (its `gamma` and `beta` train), as is
            usual with few images per step. Pass `False` to train from
            scratch.
        filters: Channels of the pyramid and of the convolutions of heads.
        units: Width of the two dense layers that a region goes through.
        anchor_sizes: Size of the anchors per level, in pixels.
        train_proposals, proposals: Number of proposals per image, in training
            and else.
        anchor_samples: Number of anchors per image that the losses of a step
            are computed from.
        proposal_samples: The same for proposals.
        score_threshold: Detections must have a higher score.
        iou_threshold: Of two detections of a class that overlap more, the
            better one stays.
        max_detections: Number of detections per image.
        name: Name of the model; `None` for `"faster_rcnn"`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> from eca_keras.applications import ECAResNet18
    >>> model = FasterRCNN(
    ...     ECAResNet18(include_top=False),
    ...     num_classes=3,
    ...     input_shape=(64, 96, 3),
    ...     filters=32,
    ...     units=64,
    ... )
    >>> model.output["objectness"].shape, model.output["P5"].shape
    ((None, 1536), (None, 2, 3, 32))

    References:
        - [Faster R-CNN](https://arxiv.org/abs/1506.01497) (NeurIPS 2015)
        - [Feature Pyramid Networks for Object Detection](
          https://arxiv.org/abs/1612.03144) (CVPR 2017)
    """

    LOSSES = ("objectness_loss", "rpn_box_loss", "class_loss", "box_loss")
    NAMES = ("FasterRCNN", "faster_rcnn")  # in `published`, of the model

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
        units=1024,
        anchor_sizes=(32, 64, 128, 256, 512),
        train_proposals=2000,
        proposals=1000,
        anchor_samples=256,
        proposal_samples=512,
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        name=None,
    ):
        numbers = {
            "num_classes": num_classes,
            "filters": filters,
            "units": units,
            "train_proposals": train_proposals,
            "proposals": proposals,
            "anchor_samples": anchor_samples,
            "proposal_samples": proposal_samples,
            "max_detections": max_detections,
        }
        for argument, value in numbers.items():
            check_positive(argument, value)
        released, default_name = self.NAMES
        trunk = make_trunk(
            backbone,
            kernel_size=kernel_size,
            attention=attention,
            input_shape=input_shape,
            frozen_stages=frozen_stages,
            fixed_statistics=fixed_statistics,
            detector=released,
        )
        images = keras.Input(input_shape, name="images")
        stages = choose_stages(trunk(images), (2, 3, 4, 5))
        pyramid = feature_pyramid(stages, filters, extra="pool")
        objectness, offsets = heads.rpn_head(
            pyramid, len(RATIOS), filters=filters
        )
        outputs = {"objectness": objectness, "offsets": offsets}
        read = {level: pyramid[level] for level in ("P2", "P3", "P4", "P5")}
        super().__init__(images, {**read, **outputs}, name=name or default_name)
        self.remember(
            backbone,
            kernel_size=kernel_size,
            frozen_stages=frozen_stages,
            attention=attention,
            fixed_statistics=fixed_statistics,
            anchor_sizes=tuple(anchor_sizes),
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            **numbers,
        )
        self.anchors = make_anchors(
            input_shape[:2],
            [2 ** level_of(level) for level in pyramid],
            [(size,) for size in anchor_sizes],
            RATIOS,
        )
        self._coder = BoxCoder(WEIGHTS)
        self.add_heads()

    def add_heads(self):
        """Make what works on regions, not on images."""
        self.box_head = heads.box_head(
            self.filters, self.num_classes, units=self.units
        )

    def losses_of(self, objects, outputs, training):
        draw = self.draw_regions(objects, outputs, training)
        return {
            **proposal_losses(
                self.anchors,
                objects,
                outputs["objectness"],
                outputs["offsets"],
                samples=self.anchor_samples,
                seed=_seed(objects, 0),
            ),
            **self.region_losses(objects, outputs, draw),
        }

    def draw_regions(self, objects, outputs, training):
        """Draw the regions of a step: proposals and the objects' boxes."""
        boxes, found = propose(
            self.anchors,
            outputs["objectness"],
            outputs["offsets"],
            objects["sizes"],
            self.train_proposals if training else self.proposals,
        )
        valid = objects["labels"] >= 0
        boxes = tf.concat([boxes, objects["boxes"]], axis=1)
        matches = matching.match(
            boxes, objects["boxes"], valid, high=OVERLAP, low=OVERLAP
        )
        matches = tf.where(
            tf.concat([found, valid], axis=1), matches, matching.IGNORED
        )
        indices, positive, weights = matching.sample(
            matches,
            self.proposal_samples,
            POSITIVES,
            _seed(objects, 1),
        )
        return Draw(
            tf.gather(boxes, indices, batch_dims=1),
            tf.gather(matches, indices, batch_dims=1),
            positive,
            weights,
        )

    def region_losses(self, objects, outputs, draw):
        """Losses of the drawn regions, by their names."""
        logits, offsets = self._classify(outputs, draw.regions)
        classes = tf.where(
            draw.positive,
            matching.take(objects["labels"], draw.matches) + 1,
            0,
        )
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            classes, logits
        )
        # An empty place is no box: offsets from it would not be finite.
        regions = tf.where(
            draw.positive[..., None], draw.regions, [0.0, 0.0, 1.0, 1.0]
        )
        targets = self._coder.encode(
            matching.take(objects["boxes"], draw.matches), regions
        )
        offsets = tf.gather(offsets, classes, batch_dims=2)
        return {
            "class_loss": losses.mean_over(entropy, draw.weights, draw.weights),
            "box_loss": losses.mean_over(
                tf.reduce_sum(losses.smooth_l1(offsets, targets, BETA), -1),
                tf.cast(draw.positive, tf.float32),
                draw.weights,
            ),
        }

    def _classify(self, outputs, regions):
        """Logits `(batch, n, classes + 1)` and offsets `(..., 4)`."""
        answer = self.read(outputs, regions, self.box_head)
        return answer["logits"], answer["offsets"]

    def read(self, outputs, regions, head):
        """What a head answers on regions of images.

        Args:
            outputs: What the graph answers.
            regions: Boxes `(batch, n, 4)`.
            head: Functional model from features of regions.

        Returns:
            The outputs of `head`, each `(batch, n, ...)`.
        """
        shape = head.inputs[0].shape[1:]
        levels = [outputs[level] for level in ("P2", "P3", "P4", "P5")]
        features = roi_align(levels, regions, shape[0])
        answer = head(tf.reshape(features, (-1, *shape)))
        count = regions.shape[1]
        return keras.tree.map_structure(
            lambda x: tf.reshape(x, (-1, count, *x.shape[1:])), answer
        )

    def detect(self, outputs, sizes=None):
        """Turn what the model answers for images into detections.

        Args:
            outputs: What calling the model returns.
            sizes: Heights and widths of the images without padding,
                `(batch, 2)`; `None` for `input_shape`.

        Returns:
            Dictionary of `"boxes"`, `"scores"`, `"labels"` and `"count"`.
        """
        sizes = self.true_sizes(sizes)
        proposals, found = propose(
            self.anchors,
            outputs["objectness"],
            outputs["offsets"],
            sizes,
            self.proposals,
        )
        logits, offsets = self._classify(outputs, proposals)
        scores = tf.where(found[..., None], tf.nn.softmax(logits), 0.0)
        pairs = self.proposals * self.num_classes
        best, indices = tf.math.top_k(
            tf.reshape(scores[..., 1:], (-1, pairs)), min(CANDIDATES, pairs)
        )
        offsets = tf.gather(
            tf.reshape(offsets[:, :, 1:], (-1, pairs, 4)), indices, batch_dims=1
        )
        proposals = tf.gather(
            proposals, indices // self.num_classes, batch_dims=1
        )
        boxes = clip(self._coder.decode(offsets, proposals), sizes)
        return best_detections(
            boxes,
            tf.where(longer_than(boxes, SHORTEST_SIDE), best, 0.0),
            indices % self.num_classes,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.max_detections,
        )


def _seed(objects, draw):
    """Of a draw: follows from the number of the step, if it has one.

    A training that is resumed goes on with the same draws, and a model
    evaluated twice has the same loss.
    """
    if "step" not in objects:
        return (0, draw)
    return tf.stack([tf.cast(objects["step"], tf.int32), draw])
