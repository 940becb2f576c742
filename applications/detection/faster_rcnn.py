"""Faster R-CNN: proposals first, then their classes and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import NamedTuple

import keras
import tensorflow as tf

from eca_keras.applications.detection import heads
from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.boxes import BoxCoder
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.boxes import longer_than
from eca_keras.applications.detection.detections import best_detections
from eca_keras.applications.detection.detector import Detector
from eca_keras.applications.detection.detector import Shared
from eca_keras.applications.detection.proposals import BETA
from eca_keras.applications.detection.proposals import proposal_losses
from eca_keras.applications.detection.proposals import propose
from eca_keras.applications.detection.roi_align import roi_align
from eca_keras.utils.checks import check_count
from eca_keras.utils.types import Backbone
from eca_keras.utils.types import KernelSize

if TYPE_CHECKING:
    from typing_extensions import Unpack

LEVELS = ("P2", "P3", "P4", "P5")  # that regions are read from

# A proposal is an object from this overlap on, and background below; at most
# so many of those that a step draws are objects (Fast R-CNN, Section 2.3).
OVERLAP = 0.5
POSITIVES = 0.25

# Offsets are scaled to about unit variance (R-CNN, Appendix C).
WEIGHTS = (10.0, 10.0, 5.0, 5.0)

# Pairs of proposal and class that go into NMS. All that are above
# the threshold, in practice: the scores of a proposal add up to 1.
CANDIDATES = 4096

# Detections with a shorter side have been cut away (torchvision).
SHORTEST_SIDE = 1e-2


class Draw(NamedTuple):
    """The regions that a step trains on, positives first.

    Attributes:
        regions: `(batch, samples, 4)`, without a gradient.
        matches: The object of each, `(batch, samples)`.
        positive: Whether a region holds an object, `(batch, samples)`.
        weights: 1.0, or 0.0 for entries that are empty.
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

    Targets, predictions and arguments are those of every `Detector`. The
    loss is the sum of four, which are logged: `objectness_loss` and
    `rpn_box_loss` of the proposals, `class_loss` and `box_loss` of their
    classes and boxes. Each is a mean over the anchors or proposals that a
    step draws from all its images; `evaluate` always draws the same. Calling
    the model returns what `detect` makes detections from: the pyramid,
    `"P2"` to `"P5"`, and `"objectness"` and `"offsets"` of all anchors.

    Args:
        backbone, kernel_size, num_classes, frozen_stages, input_shape: As in
            `Detector`.
        units: Width of the two dense layers that a region goes through.
        train_proposals, proposals: Number of proposals per image, in training
            and else.
        anchor_samples: Number of anchors per image that the losses of a step
            are computed from.
        proposal_samples: The same for proposals.
        **shared: The keyword arguments of `Detector`.

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

    LOSSES: tuple[str, ...] = (
        "objectness_loss",
        "rpn_box_loss",
        "class_loss",
        "box_loss",
    )
    NAMES = ("FasterRCNN", "faster_rcnn")  # in `published`, of the model

    STAGES = (2, 3, 4, 5)
    EXTRA = "pool"

    def __init__(
        self,
        backbone: Backbone = "ECAResNet50",
        kernel_size: KernelSize = "adaptive",
        num_classes: int = 80,
        frozen_stages: int = 1,
        input_shape: Sequence[int] = (800, 1344, 3),
        *,
        units: int = 1024,
        train_proposals: int = 2000,
        proposals: int = 1000,
        anchor_samples: int = 256,
        proposal_samples: int = 512,
        **shared: Unpack[Shared],
    ) -> None:
        counts = {
            "units": units,
            "train_proposals": train_proposals,
            "proposals": proposals,
            "anchor_samples": anchor_samples,
            "proposal_samples": proposal_samples,
        }
        for argument, value in counts.items():
            check_count(argument, value)
        super().__init__(
            backbone,
            kernel_size,
            num_classes,
            frozen_stages,
            input_shape,
            **counts,
            **shared,
        )
        self._coder = BoxCoder(WEIGHTS)
        self.add_heads()

    def outputs_of(self, pyramid, num_classes, filters, **options):
        objectness, offsets = heads.rpn_head(
            pyramid, len(self.RATIOS), filters=filters
        )
        read = {level: pyramid[level] for level in LEVELS}
        return {**read, "objectness": objectness, "offsets": offsets}

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
        """Compute the losses of the drawn regions, by their names."""
        logits, offsets = self._classify(outputs, draw.regions)
        classes = tf.where(
            draw.positive,
            matching.take(objects["labels"], draw.matches) + 1,
            0,
        )
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            classes, logits
        )
        # An empty entry is no box: offsets from it would not be finite.
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
        """Return logits `(batch, n, classes + 1)` and offsets `(..., 4)`."""
        found = self.read(outputs, regions, self.box_head)
        return found["logits"], found["offsets"]

    def read(self, outputs, regions, head):
        """Return the outputs of a head on regions of images.

        Args:
            outputs: The outputs of the graph.
            regions: Boxes `(batch, n, 4)`.
            head: Functional model from features of regions.

        Returns:
            The outputs of `head`, each `(batch, n, ...)`.
        """
        shape = head.inputs[0].shape[1:]
        levels = [outputs[level] for level in LEVELS]
        features = roi_align(levels, regions, shape[0])
        found = head(tf.reshape(features, (-1, *shape)))
        count = regions.shape[1]
        return keras.tree.map_structure(
            lambda x: tf.reshape(x, (-1, count, *x.shape[1:])), found
        )

    def detect(self, outputs, sizes=None):
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
    """Return the seed of a draw: it follows from the step, if there is one.

    A training that is resumed goes on with the same draws, and a model
    evaluated twice has the same loss.
    """
    if "step" not in objects:
        return (0, draw)
    return tf.stack([tf.cast(objects["step"], tf.int32), draw])
