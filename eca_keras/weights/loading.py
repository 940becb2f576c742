"""Keras models from PyTorch checkpoints."""

from __future__ import annotations

import logging
import os
import typing
from typing import Any

import keras

from eca_keras.applications.registry import find_builder
from eca_keras.utils.checks import check
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import refusal
from eca_keras.utils.checks import shown
from eca_keras.utils.layer_settings import spelled
from eca_keras.utils.types import PathLike
from eca_keras.weights import heads
from eca_keras.weights import naming
from eca_keras.weights import recognition
from eca_keras.weights.differences import misfit
from eca_keras.weights.keras_archive import kind_of
from eca_keras.weights.keras_models import told
from eca_keras.weights.keras_weights import load_weights
from eca_keras.weights.layouts import StateDict
from eca_keras.weights.reading import open_checkpoint
from eca_keras.weights.recognition import Network
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Opaque

_HEADS = ("fc.", "classifier.1.")

_log = logging.getLogger("eca_keras")


def load_checkpoint(
    path: PathLike, *, ema: bool | None = None, **builder_arguments: Any
) -> keras.Model:
    """Build the network of a PyTorch checkpoint and load its weights.

    The architecture, the kernel sizes and the number of classes are read off
    the file: the `.pth.tar` of the authors of ECA-Net (ResNet-18 to -152,
    MobileNetV2 of any width), the `.safetensors` and `.pth` files of timm's
    ECA-ResNets, pruned ones too, the checkpoints of timm's training script,
    and the backbone in a detector's or segmenter's file
    (`include_top=False`). Keys and prefixes of training scripts and wrappers
    do not matter. PyTorch is not needed, and no code in the file is run:
    what is not needed is skipped.

    Args:
        path: The file, of `torch.save` or of safetensors.
        ema: Whether to load the EMA (exponential moving average) of the
            weights, or the weights themselves. `None` loads the EMA where
            the file has one, as timm does, and logs that it had the choice.
        **builder_arguments: Further arguments of the builder, such as
            `input_shape`, `include_top` and `classifier_activation`.
            `attention=None` loads a plain ResNet or MobileNetV2.

    Returns:
        A `keras.Model`.

    Raises:
        CheckpointError: (a ValueError) if the file is damaged, holds another
            architecture, or disagrees with the arguments.
        OSError: if the file cannot be read.
        ImportError: if the file is in the safetensors format and the package
            that reads it is not installed.

    Example:

    ```python
    model = eca_keras.load_checkpoint("eca_resnet50_k3557.pth.tar")
    ```
    """
    if "weights" in builder_arguments:
        rule = "must not be given: it takes its weights from `path`"
        raise refusal("weights", builder_arguments["weights"], rule)
    with open_checkpoint(path, ema) as state:
        network = _recognise(state)
        if network.attention is None and "attention" not in builder_arguments:
            raise CheckpointError(
                f"it looks like a plain {network.builder.removeprefix('ECA')}: "
                "it has no ECA modules. Pass attention=None to load it so."
            )
        if network.others and "include_top" not in builder_arguments:
            raise CheckpointError(_no_head(network, state))
        builder = find_builder(network.builder)
        arguments = {**network.arguments, **builder_arguments}
        if arguments["attention"] is None:
            arguments.pop("kernel_size", None)  # _assign says it better
        model = builder(**arguments)
        _assign(model, state, network)
        tell_choice(path, state, ema)
    return model


def load_into(
    model: keras.Model, path: PathLike, *, ema: bool | None = None
) -> None:
    """Load the weights of a PyTorch checkpoint or of Keras into a model.

    This is what a builder does with `weights=path`. What is in the file
    decides, not its name.

    Args:
        model: A model made by one of the builders.
        path: As in `load_checkpoint`, or a `.keras`, `.weights.h5` or `.h5`
            file of the same network.
        ema: As in `load_checkpoint`; for PyTorch checkpoints.

    Raises:
        CheckpointError, OSError, ImportError: As in `load_checkpoint`. The
            message says where the file and the model disagree.
    """
    with told(path):
        of_keras = kind_of(path) is not None
    if of_keras:
        rule = "must be None for a file of Keras, which has no EMA of its own"
        check("ema", ema, ema is None, rule, path=path)
        load_weights(model, path)
        return
    with open_checkpoint(path, ema) as state:
        network = _recognise(state)
        _assign(model, state, network)
        tell_choice(path, state, ema)


def inspect_checkpoint(path: PathLike, *, ema: bool | None = None) -> Network:
    """Return the `Network` that a PyTorch checkpoint holds.

    Args:
        path: As in `load_checkpoint`.
        ema: As in `load_checkpoint`; the result says what is chosen.

    Raises:
        CheckpointError, OSError, ImportError: As in `load_checkpoint`.
    """
    with open_checkpoint(path, ema) as state:
        return _recognise(state)


def tensors_of(state: StateDict, network: Network) -> dict[str, Any]:
    """Return the tensors of a network under the names of torchvision.

    They are those of `naming.torch_variables`: without a prefix, and the
    classifier is `fc` or `classifier.1`.

    Args:
        state: What `open_checkpoint` yields.
        network: What `recognition.recognise` says about it.
    """
    tensors = {
        name.removeprefix(state.prefix): tensor
        for name, tensor in state.tensors.items()
        if heads.is_of_network(name, state.prefix)
    }
    if network.head is not None:
        mobile = network.builder == "ECAMobileNetV2"
        head = "classifier.1" if mobile else "fc"
        for leaf in ("weight", "bias"):
            tensors[f"{head}.{leaf}"] = state.tensors[f"{network.head}.{leaf}"]
    return tensors


def tell_choice(path: PathLike, state: StateDict, ema: bool | None) -> None:
    """Log which weights were loaded, if the file left a choice."""
    if ema is None and state.beside:
        # A warning is what Python shows where nobody configured logging.
        _log.warning(
            "%s: loaded the EMA of the weights, %s. Pass ema=False for the "
            "weights, ema=True for no such message.",
            os.fspath(path),
            shown(state.source),
        )


def _recognise(state):
    network = recognition.recognise(state)
    if network.attention not in (None, *recognition.ECA_KINDS):
        raise CheckpointError(
            f"it looks like a {network.builder.removeprefix('ECA')} with "
            "attention other than ECA: its blocks hold "
            f"`{network.attention}`."
        )
    return network


def _no_head(network, state):
    others = []
    for name in network.others:
        tensor = state.tensors[name]
        if isinstance(tensor, Opaque):
            name = f"{name} (asks for {tensor.name}, which was not run)"
        others.append(name)
    return (
        "it has no classifier of one linear layer, with a bias, on the last "
        f"channels{f': it also holds {listed(others, 5)}' if others else ''}. "
        "Pass include_top=False to load the network without it."
    )


def _assign(model, state, network):
    """Check that file and model agree, then copy tensor by tensor."""
    variables = naming.torch_variables(model, network.attention_module)
    has_head = any(name.startswith(_HEADS) for name in variables)
    _check_arguments(model, variables, network, state)
    tensors = tensors_of(state, network)
    if not has_head:
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith(_HEADS)
        }
    assign(tensors, variables)


def assign(tensors: dict[str, Any], variables: dict[str, Any]) -> None:
    """Copy the tensors of a file, if they are exactly those of a model.

    Args:
        tensors: Dictionary from names to `Tensor`.
        variables: Dictionary from the same names to what has a `torch_shape`
            and takes an array of it with `assign`.

    Raises:
        CheckpointError: if a name or a shape differs.
    """
    _check_names(tensors, variables)
    for name, variable in variables.items():
        variable.assign(tensors[name].read())


class _Shape(typing.NamedTuple):
    shape: tuple


def _check_arguments(model, variables, network, state):
    try:
        built = recognition.recognise(
            StateDict({n: _Shape(v.torch_shape) for n, v in variables.items()})
        )
    except CheckpointError:
        raise CheckpointError(
            f"it holds {network.builder}, and the model {model.name!r} is "
            "none of the networks that have PyTorch checkpoints."
        ) from None
    if built.builder != network.builder:
        raise CheckpointError(
            f"it holds {network.builder}, not {built.builder}. Call "
            f"{network.builder} or eca_keras.load_checkpoint."
        )
    if built.classes is not None and network.classes is None:
        raise CheckpointError(_no_head(network, state))
    inside = {**dict.fromkeys(built.options), **network.arguments}
    asked = {**dict.fromkeys(network.options), **built.arguments}
    if built.classes is None:  # the file's classifier is left out
        inside = {**inside, "include_top": False}
        inside.pop("classes", None)
    differing = [
        name
        for name in dict.fromkeys([*inside, *asked])
        if inside.get(name) != asked.get(name)
    ]
    if differing:
        hint = ""
        if "classes" in differing and network.classes is not None:
            hint = ", or include_top=False and a classifier of your own"
        elif "block_widths" in differing:
            hint = ", or call eca_keras.load_checkpoint, which reads them"
        raise CheckpointError(
            f"it has {spelled(inside, differing)}, but the model has "
            f"{spelled(asked, differing)}. "
            f"Pass {spelled(inside, differing)}{hint}."
        )


def _check_names(tensors, variables):
    problems = misfit(
        {name: getattr(each, "shape", ()) for name, each in tensors.items()},
        {name: each.torch_shape for name, each in variables.items()},
    )
    if problems:
        raise CheckpointError(
            f"its tensors do not fit the network: {problems}."
        )
