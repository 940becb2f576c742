"""What detectors put on the levels of a feature pyramid."""

import math

from keras import initializers
from keras import layers

# Probability of every class that a new head answers: with thousands of
# anchors per object, one half would drown the rest (RetinaNet, Section 3.3).
PRIOR = 0.01

# Of every kernel of a head (RetinaNet, Section 4.1).
KERNEL_INITIALIZER = {
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "stddev": 0.01},
}


def retina_head(
    pyramid,
    anchors,
    num_classes,
    *,
    filters=256,
    depth=4,
    hidden_initializer=KERNEL_INITIALIZER,
):
    """Classes and boxes by two small networks, the same for every level.

    Args:
        pyramid: Dictionary of the levels, Keras tensors.
        anchors: Number of anchors per position.
        num_classes: Number of classes; background is not one.
        filters: Channels of the hidden convolutions.
        depth: Number of hidden convolutions.
        hidden_initializer: Initializer of their kernels.

    Returns:
        `(logits, offsets)`, float32 Keras tensors `(batch, n, num_classes)`
        and `(batch, n, 4)`, in the order of `make_anchors`.

    Reference: [Focal Loss for Dense Object Detection](
    https://arxiv.org/abs/1708.02002) (ICCV 2017), Figure 3.
    """
    prior = initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
    # A configuration, from which every layer makes an initializer with a
    # seed of its own: one instance would give all the same weights.
    initializer = initializers.serialize(initializers.get(hidden_initializer))
    hidden = (filters, depth, initializer)
    return (
        _subnet(pyramid, "class", hidden, anchors, num_classes, prior),
        _subnet(pyramid, "box", hidden, anchors, 4, "zeros"),
    )


def _subnet(pyramid, name, hidden, anchors, values, bias):
    filters, depth, initializer = hidden
    chain = [
        layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=initializer,
            name=f"{name}_{i + 1}",
        )
        for i in range(depth)
    ]
    chain.append(
        layers.Conv2D(
            anchors * values,
            3,
            padding="same",
            kernel_initializer=KERNEL_INITIALIZER,
            bias_initializer=bias,
            name=f"{name}_logits",
        )
    )
    outputs = []
    for level, x in pyramid.items():
        for layer in chain:
            x = layer(x)
        # From here on in float32, whatever the convolutions compute in.
        flatten = layers.Reshape(
            (-1, values), dtype="float32", name=f"{name}_{level}"
        )
        outputs.append(flatten(x))
    return layers.Concatenate(axis=1, dtype="float32", name=name)(outputs)
