"""Mask R-CNN beside torchvision's: how fast, and with how much memory."""

import contextlib
import dataclasses
import os

from benchmarks.detector_pairs import Setting
from benchmarks.detector_pairs import start_pair
from benchmarks.timing import LIBRARY_RATIO
from benchmarks.timing import Speed
from benchmarks.timing import speed
from benchmarks.torch_process import ATTENTIONS
from benchmarks.torch_process import RESNET_NAMES
from benchmarks.worker import RemoteStep
from eca_keras.errors import InputError
from eca_keras.profiling import tables
from eca_keras.profiling.timing import time_steps
from eca_keras.utils import checks


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorSpeed(Speed):
    """What a detector takes for an image.

    Attributes:
        network: Name of the builder of its backbone.
        height, width: Of the image, in pixels.
        parameters: Number of them; BatchNorm's statistics do not count.
        detections: How many of its detections the other library has as well.
        box_difference: By how much a detection of one library differs from
            that of the other at most: a corner, in pixels.
        score_difference: The same of a score.
        mask_difference: The same of a probability in a mask.
        first_seconds: Wall-clock time of the first call of all, before the
            rounds: it compiles.
        peak_memory: Most bytes of memory that its process had at one time,
            libraries and weights included.
    """

    network: str
    height: int
    width: int
    parameters: int
    detections: int
    box_difference: float
    score_difference: float
    mask_difference: float
    first_seconds: float
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
    """Time Mask R-CNN against torchvision's on the CPU, one image per call.

    All have the sizes of the paper and 80 classes. From the normalized image
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
        kernel_size: As in `MaskRCNN`; for `"eca"`.
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
        kernel_size,
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
        wall, cpu = time_steps(
            [RemoteStep(each.worker) for each in contestants], rounds, warmup
        )
        peaks = [each.worker.ask("memory")["bytes"] for each in contestants]
    names = [(each.library, each.attention) for each in contestants]
    return [
        DetectorSpeed(
            network=network,
            height=image_size[0],
            width=image_size[1],
            peak_memory=peaks[i],
            **each.facts,
            **speed(wall, cpu, i, names),
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
    checks.check_count("rounds", rounds)
    checks.check_count("warmup", warmup)
    checks.check_count("threads", threads, none=True)


def _is_positive(value):
    return checks.is_int(value) and value > 0


_NAMES = (("library", "library"), ("attention", "attention"))
_MORE = (
    ("first call, s", lambda row: f"{row.first_seconds:.1f}"),
    ("CPU ms", lambda row: f"{1e3 * row.cpu_seconds:.0f}"),
    ("peak GB", lambda row: f"{row.peak_memory / 1e9:.2f}"),
    ("parameters", lambda row: f"{row.parameters:,}"),
)


def format_detectors(rows):
    """Return the rows as text: how fast the detectors are, what they take."""
    times = (*_NAMES, *tables.TIMES, *LIBRARY_RATIO)
    return (
        f"{tables.format_table(rows, times)}\n\n"
        f"{tables.format_table(rows, (*_NAMES, *_MORE))}"
    )
