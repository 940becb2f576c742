"""The losses and the outputs of detectors."""

import tensorflow as tf

from eca_keras.applications.preprocessing import preprocess_input


class Detection:
    """The losses of a detector, as sums over images, and its detections.

    A detector's losses are means over the objects, anchors or regions of the
    images that they are computed from, those of a replica. Sums over
    these images, divided by the number of all, are the mean of the replicas'
    losses.

    Args:
        model: A detector, for images as `preprocess_input` makes them.
        settings: `DetectionSettings`.
        optimizer: The one that trains it: the random draws of a step follow
            from the number of its steps. `None` where nothing is trained.
    """

    def __init__(self, model, settings, optimizer=None):
        self.model = model
        self.settings = settings
        self.optimizer = optimizer
        self.names = ("loss", *model.LOSSES)

    def normalized(self, images):
        """Map pixels of any type in [0, 255] to what the model takes."""
        return preprocess_input(
            images, "channels_last", preprocessing=self.settings
        )

    def train_step(self, images, targets):
        """Return the sums of `names` over a training batch.

        Args:
            images: uint8 `(batch, height, width, 3)`.
            targets: `"boxes"`, `"labels"`, `"sizes"` and, for Mask R-CNN,
                `"masks"`, as of `training_feed`.
        """
        outputs = self.model(self.normalized(images), training=True)
        objects = {**targets, "step": self.optimizer.iterations}
        losses = self.model.losses_of(objects, outputs, training=True)
        sums = {name: tf.reduce_sum(x) for name, x in losses.items()}
        return {"loss": tf.add_n(list(sums.values())), **sums}

    def find(self, images, sizes):
        """Return detections, in pixels of the resized images.

        Args:
            images: As in `train_step`.
            sizes: Heights and widths of the images inside the padding,
                `(batch, 2)`.
        """
        outputs = self.model(self.normalized(images), training=False)
        return self.model.detect(outputs, sizes)
