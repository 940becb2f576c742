"""What detectors put on the levels of a feature pyramid."""

import math

from keras import initializers
from keras import layers

# Probability of every class that a new head answers: with thousands of
# anchors per object, one half would drown the rest (RetinaNet, Section 3.3).
PRIOR = 0.01

_STDDEV = 0.01  # of every kernel (RetinaNet, Section 4.1)


def retina_head(pyramid, anchors, num_classes, *, filters=256, depth=4):
    """Classes and boxes by two small networks, the same for every level.

    Args:
        pyramid: Dictionary of the levels, Keras tensors.
        anchors: Number of anchors per position.
        num_classes: Number of classes; background is not one.
        filters: Channels of the hidden convolutions.
        depth: Number of hidden convolutions.

    Returns:
        `(logits, offsets)`, float32 Keras tensors `(batch, n, num_classes)`
        and `(batch, n, 4)`, in the order of `make_anchors`.

    Reference: [Focal Loss for Dense Object Detection](
    https://arxiv.org/abs/1708.02002) (ICCV 2017), Figure 3.
    """
    prior = initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
    return (
        _subnet(pyramid, "class", anchors, num_classes, filters, depth, prior),
        _subnet(pyramid, "box", anchors, 4, filters, depth, "zeros"),
    )


def _subnet(pyramid, name, anchors, values, filters, depth, bias):
    hidden = [
        _convolution(filters, 3, f"{name}_{i + 1}", activation="relu")
        for i in range(depth)
    ]
    predictor = _convolution(
        anchors * values, 3, f"{name}_logits", bias_initializer=bias
    )
    outputs = []
    for level, x in pyramid.items():
        for layer in (*hidden, predictor):
            x = layer(x)
        # From here on in float32, whatever the convolutions compute in.
        flatten = layers.Reshape(
            (-1, values), dtype="float32", name=f"{name}_{level}"
        )
        outputs.append(flatten(x))
    return layers.Concatenate(axis=1, dtype="float32", name=name)(outputs)


def _convolution(filters, kernel_size, name, **kwargs):
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        kernel_initializer=initializers.RandomNormal(stddev=_STDDEV),
        name=name,
        **kwargs,
    )
