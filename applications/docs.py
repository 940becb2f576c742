"""The docstring of every builder, written once."""

import textwrap

from eca_keras.applications.attention import ATTENTION
from eca_keras.applications.attention import WITH_KERNEL

_DOC = """Instantiates {title}.

    The arguments are those of `keras.applications`; `kernel_size`,
    `attention` and `dropout` are keyword-only. The network follows PyTorch's
    geometry, in which the released weights were trained, and expects images
    that went through `eca_keras.applications.preprocess_input`.

    Args:
        {first_arguments}include_top: Boolean, whether to include the
            fully-connected layer at the top of the network.
        weights: `None` (random initialization), the path to weights of this
            network (`.weights.h5`, `.keras`, or a PyTorch checkpoint:
            `.pth.tar`, `.pth`, `.safetensors`), or, for the networks in
            `eca_keras.weights.HOSTED`, `"imagenet"` or a tag such as
            `"a1_in1k"`: public weights, downloaded once from the Hugging
            Face hub. `eca_keras.weights.preprocessing` says which images
            they expect.
        input_tensor: Optional Keras tensor (i.e. output of
            `keras.layers.Input()`) to use as image input for the model.
        input_shape: Optional shape of one image without the batch,
            `{last}` with the `"channels_last"` data format
            or `{first}` with `"channels_first"`. Height and
            width must be at least {min_size}; without the top they may be
            `None`. Defaults to {default_size} pixels a side with the top and
            to a variable size without it.
        pooling: What comes out when `include_top` is `False`: `None` (the
            last feature map, rank 4), `"avg"` or `"max"` (its global average
            or maximum, rank 2).
        classes: Integer, the number of classes. Only used if `include_top`
            is `True`.
        classifier_activation: Name or callable, the activation of the top
            layer. `None` returns the logits. Ignored unless `include_top` is
            `True`; with `weights` only `None` and `"softmax"` are possible.
        name: String, the name of the model.
        kernel_size: Kernel sizes of the ECA layers. `"adaptive"` (default)
            or `None` derive them from the number of channels (Eq. 12 of the
            paper), `"paper"` takes those of the released weights
            ({released}),
            an odd integer is used everywhere, and a sequence of {stages} odd
            integers gives one per stage. Only for attention with a kernel
            along the channels:
            {with_kernel}.
        attention: `"eca"` (default), `None` (the plain network), another of
            {names},
            the name of a class in `eca_keras.layers`, or a callable that
            takes the name of a layer and returns the layer.
        dropout: Rate of the dropout before the top layer, in [0, 1). Only
            used if `include_top` is `True`.
{last_arguments}
    Returns:
        A `keras.Model`. With the top its output has shape
        `(batch, classes)` and is float32 under mixed precision too.

    Raises:
        ValueError: if an argument is out of its range.

    References:
        - [ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
          Networks](https://arxiv.org/abs/1910.03151) (CVPR 2020)
        - {paper}
    """


def builder_doc(title, paper, row, first_arguments="", last_arguments=""):
    """Return the docstring of a builder.

    Args:
        title: What the builder instantiates.
        paper: Reference of the plain network.
        row: The builder's row, with `released`, `depths`, `min_size` and
            `default_size`.
        first_arguments: Text of the arguments before `include_top`.
        last_arguments: Text of the arguments after `dropout`.
    """
    size = row.default_size
    released = ", ".join(map(str, row.released)) if row.released else "none"
    return _DOC.format(
        title=title,
        paper=paper,
        first_arguments=first_arguments,
        last_arguments=last_arguments,
        last=(size, size, 3),
        first=(3, size, size),
        min_size=row.min_size,
        default_size=size,
        released=f"per stage: {released}" if row.released else released,
        stages=len(row.depths),
        with_kernel=_listed(WITH_KERNEL),
        names=_listed(ATTENTION),
    )


def _listed(names):
    """Format names as code, in lines that fit a docstring."""
    return textwrap.fill(
        ", ".join(f'`"{name}"`' for name in names),
        width=66,
    ).replace("\n", "\n            ")
