"""What the detectors share as Keras models."""

import keras
import tensorflow as tf

from eca_keras.applications.detection.trunk import NAME


class Detector(keras.Model):
    """Base class: a functional model that trains on images and objects.

    A subclass makes its graph and calls `remember` with its arguments, which
    become its attributes and its config. It lists the parts of its loss in
    `LOSSES` and defines `losses_of`, which computes them, and `detect`,
    which turns the outputs of the graph into detections.
    """

    LOSSES = ()

    def losses_of(self, objects, outputs, training):
        """Return the parts of the loss, each `(batch,)`, by their names.

        Args:
            objects: `"boxes"` float32, `"labels"` int32, `"sizes"`, `(2,)`
                or `(batch, 2)`, what else the targets hold, and `"step"`, the
                number of the training step, which random draws follow from;
                without one they are always the same.
            outputs: What the graph answers.
            training: Whether this is a training step.
        """
        raise NotImplementedError

    def detect(self, outputs, sizes=None):
        raise NotImplementedError

    def remember(self, backbone, **arguments):
        """Keep what `get_config` needs to make the same model again."""
        for name, value in arguments.items():
            setattr(self, name, value)
        self._argument_names = tuple(arguments)
        # A name that makes the trunk again, or None: a trunk from a model,
        # or with a function for its attention, has to be written down whole.
        rebuilt = isinstance(backbone, str) and not callable(self.attention)
        self._backbone_name = backbone if rebuilt else None
        self._parts = {name: keras.metrics.Mean(name) for name in self.LOSSES}

    @property
    def backbone(self):
        """The trunk, a functional model from an image to its stages."""
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
        that each has to answer its share of the mean.
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
        # The trunk has its kernel sizes and its attention.
        del config["kernel_size"], config["attention"]
        trunk = keras.saving.serialize_keras_object(self.backbone)
        return {**config, "backbone": trunk}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        backbone = config["backbone"]
        if not isinstance(backbone, str):
            backbone = keras.saving.deserialize_keras_object(
                backbone, custom_objects=custom_objects
            )
        return cls(**{**config, "backbone": backbone})


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
