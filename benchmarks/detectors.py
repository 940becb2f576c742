"""Mask R-CNN beside torchvision's: how fast, and with how much memory."""

import contextlib
import dataclasses
import os

from benchmarks.detector_pairs import Setting
from benchmarks.detector_pairs import start_pair
from benchmarks.timing import timing
from benchmarks.torch_process import ATTENTIONS
from benchmarks.torch_process import RESNET_NAMES
from benchmarks.worker import RemoteStep
from eca_keras.errors import InputError
from eca_keras.profiling import timing as benchmarking
from eca_keras.profiling.tables import aligned
from eca_keras.training.classification.model import parse_kernel_size
from eca_keras.utils import checks


@dataclasses.dataclass(frozen=True)
class DetectorSpeed:
    """What a detector takes for an image.

    Attributes:
        network: Name of the builder of its backbone.
        library: Where it is from: `"eca-keras"` or `"torchvision"`.
        attention: Name of the attention module, or `"none"`.
        height, width: Of the image, in pixels.
        parameters: Number of them; moving averages do not count.
        detections: How many of its detections the other library has as well.
        box_difference: By how much a detection of one library differs from
            that of the other at most: a corner, in pixels.
        score_difference: The same of a score.
        mask_difference: The same of a probability in a mask.
        rounds: Number of timed calls.
        first_seconds: Wall-clock time of the first call of all, before the
            rounds: it compiles.
        seconds, seconds_lower, seconds_upper, cpu_seconds, ratio,
        ratio_lower, ratio_upper, cpu_ratio, library_ratio,
        library_ratio_lower, library_ratio_upper: As in `NetworkSpeed`.
        peak_memory: Most bytes of memory that its process had at one time,
            libraries and weights included.
    """

    network: str
    library: str
    attention: str
    height: int
    width: int
    parameters: int
    detections: int
    box_difference: float
    score_difference: float
    mask_difference: float
    rounds: int
    first_seconds: float
    seconds: float
    seconds_lower: float
    seconds_upper: float
    cpu_seconds: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    cpu_ratio: float
    library_ratio: float
    library_ratio_lower: float
    library_ratio_upper: float
    peak_memory: int


def compare_detectors(
    network="ECAResNet50",
    attentions=("none", "eca"),
    *,
    torch_python=None,
    kernel_size="adaptive",
    image_size=(800, 1344),
    rounds=20,
    warmup=2,
    threads=None,
    seed=0,
    progress=None,
):
    """Times Mask R-CNN against torchvision's on the CPU, one image per call.

    All have the sizes of the paper and 80 classes. From the normalised image
    on to boxes, classes, scores and masks of 28 x 28 pixels: torchvision's
    resizing and its pasting of masks are left out. Weights are drawn such
    that there are a hundred objects to find.

    Args:
        network: Name of the builder of the backbone, a ResNet that the
            authors have.
        attentions: `"none"`, `"eca"` or both; the first is what the others
            are compared with.
        torch_python: The Python that has torch and torchvision; this one by
            default.
        kernel_size: As in `MaskRCNN`, or one size per stage as text with
            commas between them; for `"eca"`.
        image_size: Height and width in pixels.
        rounds: Number of timed calls.
        warmup: Number of calls before, besides the first one.
        threads: Threads that a call may use; one for each core by default.
        seed: Seed of the weights and of the image.
        progress: Function that is called with a line of text on the way.

    Returns:
        List of `DetectorSpeed`: all of this library, then all of torchvision.

    Raises:
        InputError: if an argument is out of its range, or `torch_python` does
            not have both packages.
        ComparisonFailed: if a process fails, or two libraries do not find the
            same.
    """
    progress = progress or (lambda line: None)
    _check(network, attentions, image_size, rounds, warmup, threads)
    setting = Setting(
        network,
        parse_kernel_size(kernel_size),
        tuple(image_size),
        threads or os.cpu_count(),
        seed,
        torch_python,
    )
    with contextlib.ExitStack() as stack:
        pairs = [
            start_pair(setting, attention, stack, progress)
            for attention in attentions
        ]
        contestants = [one for pair in zip(*pairs, strict=True) for one in pair]
        progress(f"Timing {rounds} rounds")
        wall, cpu = benchmarking.time_steps(
            [RemoteStep(each.worker) for each in contestants], rounds, warmup
        )
        peaks = [each.worker.ask("memory")["bytes"] for each in contestants]
    names = [(each.library, each.attention) for each in contestants]
    return [
        DetectorSpeed(
            network=network,
            library=each.library,
            attention=each.attention,
            height=image_size[0],
            width=image_size[1],
            rounds=rounds,
            peak_memory=peaks[i],
            **each.facts,
            **timing(wall, cpu, i, names),
        )
        for i, each in enumerate(contestants)
    ]


def _check(network, attentions, image_size, rounds, warmup, threads):
    if network not in RESNET_NAMES:
        raise InputError(
            f"`network` must be one of {', '.join(RESNET_NAMES)}. "
            f"Received: network={network}"
        )
    if not attentions or len(set(attentions)) < len(attentions):
        raise InputError(
            "`attentions` must be names that differ from each other. "
            f"Received: attentions={' '.join(attentions)}"
        )
    if not set(attentions) <= set(ATTENTIONS):
        raise InputError(
            f"`attentions` must be some of {', '.join(ATTENTIONS)}. "
            f"Received: attentions={' '.join(attentions)}"
        )
    if len(image_size) != 2 or not all(map(_is_positive, image_size)):
        raise InputError(
            "`image_size` must be two positive integers, height and width. "
            f"Received: image_size={' '.join(map(str, image_size))}"
        )
    numbers = {"rounds": rounds, "warmup": warmup}
    if threads is not None:
        numbers["threads"] = threads
    for name, value in numbers.items():
        if not _is_positive(value):
            raise InputError(
                f"`{name}` must be a positive integer. Received: {name}={value}"
            )


def _is_positive(value):
    return checks.is_int(value) and value > 0


def format_detectors(rows):
    """Returns the rows as text, one line each below a line of titles."""
    table = [
        ("library", "attention", "parameters", "first call, s", "ms")
        + ("quartiles", "CPU ms", "ratio", "quartiles", "CPU ratio")
        + ("by ours", "quartiles", "peak GB")
    ]
    for row in rows:
        table.append(
            (
                row.library,
                row.attention,
                f"{row.parameters:,}",
                f"{row.first_seconds:.1f}",
                f"{1e3 * row.seconds:.0f}",
                f"{1e3 * row.seconds_lower:.0f}-{1e3 * row.seconds_upper:.0f}",
                f"{1e3 * row.cpu_seconds:.0f}",
                f"{row.ratio:.3f}",
                f"{row.ratio_lower:.3f}-{row.ratio_upper:.3f}",
                f"{row.cpu_ratio:.3f}",
                f"{row.library_ratio:.2f}",
                f"{row.library_ratio_lower:.2f}-{row.library_ratio_upper:.2f}",
                f"{row.peak_memory / 1e9:.2f}",
            )
        )
    return aligned(table)
