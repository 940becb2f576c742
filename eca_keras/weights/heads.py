"""The classifier of a network in a state dict, whatever it is called."""

from __future__ import annotations

import re

# What belongs to a ResNet or a MobileNetV2 before its classifier.
_NETWORK = re.compile(r"(conv1|bn1|layer\d+|features)\..+")
# Modules of training that see predictions or labels, not features; those of
# torchmetrics have the names of their states, too.
_TRAINING = re.compile(
    r"\w*(loss|criterion|metric|meter|accuracy)\w*\..+|"
    r"(train|val|valid|test)_\w+\..+|.+\.([tf][pn]|confmat)"
)

# What a layer has that acts on features or logits, and a loss has not.
_LEAVES = ("bias", "running_mean", "running_var")
_SCALE = re.compile(r"scal|temp|logit|norm|gamma|beta|shift")


def is_of_network(name: str, prefix: str) -> bool:
    """Tell whether a tensor belongs to a network before its classifier.

    Args:
        name: Name of the tensor.
        prefix: What comes before the names of the network.
    """
    return name.startswith(prefix) and bool(
        _NETWORK.fullmatch(name.removeprefix(prefix))
    )


def find(
    shapes: dict[str, tuple], features: int, prefix: str = ""
) -> tuple[str | None, int | None]:
    """Return the name of the classifier's module, and the number of classes.

    One linear layer with a bias on the pooled features is the classifier,
    under any name, if no other tensor is there that could act before, after
    or beside it. Without a bias it may compare directions (a cosine
    classifier), which no shape tells.

    Args:
        shapes: Shapes of all tensors but those of the network itself.
        features: Number of pooled features.
        prefix: What comes before the names of the network.

    Returns:
        `(None, None)` if there is none, or it is not all there is.
    """
    shapes = {
        name: shape
        for name, shape in shapes.items()
        if not _TRAINING.fullmatch(name)
        and (name.startswith(prefix) or _may_act(name, shapes, features))
    }
    weights = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(weights) != 1 or len(shapes) != 2:
        return None, None
    head = weights[0].removesuffix(".weight")
    classes, inputs = shapes[weights[0]]
    if shapes.get(f"{head}.bias") != (classes,) or inputs != features:
        return None, None
    return head, classes


def _may_act(name, shapes, features):
    """Tell whether a tensor outside the network's prefix may act with it.

    Weights of classes in a loss and counts of a metric do not: no kernel, no
    bias or statistics beside them, no scale, more than the one power of a
    pooling, and no size of the features.
    """
    module, _, leaf = name.rpartition(".")
    return (
        not module
        or bool(_SCALE.search(name.lower()))
        or features in shapes[name]
        or all(size == 1 for size in shapes[name])
        or any(f"{module}.{each}" in shapes for each in _LEAVES)
        or (leaf == "weight" and len(shapes[name]) != 1)
    )
