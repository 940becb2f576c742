"""What detectors put on a feature pyramid: on its levels, on its regions."""

import math

import keras
from keras import initializers
from keras import layers

# Probability of every class that a new head predicts: with thousands of
# anchors per object, one half would drown the rest (RetinaNet, Section 3.3).
PRIOR = 0.01

# Of every kernel of a head (RetinaNet, Section 4.1; Faster R-CNN, 3.1.3).
KERNEL_INITIALIZER = {
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "stddev": 0.01},
}

# Of the offsets of regions: ten times less (Fast R-CNN, Section 2.3).
OFFSETS_INITIALIZER = {
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "stddev": 0.001},
}

# Positions along a side of a region, as RoIAlign reads it, and of the mask
# that is made of it (Mask R-CNN, Figure 4).
BOX_POSITIONS = 7
MASK_POSITIONS = 14
MASK_SIZE = 28


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
    hidden = (filters, depth, hidden_initializer)
    return (
        subnet(pyramid, "class", hidden, anchors, num_classes, prior),
        subnet(pyramid, "box", hidden, anchors, 4),
    )


def subnet(pyramid, name, hidden, anchors, values, bias="zeros"):
    """Apply one small network to every level of a pyramid.

    Args:
        pyramid: Dictionary of the levels, Keras tensors.
        name: Name of the output, and what the names of layers begin with.
        hidden: Channels, number and initializer of hidden convolutions.
        anchors: Number of anchors per position.
        values: Numbers for each anchor.
        bias: Initializer of the last bias.

    Returns:
        float32 Keras tensor `(batch, n, values)`, in the order of
        `make_anchors`.
    """
    filters, depth, initializer = hidden
    # A configuration, from which every layer makes an initializer with a
    # seed of its own: one instance would give all the same weights.
    initializer = initializers.serialize(initializers.get(initializer))
    chain = [
        _convolution(
            filters, 3, f"{name}_{i + 1}", "relu", initializer=initializer
        )
        for i in range(depth)
    ]
    chain.append(_convolution(anchors * values, 3, f"{name}_logits", bias=bias))
    return _all_levels(pyramid, chain, name, (-1, values))


def rpn_head(pyramid, anchors, *, filters=256):
    """Where objects of any class may be, the same for every level.

    Args:
        pyramid: Dictionary of the levels, Keras tensors.
        anchors: Number of anchors per position.
        filters: Channels of the hidden convolution.

    Returns:
        `(objectness, offsets)`, float32 Keras tensors `(batch, n)`, logits,
        and `(batch, n, 4)`, in the order of `make_anchors`.

    Reference: [Faster R-CNN](https://arxiv.org/abs/1506.01497) (NeurIPS
    2015), Section 3.1.
    """
    hidden = _convolution(filters, 3, "rpn_hidden", activation="relu")
    hidden = {level: hidden(x) for level, x in pyramid.items()}
    objectness = _convolution(anchors, 1, "rpn_objectness")
    offsets = _convolution(anchors * 4, 1, "rpn_offsets")
    return (
        _all_levels(hidden, [objectness], "objectness", (-1,)),
        _all_levels(hidden, [offsets], "offsets", (-1, 4)),
    )


def box_head(channels, num_classes, *, units=1024):
    """Class and box of a region by two dense layers.

    As in mmdet 1 and torchvision, background is class 0, and every class has
    a box of its own, background too.

    Args:
        channels: Channels of the pyramid.
        num_classes: Number of classes without background.
        units: Width of the dense layers.

    Returns:
        A functional model from regions `(n, 7, 7, channels)` to a
        dictionary of float32 `"logits"` `(n, num_classes + 1)` and
        `"offsets"` `(n, num_classes + 1, 4)`.

    Reference: [Feature Pyramid Networks for Object Detection](
    https://arxiv.org/abs/1612.03144) (CVPR 2017), Section 4.2.
    """
    shape = (BOX_POSITIONS, BOX_POSITIONS, channels)
    regions = keras.Input(shape, name="box_regions")
    x = layers.Flatten(name="box_flatten")(regions)
    for i in (1, 2):
        x = layers.Dense(int(units), "relu", name=f"box_dense{i}")(x)
    classes = int(num_classes) + 1  # Dense takes no integers of NumPy
    logits = layers.Dense(
        classes,
        kernel_initializer=KERNEL_INITIALIZER,
        name="box_logits",
    )
    offsets = layers.Dense(
        4 * classes,
        kernel_initializer=OFFSETS_INITIALIZER,
        name="box_offsets",
    )
    split = layers.Reshape((-1, 4), dtype="float32", name="box_split")
    outputs = {"logits": _float32(logits(x)), "offsets": split(offsets(x))}
    return keras.Model(regions, outputs, name="box_head")


def mask_head(channels, num_classes, *, filters=256):
    """Mask of a region for every class, by convolutions.

    Args:
        channels: Channels of the pyramid.
        num_classes: Number of classes; background, class 0, has a mask too,
            which nothing reads (as in mmdet 1 and torchvision).
        filters: Channels of the hidden convolutions.

    Returns:
        A functional model from regions `(n, 14, 14, channels)` to float32
        logits `(n, 28, 28, num_classes + 1)`.

    Reference: [Mask R-CNN](https://arxiv.org/abs/1703.06870) (ICCV 2017),
    Figure 4.
    """
    shape = (MASK_POSITIONS, MASK_POSITIONS, channels)
    regions = x = keras.Input(shape, name="mask_regions")
    for i in range(4):
        x = _convolution(
            filters, 3, f"mask_{i + 1}", "relu", initializer="he_normal"
        )(x)
    x = layers.Conv2DTranspose(
        filters,
        2,
        strides=2,
        activation="relu",
        kernel_initializer="he_normal",
        name="mask_enlarge",
    )(x)
    logits = _convolution(num_classes + 1, 1, "mask_logits")(x)
    return keras.Model(regions, _float32(logits), name="mask_head")


def _convolution(
    filters,
    kernel_size,
    name,
    activation=None,
    *,
    initializer=KERNEL_INITIALIZER,
    bias="zeros",
):
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        activation=activation,
        kernel_initializer=initializer,
        bias_initializer=bias,
        name=name,
    )


def _all_levels(pyramid, chain, name, shape):
    """Apply a chain of layers to all levels, one after the other."""
    outputs = []
    for level, x in pyramid.items():
        for layer in chain:
            x = layer(x)
        # From here on in float32, whatever the convolutions compute in.
        flatten = layers.Reshape(shape, dtype="float32", name=f"{name}_{level}")
        outputs.append(flatten(x))
    return layers.Concatenate(axis=1, dtype="float32", name=name)(outputs)


def _float32(x):
    return layers.Activation("linear", dtype="float32")(x)
