"""Feature pyramid: semantically strong features at every resolution."""

from keras import layers

from eca_keras.utils.checks import check_choice

# As in mmdet; torchvision starts from He's uniform, 1.7 times as wide.
XAVIER = "glorot_uniform"


def feature_pyramid(stages, filters=256, *, extra=None):
    """Build a feature pyramid on the stages of a backbone.

    A 1 x 1 convolution brings every stage to `filters` channels; from the
    top down, each level is enlarged twofold and added to the next; a 3 x 3
    convolution smooths the sums.

    Args:
        stages: Dictionary from `"C3"`, `"C4"`, ... to Keras tensors of a
            static size, from fine to coarse, each half the one before
            (rounded up).
        filters: Channels of every level.
        extra: What lies above: `"convolutions"` (RetinaNet: two more levels
            by 3 x 3 convolutions with stride 2, the first on the last
            *stage*, with a ReLU before the second), `"pool"` (Faster R-CNN:
            one more level, every second position of the one below) or
            `None`.

    Returns:
        Dictionary from `"P3"`, `"P4"`, ... to Keras tensors.

    References:
        - [Feature Pyramid Networks for Object Detection](
          https://arxiv.org/abs/1612.03144) (CVPR 2017)
        - [Focal Loss for Dense Object Detection](
          https://arxiv.org/abs/1708.02002) (ICCV 2017), footnote 2
    """
    check_choice("extra", extra, ("convolutions", "pool", None))
    pyramid, above = {}, None
    for stage, x in reversed(stages.items()):
        level = level_of(stage)
        x = _convolution(filters, 1, f"fpn_lateral{level}")(x)
        if above is not None:
            above = _enlarge(above, x, f"fpn_p{level}")
            x = layers.Add(name=f"fpn_p{level}_sum")([x, above])
        above = x
        pyramid[f"P{level}"] = _convolution(filters, 3, f"fpn_p{level}")(x)
    pyramid = dict(reversed(pyramid.items()))
    top = level_of(list(stages)[-1])
    if extra == "pool":
        pool = layers.MaxPooling2D(1, strides=2, name=f"fpn_p{top + 1}")
        pyramid[f"P{top + 1}"] = pool(pyramid[f"P{top}"])
    if extra == "convolutions":
        x = _halve(stages[f"C{top}"], filters, f"fpn_p{top + 1}")
        pyramid[f"P{top + 1}"] = x
        x = layers.Activation("relu", name=f"fpn_p{top + 1}_relu")(x)
        pyramid[f"P{top + 2}"] = _halve(x, filters, f"fpn_p{top + 2}")
    return pyramid


def level_of(name):
    """Return the number of a stage or level: 3 for `"C3"` and `"P3"`."""
    return int(name[1:])


def _convolution(filters, kernel_size, name, strides=1):
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        kernel_initializer=XAVIER,
        name=name,
    )


def _halve(x, filters, name):
    # Padded on both sides alike: TensorFlow's "same" pads one side more,
    # which moves the whole level by a pixel.
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return _convolution(filters, 3, name, strides=2)(x)


def _enlarge(x, like, name):
    """Twice the size, cut to that of `like`: stages round odd sizes up."""
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    sizes = zip(x.shape[1:3], like.shape[1:3], strict=True)
    surplus = [(0, large - small) for large, small in sizes]
    return layers.Cropping2D(surplus, name=f"{name}_crop")(x)
