"""A folder with everything there is to see of a trained model."""

import csv
import dataclasses
import io
import os
import pathlib

import numpy as np

from eca_keras.errors import require
from eca_keras.utils.documents import Heading
from eca_keras.utils.documents import Paragraph
from eca_keras.utils.documents import Picture
from eca_keras.utils.documents import Table
from eca_keras.utils.documents import to_html
from eca_keras.utils.files import staged_folder
from eca_keras.visualize import figures
from eca_keras.visualize import taps
from eca_keras.visualize.gates import NoChannelWeights
from eca_keras.visualize.gates import by_stage
from eca_keras.visualize.gates import channel_kernels
from eca_keras.visualize.gates import channel_weights
from eca_keras.visualize.gates import class_means
from eca_keras.visualize.gates import class_spread
from eca_keras.visualize.heat_maps import grad_cam

PAGE = "index.html"
NUMBERS = "numbers.npz"
TABLES = ("layers.csv", "class-means.csv", "kernels.csv")

DPI = 110
GRAD_CAM_COLUMNS = 3

HEADINGS = {
    "channel-weights": "Channel weights by class",
    "stages": "Channel weights by stage",
    "kernels": "Kernels along the channels",
    "grad-cam": "Grad-CAM",
}
CAPTIONS = {
    "channel-weights": (
        "What each channel is multiplied by, averaged over the images of a "
        "class. Where the lines are apart, the layer tells the classes apart. "
        '"class spread" in the table is their standard deviation, averaged '
        "over the channels. Of many channels 64 or fewer at equal distances "
        "are drawn."
    ),
    "stages": (
        "All channel weights of all images, by the size of the feature map "
        "that they belong to."
    ),
    "kernels": (
        "What a channel's weight takes from the means of its neighbours (0: "
        "its own). Of kernels that differ by channel: mean and standard "
        "deviation over the channels."
    ),
    "grad-cam": (
        "Left the image and its class; right the predicted class with its "
        "probability, and where the model sees it; 1 is the largest value in "
        "the image."
    ),
}
FILES = (PAGE, NUMBERS, *TABLES, *(f"{kind}.png" for kind in HEADINGS))


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was measured of a model.

    Attributes:
        weights: List of `ChannelWeights`; empty without attention.
        kernels: What `channel_kernels` returns.
        shown: Indices in the sample of the images with heat maps.
        maps: Heat maps of these.
        guesses: Index of the class that the model takes each for.
        probabilities: What it gives that class.
        note: A sentence if something could not be measured, else "".
    """

    weights: list
    kernels: dict
    shown: np.ndarray
    maps: np.ndarray
    guesses: np.ndarray
    probabilities: np.ndarray
    note: str = ""


def measure(sample, *, heat_maps, layer, batch_size):
    """Measure the network of a `Sample` on its images.

    Args:
        sample: `Sample`.
        heat_maps: Heat maps per class, 0 for a network that is no classifier.
        layer, batch_size: As in `grad_cam`.

    Returns:
        `Findings`.

    Raises:
        ValueError: as `grad_cam` does, or if there is nothing to show.
    """
    network = sample.network
    shown = np.concatenate(
        [
            np.flatnonzero(sample.labels == label)[:heat_maps]
            for label in sample.classes
        ]
    )
    maps, probabilities = np.zeros((0, 1, 1)), np.zeros((0, 1))
    if heat_maps:  # first what may be refused, before the slower part
        images = sample.inputs[shown]
        maps = grad_cam(network, images, layer=layer, batch_size=batch_size)
        probabilities = np.concatenate(
            [
                np.asarray(network(batch, training=False))
                for batch in taps.batches(images, batch_size)
            ]
        )
    weights, kernels, note = [], {}, ""
    try:
        weights = channel_weights(network, sample.inputs, batch_size)
        kernels = channel_kernels(network)
    except NoChannelWeights as error:
        if not heat_maps:
            raise
        note = f"Only Grad-CAM is shown: {error}"
    return Findings(
        weights,
        kernels,
        shown,
        maps,
        probabilities.argmax(axis=1),
        probabilities.max(axis=1),
        note,
    )


def write(path, findings, sample, *, name, labels):
    """Write figures, tables and a page with all of them.

    Args:
        path: The folder, which must be new, empty or an earlier result.
        findings: `Findings`.
        sample: `Sample`.
        name: What the model is called.
        labels: Names of all classes of the model.
    """
    require("train", "A figure", "matplotlib")
    with staged_folder(path, is_ours=_is_ours) as folder:
        folder = pathlib.Path(folder)
        folder.mkdir()
        blocks = [Paragraph(text) for text in _summary(findings, sample)]
        for kind, figure in _figures(findings, sample, labels):
            picture = Picture(f"{kind}.png", HEADINGS[kind], _png(figure))
            (folder / picture.name).write_bytes(picture.content)
            blocks.append(Heading(HEADINGS[kind]))
            blocks += [picture, Paragraph(CAPTIONS[kind])]
        if findings.weights:
            rows = _layer_rows(findings, sample)
            blocks += [Heading("Layers"), Table(rows)]
            _write_csv(folder / "layers.csv", rows)
            _write_csv(
                folder / "class-means.csv", _class_rows(findings, sample)
            )
        if findings.kernels:
            _write_csv(folder / "kernels.csv", _kernel_rows(findings.kernels))
        _write_numbers(folder / NUMBERS, findings, sample)
        (folder / PAGE).write_text(to_html(name, blocks), "utf-8")


def _is_ours(path):
    names = set(os.listdir(path))
    return PAGE in names and names <= set(FILES)


def _figures(findings, sample, labels):
    if findings.weights:
        yield (
            "channel-weights",
            figures.channel_weights_figure(
                findings.weights, sample.labels, sample.classes
            ),
        )
        yield "stages", figures.stages_figure(by_stage(findings.weights))
    if findings.kernels:
        yield "kernels", figures.kernels_figure(findings.kernels)
    if not len(findings.shown):
        return
    titles = [
        (sample.classes[sample.labels[index]], f"{labels[guess]} {sure:.0%}")
        for index, guess, sure in zip(
            findings.shown,
            findings.guesses,
            findings.probabilities,
            strict=True,
        )
    ]
    yield (
        "grad-cam",
        figures.grad_cam_figure(
            sample.images[findings.shown],
            findings.maps,
            titles,
            min(GRAD_CAM_COLUMNS, len(titles)),
        ),
    )


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()


def _write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _layer_rows(findings, sample):
    titles = ("layer", "class", "feature map", "channels", "kernel size")
    measures = ("mean", "std", "min", "max", "class spread")
    rows = [(*titles, *measures)]
    for each in findings.weights:
        gates = each.gates
        kernel = findings.kernels.get(each.name.partition("#")[0])
        means = class_means(gates, sample.labels, list(sample.classes))
        values = (gates.mean(), gates.std(), gates.min(), gates.max())
        rows.append(
            (
                each.name,
                each.layer,
                "x".join(map(str, each.positions)),
                str(gates.shape[1]),
                "" if kernel is None else str(len(kernel)),
                *(f"{value:.4f}" for value in (*values, class_spread(means))),
            )
        )
    return rows


def _class_rows(findings, sample):
    yield "layer", "channel", *sample.classes.values()
    for each in findings.weights:
        means = class_means(each.gates, sample.labels, list(sample.classes))
        for channel, values in enumerate(means.T):
            yield each.name, channel, *(f"{value:.6f}" for value in values)


def _kernel_rows(kernels):
    yield "layer", "channel", "neighbour", "weight"
    for name, kernel in kernels.items():
        # "all" where the channels share a kernel.
        columns = {"all": kernel} if kernel.ndim == 1 else enumerate(kernel.T)
        for channel, weights in dict(columns).items():
            for tap, weight in enumerate(weights):
                offset = tap - len(weights) // 2
                yield name, channel, offset, f"{weight:.8g}"


def _write_numbers(path, findings, sample):
    arrays = {f"gates/{each.name}": each.gates for each in findings.weights}
    np.savez_compressed(
        path,
        indices=sample.indices,
        labels=sample.labels,
        grad_cam=findings.maps,
        grad_cam_images=findings.shown,
        grad_cam_classes=findings.guesses,
        **arrays,
    )


def _summary(findings, sample):
    counts = [
        f"{np.count_nonzero(sample.labels == label)} of {name}"
        for label, name in sample.classes.items()
    ]
    yield (
        f"Measured on {len(sample.labels)} {sample.split} images of "
        f"{sample.data}: {', '.join(counts)}."
    )
    if findings.note:
        yield f"{findings.note}."
