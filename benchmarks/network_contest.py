"""The columns of the ECA-Net paper's Table 3, measured at hand.

Networks with and without attention, from this library and from others, are
counted, and timed while they take turns in one run.
"""

import contextlib
import dataclasses

import keras

from benchmarks import torch_process
from benchmarks.timing import LIBRARY_RATIO
from benchmarks.timing import Speed
from benchmarks.timing import check_different
from benchmarks.timing import speed
from eca_keras.applications.building import build_network
from eca_keras.applications.building import kernel_size_of
from eca_keras.applications.registry import default_size
from eca_keras.errors import ComparisonFailed
from eca_keras.errors import InputError
from eca_keras.profiling import tables
from eca_keras.profiling import timing as benchmarking
from eca_keras.profiling.counts import profile

OURS = "eca-keras"
LIBRARIES = ("keras.applications", "torch")
# The networks of keras.applications that are those of the same depth here
# (its ResNets have their strides at another place, and biases).
KERAS_APPLICATIONS = {
    "ECAResNet50": "ResNet50",
    "ECAResNet101": "ResNet101",
    "ECAResNet152": "ResNet152",
    "ECAMobileNetV2": "MobileNetV2",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpeed(Speed):
    """What a network is, and how fast it was at one task.

    Attributes:
        network: Name of the builder in this library.
        image_size: Height and width of the images, in pixels.
        parameters: Number of trainable parameters.
        attention_parameters: Those of the attention modules.
        macs: Multiply-accumulates per image, see `eca_keras.profile`; those
            of the same network here for one from PyTorch.
        task: `"inference"`, or `"training"` for a step of SGD with momentum.
        batch_size: Images per call.
        images_per_second: `batch_size` by the median time of a call.
    """

    network: str
    image_size: int
    parameters: int
    attention_parameters: int
    macs: int
    task: str
    batch_size: int
    images_per_second: float


@dataclasses.dataclass(frozen=True)
class _Contestant:
    library: str
    attention: str
    model: object  # a Keras model, or one that runs elsewhere
    counts: dict


def compare_networks(
    network,
    attentions=("none", "eca"),
    *,
    against=(),
    torch_python=None,
    kernel_size="adaptive",
    image_size=None,
    batch_sizes=(8, 1),
    training_batch_size=8,
    rounds=20,
    warmup=3,
    progress=None,
):
    """Count and times a network with several attention modules.

    Args:
        network: Name of the builder.
        attentions: Names of attention modules, `"none"` for no attention; the
            first is what the others are compared with.
        against: Some of `LIBRARIES`, for networks from there to take part.
            keras.applications has them without attention only, PyTorch with
            `"none"` and `"eca"`; other attentions are compared within this
            library. A network from PyTorch runs in a process of its own, and
            has to give the logits of ours with the same weights.
        torch_python: The Python that has PyTorch; this one by default.
        kernel_size: As in the builders, for attention that has a kernel;
            those of PyTorch's network follow.
        image_size: Height and width in pixels; by default that of the
            network.
        batch_sizes, training_batch_size, rounds, warmup: As in
            `eca_keras.benchmark`.
        progress: Function that is called with a line of text on the way.

    Returns:
        List of `NetworkSpeed`: for each task, one for each library and
        attention.

    Raises:
        InputError: if an argument is out of its range, or a library has no
            such network.
        ComparisonFailed: if PyTorch fails, or answers otherwise.
    """
    progress = progress or (lambda line: None)
    _check(network, attentions, against)
    size = default_size(network) if image_size is None else image_size
    with contextlib.ExitStack() as stack:
        contestants = []
        ours = {
            # Logits, as torchvision's networks and the authors' give them.
            attention: build_network(
                network,
                attention,
                kernel_size_of(attention, kernel_size),
                input_shape=(size, size, 3),
                classifier_activation=None,
            )
            for attention in attentions
        }
        for contestant in _contestants(
            network, ours, against, torch_python, stack
        ):
            contestants.append(contestant)
            progress(
                f"{network} at {size} x {size}: {contestant.library}, "
                f"{contestant.attention}, "
                f"{contestant.counts['parameters']:,} parameters"
            )
        rows = []
        for measured in benchmarking.measure(
            {
                f"{each.library} {each.attention}": _held(each.model)
                for each in contestants
            },
            batch_sizes=batch_sizes,
            training_batch_size=training_batch_size,
            rounds=rounds,
            warmup=warmup,
        ):
            for i, contestant in enumerate(contestants):
                row = _row(measured, i, contestants, network, size)
                rows.append(row)
                progress(
                    f"{contestant.library}, {contestant.attention}, "
                    f"{row.task}, batch {row.batch_size}: "
                    f"{1e3 * row.seconds:.1f} ms, ratio {row.ratio:.3f}"
                )
    return rows


def _held(model):
    return lambda: model


def _check(network, attentions, against):
    import tensorflow as tf

    default_size(network)  # refuses an unknown name
    check_different("attentions", attentions)
    check_different("against", against)
    if not attentions:
        raise InputError(
            "`attentions` must have at least one name. Received none"
        )
    if not set(against) <= set(LIBRARIES):
        raise InputError(
            f"`against` must be some of {', '.join(LIBRARIES)}. "
            f"Received: against={' '.join(map(str, against))}"
        )
    has = {
        "keras.applications": network in KERAS_APPLICATIONS
        and "none" in attentions,
        "torch": any(
            torch_process.has_counterpart(network, attention)
            for attention in attentions
        ),
    }
    if "torch" in against and tf.config.list_logical_devices("GPU"):
        raise InputError(
            "`against` must not be torch where TensorFlow has a GPU, for "
            "PyTorch is timed on the CPU: hide it with CUDA_VISIBLE_DEVICES=-1"
        )
    for library in against:
        if not has[library]:
            raise InputError(
                "`against` must be a library that has the network with one "
                f"of the attentions. Received: against={library} for "
                f"{network} with {', '.join(attentions)}"
            )


def _contestants(network, models, against, torch_python, stack):
    """Yield a `_Contestant` each; `models` are ours, by attention."""
    ours = {
        attention: _Contestant(OURS, attention, model, _counts(model))
        for attention, model in models.items()
    }
    yield from ours.values()
    if "keras.applications" in against:
        builder = getattr(keras.applications, KERAS_APPLICATIONS[network])
        model = builder(
            weights=None,
            input_shape=models["none"].input_shape[1:],
            classifier_activation=None,
        )
        yield _Contestant("keras.applications", "none", model, _counts(model))
    for attention in models if "torch" in against else ():
        if torch_process.has_counterpart(network, attention):
            other = stack.enter_context(
                torch_process.TorchNetwork(
                    network, models[attention], torch_python
                )
            )
            counts = ours[attention].counts
            if other.parameters != counts["parameters"]:
                raise ComparisonFailed(
                    f"PyTorch's {network} has {other.parameters:,} "
                    f"parameters, ours {counts['parameters']:,}"
                )
            yield _Contestant("torch", attention, other, counts)


def _counts(model):
    counted = profile(model)
    return {
        "parameters": counted.trainable_parameters,
        "attention_parameters": counted.attention_parameters,
        "macs": counted.macs,
    }


def _row(measured, i, contestants, network, size):
    names = [(each.library, each.attention) for each in contestants]
    times = speed(measured.wall, measured.cpu, i, names)
    return NetworkSpeed(
        network=network,
        image_size=size,
        **contestants[i].counts,
        task=measured.task,
        batch_size=measured.batch_size,
        images_per_second=measured.batch_size / times["seconds"],
        **times,
    )


_NAMES = (("network", "network"), ("attention", "attention"))
_NAMES += (("library", "library"),)
_COUNTS = (
    ("parameters", lambda row: f"{row.parameters:,}"),
    ("of attention", lambda row: f"{row.attention_parameters:,}"),
    ("GMAC", lambda row: f"{row.macs / 1e9:.3f}"),
)
_TASK = (("task", "task"), ("batch", "batch_size"))


def format_networks(rows):
    """Return the rows as text: what the networks are, how fast they are."""
    networks = {(x.network, x.attention, x.library): x for x in rows}.values()
    parts = [tables.format_table(list(networks), (*_NAMES, *_COUNTS), 3)]
    # A table for each network, whose name would make the lines too long.
    columns = (*_NAMES[1:], *_TASK, *tables.TIMES, *LIBRARY_RATIO[:1])
    for name in dict.fromkeys(row.network for row in rows):
        chosen = [row for row in rows if row.network == name]
        parts.append(f"{name}\n{tables.format_table(chosen, columns, 3)}")
    return "\n\n".join(parts)
