"""Detection in one stage: every position gives classes and a box."""

import tensorflow as tf

from eca_keras.applications.detection.boxes import BoxCoder
from eca_keras.applications.detection.boxes import clip
from eca_keras.applications.detection.detections import best_detections
from eca_keras.applications.detection.detector import Detector

# Candidates per level that go into NMS (RetinaNet, Section 4.1).
CANDIDATES = 1000


class OneStageDetector(Detector):
    """Base class of detectors with `"logits"` and `"offsets"` as outputs.

    Both are for all anchors, `(batch, n, num_classes)` and `(batch, n, 4)`;
    `coder` turns offsets into boxes, and boxes into offsets for the loss.
    """

    coder = BoxCoder()

    def detect(self, outputs, sizes=None):
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
        boxes = self.coder.decode(
            tf.gather(offsets, rows, batch_dims=1), tf.gather(anchors, rows)
        )
        return boxes, tf.sigmoid(best), indices % self.num_classes
