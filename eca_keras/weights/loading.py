"""Keras models from PyTorch checkpoints."""

from __future__ import annotations

from typing import Any

import keras

from eca_keras.applications.registry import find_builder
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import refusal
from eca_keras.utils.types import PathLike
from eca_keras.weights import naming
from eca_keras.weights import recognition
from eca_keras.weights.keras_archive import kind_of
from eca_keras.weights.keras_models import told
from eca_keras.weights.keras_weights import load_weights
from eca_keras.weights.reading import open_checkpoint
from eca_keras.weights.recognition import Network
from eca_keras.weights.tensors import CheckpointError

_HEADS = ("fc.", "classifier.")


def load_checkpoint(path: PathLike, **builder_arguments: Any) -> keras.Model:
    """Build the network of a PyTorch checkpoint and load its weights.

    The architecture, the kernel sizes and the number of classes are read off
    the file: the `.pth.tar` of the authors of ECA-Net (ResNet-18 to -152,
    MobileNetV2 of any width), and the `.safetensors` and `.pth` files of
    timm's ECA-ResNets. PyTorch is not needed, and no code in the file is run.

    Args:
        path: The file, of `torch.save` (a state dict, or a dictionary with
            one under `"state_dict"`) or of safetensors.
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
    with open_checkpoint(path) as state:
        network = _recognise(state)
        if network.attention is None and "attention" not in builder_arguments:
            raise CheckpointError(
                f"it looks like a plain {network.builder.removeprefix('ECA')}: "
                "it has no ECA modules. Pass attention=None to load it so."
            )
        builder = find_builder(network.builder)
        arguments = {**network.arguments, **builder_arguments}
        if arguments["attention"] is None:
            arguments.pop("kernel_size", None)  # _assign says it better
        model = builder(**arguments)
        _assign(model, state, network)
    return model


def load_into(model: keras.Model, path: PathLike) -> None:
    """Load the weights of a PyTorch checkpoint or of Keras into a model.

    This is what a builder does with `weights=path`. What is in the file
    decides, not its name.

    Args:
        model: A model made by one of the builders.
        path: As in `load_checkpoint`, or a `.keras`, `.weights.h5` or `.h5`
            file of the same network.

    Raises:
        CheckpointError, OSError, ImportError: As in `load_checkpoint`. The
            message says where the file and the model disagree.
    """
    with told(path):
        of_keras = kind_of(path) is not None
    if of_keras:
        load_weights(model, path)
        return
    with open_checkpoint(path) as state:
        _assign(model, state, _recognise(state))


def inspect_checkpoint(path: PathLike) -> Network:
    """Return the `Network` that a PyTorch checkpoint holds.

    Args:
        path: As in `load_checkpoint`.

    Raises:
        CheckpointError, OSError, ImportError: As in `load_checkpoint`.
    """
    with open_checkpoint(path) as state:
        return _recognise(state)


def _recognise(state):
    network = recognition.recognise(_shapes(state))
    if network.attention not in (None, *recognition.ECA_KINDS):
        raise CheckpointError(
            f"it looks like a {network.builder.removeprefix('ECA')} with "
            "attention other than ECA: its blocks hold "
            f"`{network.attention}`."
        )
    return network


def _shapes(state):
    return {name: tensor.shape for name, tensor in state.items()}


def _assign(model, state, network):
    """Check that file and model agree, then copy tensor by tensor."""
    variables = naming.torch_variables(model, network.attention_module)
    _check_arguments(model, variables, network)
    if network.classes is not None and not _has_head(variables):
        state = {n: t for n, t in state.items() if not n.startswith(_HEADS)}
    assign(state, variables)


def assign(state, variables):
    """Copy the tensors of a file, if they are exactly those of a model.

    Args:
        state: What `open_checkpoint` yields.
        variables: Dictionary from the same names to what has a `torch_shape`
            and takes an array of it with `assign`.

    Raises:
        CheckpointError: if a name or a shape differs.
    """
    _check_names(state, variables)
    for name, variable in variables.items():
        variable.assign(state[name].read())


def _has_head(variables):
    return any(name.startswith(_HEADS) for name in variables)


def _check_arguments(model, variables, network):
    try:
        built = recognition.recognise(
            {name: v.torch_shape for name, v in variables.items()}
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
    inside, asked = network.arguments, built.arguments
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
        raise CheckpointError(
            f"it has {_spelled(inside, differing)}, but the model has "
            f"{_spelled(asked, differing)}. "
            f"Pass {_spelled(inside, differing)}{hint}."
        )


def _spelled(arguments, names):
    return ", ".join(
        f"{name}={arguments[name]!r}" for name in names if name in arguments
    )


def _check_names(state, variables):
    problems = []
    if missing := [name for name in variables if name not in state]:
        problems.append(f"missing {listed(missing)}")
    if unexpected := [name for name in state if name not in variables]:
        problems.append(f"unexpected {listed(unexpected)}")
    wrong = [
        f"{name} of shape {state[name].shape} for {variable.torch_shape}"
        for name, variable in variables.items()
        if name in state and state[name].shape != variable.torch_shape
    ]
    if wrong:
        problems.append(f"unfitting {listed(wrong)}")
    if problems:
        raise CheckpointError(
            f"its tensors do not fit the network: {'; '.join(problems)}."
        )
