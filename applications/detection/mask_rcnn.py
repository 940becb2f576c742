"""Mask R-CNN: Faster R-CNN with a mask for every object."""

import keras
import tensorflow as tf

from eca_keras.applications.detection import heads
from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection.faster_rcnn import POSITIVES
from eca_keras.applications.detection.faster_rcnn import FasterRCNN
from eca_keras.applications.detection.masks import mask_targets


@keras.saving.register_keras_serializable("eca_keras")
class MaskRCNN(FasterRCNN):
    """Mask R-CNN on a network with channel attention.

    Arguments, targets and predictions are those of `FasterRCNN`; `"paper"`
    stands for the kernels of the released Mask R-CNN, the default name is
    `"mask_rcnn"`, and there are masks:

    - Targets have `"masks"` `(batch, objects, h, w)`, 0 or 1, of any dtype:
      either of the size of the images or, which takes less memory, of
      another one; then each is the mask of its box alone, stretched.
    - The loss has a fifth part, `mask_loss`: the cross-entropy of the masks
      of the drawn regions that hold an object, a mean over their pixels.
    - Predictions have `"masks"` `(batch, max_detections, 28, 28)`:
      probabilities within the box. `paste_masks` puts them into the image.

    Example:

    >>> from eca_keras.applications import ECAResNet18
    >>> model = MaskRCNN(
    ...     ECAResNet18(include_top=False),
    ...     num_classes=3,
    ...     input_shape=(64, 96, 3),
    ...     filters=32,
    ...     units=64,
    ... )
    >>> model.mask_head.output.shape
    (None, 28, 28, 4)

    Reference: [Mask R-CNN](https://arxiv.org/abs/1703.06870) (ICCV 2017).
    """

    LOSSES = (*FasterRCNN.LOSSES, "mask_loss")
    NAMES = ("MaskRCNN", "mask_rcnn")

    def add_heads(self):
        super().add_heads()
        self.mask_head = heads.mask_head(
            self.filters, self.num_classes, filters=self.filters
        )

    def region_losses(self, objects, outputs, draw):
        return {
            **super().region_losses(objects, outputs, draw),
            "mask_loss": self._mask_loss(objects, outputs, draw),
        }

    def _mask_loss(self, objects, outputs, draw):
        # All that may hold an object come first.
        count = int(self.proposal_samples * POSITIVES)
        regions = draw.regions[:, :count]
        matches = tf.maximum(draw.matches[:, :count], 0)
        positive = tf.cast(draw.positive[:, :count], tf.float32)
        labels = matching.take(objects["labels"], matches)
        targets = mask_targets(
            objects["masks"],
            self._frames(objects),
            regions,
            matches,
            heads.MASK_SIZE,
        )
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(
            targets, self._mask_logits(outputs, regions, labels)
        )
        return losses.mean_over(
            tf.reduce_mean(entropy, axis=(2, 3)), positive, positive
        )

    def _frames(self, objects):
        """Return what the masks cover: the image, or their boxes."""
        height, width = self.inputs[0].shape[1:3]
        if tuple(objects["masks"].shape[2:]) != (height, width):
            return objects["boxes"]
        image = tf.constant([0.0, 0.0, width, height])
        return tf.zeros_like(objects["boxes"]) + image

    def _mask_logits(self, outputs, regions, labels):
        """Return the logits of one mask each, `(batch, n, 28, 28)`."""
        logits = self.read(outputs, regions, self.mask_head)
        classes = tf.maximum(labels, 0) + 1
        return tf.gather(
            tf.transpose(logits, (0, 1, 4, 2, 3)), classes, batch_dims=2
        )

    def detect(self, outputs, sizes=None):
        found = super().detect(outputs, sizes)
        logits = self._mask_logits(outputs, found["boxes"], found["labels"])
        kept = found["labels"][..., None, None] >= 0
        return {**found, "masks": tf.where(kept, tf.sigmoid(logits), 0.0)}
