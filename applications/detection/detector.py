"""What the detectors share as Keras models."""

import keras
import tensorflow as tf

from eca_keras.applications.detection.trunk import NAME


class Detector(keras.Model):
    """Base class: a functional model that trains on images and objects.

    A subclass makes its graph and calls `remember_backbone`; it defines
    `detect(outputs, sizes)`, which turns the outputs of the graph into
    detections, and `compute_loss`. `from_config` undoes its `get_config`,
    which adds its arguments to those of this class.
    """

    def detect(self, outputs, sizes=None):
        raise NotImplementedError

    def remember_backbone(self, backbone, kernel_size, attention):
        """Keeps what `get_config` needs to make the same trunk again."""
        self.kernel_size = kernel_size
        self.attention = attention
        # A name that makes the trunk again, or None: a trunk from a model,
        # or with a function for its attention, has to be written down whole.
        rebuilt = isinstance(backbone, str) and not callable(attention)
        self._backbone_name = backbone if rebuilt else None

    @property
    def backbone(self):
        """The trunk, a functional model from an image to its stages."""
        return self.get_layer(NAME)

    def train_step(self, data):
        return super().train_step(_without_sizes(data))

    def test_step(self, data):
        return super().test_step(_without_sizes(data))

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        images, sizes = _images_and_sizes(x)
        return self.detect(self(images, training=False), sizes)

    def average(self, values, sample_weight=None):
        """Mean over the images of a step, `(batch,)` to a number.

        With weights the sum is divided by the number of images, not by that
        of the weights, as Keras does. Replicas add up their gradients, so
        that each has to answer its share of the mean.
        """
        if sample_weight is not None:
            values = values * tf.cast(sample_weight, tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return tf.add_n([tf.reduce_mean(values), *self.losses]) / replicas

    def get_config(self):
        config = {
            "name": self.name,
            "input_shape": tuple(self.inputs[0].shape[1:]),
            "frozen_stages": self.frozen_stages,
            "fixed_statistics": self.fixed_statistics,
        }
        if self._backbone_name is None:
            # With its kernel sizes and its attention.
            trunk = keras.saving.serialize_keras_object(self.backbone)
            return {**config, "backbone": trunk}
        return {
            **config,
            "backbone": self._backbone_name,
            "kernel_size": self.kernel_size,
            "attention": self.attention,
        }

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


def _without_sizes(data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    images, _ = _images_and_sizes(x)
    if isinstance(sample_weight, dict):
        # Keras has copied it for every target.
        sample_weight = next(iter(sample_weight.values()))
    return images, y, sample_weight
