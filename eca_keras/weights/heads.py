"""The classifier of a network in a state dict, whatever it is called."""

from __future__ import annotations

import re

# What belongs to a ResNet or a MobileNetV2 before its classifier.
_NETWORK = re.compile(r"(conv1|bn1|layer\d+|features)\..+")
# Modules of training that see predictions or labels, not features.
_TRAINING = re.compile(r"\w*(loss|criterion|metric|accuracy)\w*\..+")


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
    shapes: dict[str, tuple], features: int
) -> tuple[str | None, int | None]:
    """Return the name of the classifier's module, and the number of classes.

    One linear layer with a bias on the pooled features is the classifier,
    under any name, if no other tensor is there that could act before, after
    or beside it. Without a bias it may compare directions (a cosine
    classifier), which no shape tells.

    Args:
        shapes: Shapes of all tensors but those of the network itself.
        features: Number of pooled features.

    Returns:
        `(None, None)` if there is none, or it is not all there is.
    """
    shapes = {n: s for n, s in shapes.items() if not _TRAINING.fullmatch(n)}
    weights = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(weights) != 1 or len(shapes) != 2:
        return None, None
    head = weights[0].removesuffix(".weight")
    classes, inputs = shapes[weights[0]]
    if shapes.get(f"{head}.bias") != (classes,) or inputs != features:
        return None, None
    return head, classes
