"""Where in an image a network sees a class: Grad-CAM.

Own code, because no library that was tried does it for nested models on
Keras 3.15 with TensorFlow 2.21; `docs/visualize.md` says which and why.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from eca_keras.utils.channels import image_axes
from eca_keras.utils.checks import check_tensorflow
from eca_keras.utils.checks import refusal
from eca_keras.utils.keras_graph import count_kernels
from eca_keras.utils.keras_graph import functional
from eca_keras.utils.keras_graph import producer
from eca_keras.utils.types import Tensors
from eca_keras.visualize import taps

# Activations that turn scores into probabilities, see `_without_top`.
TO_PROBABILITIES = ("softmax", "sigmoid", "logsoftmax", "logsigmoid")


def grad_cam(
    model: keras.Model,
    images: Tensors,
    class_index: int | Sequence[int] | np.ndarray | None = None,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Show where in an image a classifier sees a class.

    The heat map is `relu(sum_c w_c A_c)`, where `A_c` is channel `c` of the
    feature map that `layer` gives and `w_c` the mean over its positions of the
    derivative of the class's score by it. The score is that before a softmax
    or sigmoid at the end of the model: behind it, derivatives vanish where
    the model is sure. Needs the TensorFlow backend.

    Args:
        model: A Keras model with one input, images, and one output, a number
            per class. Nested models are supported. Of a subclass of
            `keras.Model` with a `call` of its own, the score is what it
            returns.
        images: Array of shape `(images, height, width, channels)`, or as the
            model's data format has it.
        class_index: Index of the class, or one index per image; by default
            for each image the class with the highest score.
        layer: Name of a layer that gives a feature map: its own name where
            it is the only one of that name, or after the names of the models
            around it, `"backbone/conv5_block3_out"`. By default the last
            feature map with more than one position.
        batch_size: Images per call of the model.

    Returns:
        float32 array of shape `(images, height, width)`, each heat map
        resized to its image (bilinear) and divided by its largest value:
        between 0 and 1, all 0 where nothing speaks for the class.

    Raises:
        ValueError: if an argument is out of its range, or the model is of
            another kind.
        ImportError: if Keras runs on another backend than TensorFlow.

    Example:

    >>> import numpy as np
    >>> from eca_keras.applications import ECAResNet20
    >>> model = ECAResNet20(input_shape=(16, 16, 3), classes=10)
    >>> images = np.random.default_rng(0).normal(size=(2, 16, 16, 3))
    >>> grad_cam(model, images, class_index=3).shape
    (2, 16, 16)

    Reference: [Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization](https://arxiv.org/abs/1610.02391) (ICCV
    2017), Eq. 1 and 2.
    """
    check_tensorflow("grad_cam")
    taps.check_images(images, batch_size)
    images = np.asarray(images)
    if images.ndim != 4:
        rule = "must have rank 4: images, height, width and channels"
        raise refusal("images", images.shape, rule)
    channel_axis = image_axes(model)
    target = _target(model, images[:1], layer, channel_axis)
    indices = _class_indices(class_index, len(images))
    maps = [
        _maps(model, target, batch, chosen, channel_axis(target))
        for batch, chosen in zip(
            taps.batches(images, batch_size),
            taps.batches(indices, batch_size),
            strict=True,
        )
    ]
    size = _sides(images.shape, channel_axis(model))
    return _finish(np.concatenate(maps), size)


def _class_indices(class_index, count):
    """Return one index per image; -1 for the class with the highest score."""
    if class_index is None:
        return np.full(count, -1)
    indices = np.asarray(class_index)
    if (
        indices.dtype.kind not in "iu"
        or indices.shape not in ((), (count,))
        or indices.min() < 0
    ):
        rule = "must be None, an index from 0, or one per image"
        raise refusal("class_index", class_index, rule, count=count)
    return np.broadcast_to(indices.astype("int64"), count)


def _target(model, image, layer, channel_axis):
    """Return the operation whose feature map is looked at."""
    if layer is not None:
        return taps.find(model, layer)
    last, has_kernel = None, False
    for operation, shape in _calls(model, image):
        has_kernel = has_kernel or bool(count_kernels(operation))
        sides = _sides(shape, channel_axis(operation))
        if has_kernel and len(shape) == 4 and max(sides) > 1:
            last = operation
    if last is None:
        rule = (
            "must have a layer, behind one with a kernel, that gives a "
            "feature map of several positions"
        )
        raise refusal("model", model.name, rule)
    return last


def _calls(model, image):
    """Return `(operation, shape)` of all calls, in order of their ends."""
    calls = []

    def listening(operation):
        call = operation.call

        def run(*args, **kwargs):
            outputs = call(*args, **kwargs)
            calls.append((operation, tuple(getattr(outputs, "shape", ()))))
            return outputs

        return operation, "call", run

    parts = [part for _, part in taps.walk(model) if functional(part) is None]
    with taps.replaced([listening(part) for part in parts]):
        taps.run(lambda image: model(image, training=False), model, image)
    return calls


def _sides(shape, channel_axis):
    return (*shape[1:channel_axis], *shape[channel_axis + 1 :])


def _maps(model, target, images, indices, channel_axis):
    """Compute heat maps of their own size, `(images, *positions)`."""
    pair = taps.run(
        functools.partial(_derive, model, target, indices), model, images
    )
    positions = _sides(range(4), channel_axis)
    values, gradient = (
        np.float64(ops.convert_to_numpy(ops.cast(each, "float32")))
        for each in pair
    )
    weights = gradient.mean(axis=positions, keepdims=True)
    return np.maximum((weights * values).sum(axis=channel_axis), 0)


def _derive(model, target, indices, images):
    """Return the output of `target`, and the scores' derivative by it."""
    import tensorflow as tf

    call, kept = target.call, []

    def listening(*args, **kwargs):
        outputs = call(*args, **kwargs)
        if tf.is_tensor(outputs):
            # A tensor of its own: an activation that is linear returns what
            # it got, which others may read too.
            outputs = tf.identity(outputs)
            tape.watch(outputs)
        kept.append(outputs)
        return outputs

    changes = [(target, "call", listening), *_without_top(model)]
    with tf.GradientTape() as tape:
        with taps.replaced(changes):
            scores = model(images, training=False)
        _check_scores(scores, model, indices)
        chosen = tf.where(indices < 0, tf.argmax(scores, -1), indices)
        score = tf.gather(scores, chosen, axis=1, batch_dims=1)
    _check_map(kept, target)
    gradient = tape.gradient(score, kept[-1])
    if gradient is None:
        rule = "must lead to the scores of the classes"
        raise refusal("layer", target.name, rule)
    return kept[-1], gradient


def _check_map(kept, target):
    if not kept:
        rule = "must take part in what the model computes"
        raise refusal("layer", target.name, rule)
    shape = getattr(kept[-1], "shape", None)
    if shape is None or len(shape) != 4:
        gives = type(kept[-1]).__name__ if shape is None else tuple(shape)
        rule = "must give a feature map: images, height, width and channels"
        raise refusal("layer", target.name, rule, shape=gives)


def _check_scores(scores, model, indices):
    shape = getattr(scores, "shape", None)
    if shape is None or len(shape) != 2:
        gives = keras.tree.map_structure(lambda x: tuple(x.shape), scores)
        rule = (
            "must be a classifier, with one output of shape (images, classes)"
        )
        raise refusal("model", model.name, rule, shape=gives)
    if indices.max() >= shape[1]:
        rule = f"must be below {shape[1]}, the number of classes"
        raise refusal("class_index", indices.max(), rule)


def _without_top(model):
    """Return replacements that make a model return scores."""
    graph = functional(model)
    if graph is None or len(graph.outputs) != 1:
        return []
    last = producer(graph.outputs[0])
    if functional(last) is not None:
        return _without_top(last)
    activation = getattr(last, "activation", None)
    if _makes_probabilities(getattr(activation, "__name__", "")):
        return [(last, "activation", keras.activations.linear)]
    if _makes_probabilities(type(last).__name__):
        return [(last, "call", lambda inputs, *args, **kwargs: inputs)]
    return []


def _makes_probabilities(name):
    return name.replace("_", "").lower() in TO_PROBABILITIES


def _finish(maps, size):
    maps = ops.image.resize(
        maps[..., None].astype("float32"),
        size,
        interpolation="bilinear",
        data_format="channels_last",
    )
    maps = ops.convert_to_numpy(maps)[..., 0]
    largest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)
