"""Networks times formats: differences, sizes and operations as Markdown.

python tests/export_matrix.py docs/export-matrix.md
"""

import argparse
import collections
import dataclasses
import functools
import pathlib
import sys
import tempfile

import numpy as np
from export_models import randomised
from reference import load_golden

import eca_keras
from eca_keras import applications
from eca_keras.export import ExportMismatch
from eca_keras.export import samples as sampling

SIZE = 64  # pixels
SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the matrix.

    Attributes:
        name: What the table calls it.
        build: Function of the input shape that builds it.
        golden: Name of its weights in tests/golden; `None` for random ones.
        gain: Factor of the scales of its normalisations: without it, too
            little of an image gets through a MobileNetV2.
    """

    name: str
    build: object
    golden: str | None = None
    gain: float = 1.0

    def model(self, size):
        model = self.build(
            input_shape=(size, size, 3), classifier_activation=None
        )
        if self.golden:
            load_golden(model, self.golden)
        else:
            randomised(model)
        for variable in model.weights:
            if variable.name == "gamma":
                variable.assign(variable * self.gain)
        return model


def _variant(name, **options):
    return functools.partial(getattr(applications, name), **options)


NETWORKS = (
    Network(
        "ECAResNet18",
        _variant("ECAResNet18", kernel_size="paper"),
        "eca_resnet18_k3577",
    ),
    Network(
        "ECAResNet50",
        _variant("ECAResNet50", kernel_size="paper"),
        "eca_resnet50_k3557",
    ),
    Network("ECAResNet50T", _variant("ECAResNet50T"), "timm_ecaresnet50t"),
    Network(
        "ECAMobileNetV2",
        _variant("ECAMobileNetV2", kernel_size="paper"),
        "eca_mobilenetv2_k13",
        2.0,
    ),
    Network(
        "ECAMobileNetV2 0.5",
        _variant("ECAMobileNetV2", alpha=0.5),
        gain=2.0,
    ),
    Network("ResNet18, SE", _variant("ECAResNet18", attention="se")),
    Network("ResNet18, CBAM", _variant("ECAResNet18", attention="cbam")),
    Network(
        "MobileNetV2, SE",
        _variant("ECAMobileNetV2", attention="se"),
        gain=1.4,  # more, and its gates all close or open
    ),
    Network(
        "MobileNetV2, CBAM",
        _variant("ECAMobileNetV2", attention="cbam"),
        gain=2.0,
    ),
)

FORMATS = {
    "SavedModel": (eca_keras.export_saved_model, "net", {}),
    "TFLite": (eca_keras.export_tflite, "net.tflite", {}),
    **{
        f"TFLite {quantize}": (
            eca_keras.export_tflite,
            "net.tflite",
            {"quantize": quantize},
        )
        for quantize in ("float16", "dynamic", "int8")
    },
    "ONNX": (eca_keras.export_onnx, "net.onnx", {}),
}

TITLES = ("network", "format", "MB", "largest difference")
TITLES += ("mean difference", "mean variation", "top-1 agreement", "operations")


def reports(network, size=SIZE, count=SAMPLES):
    """Yields the name of each format and the report of its export."""
    model = network.model(size)
    images = sampling.generate(model, (size, size, 3), count).astype("float32")
    for name, (function, file, options) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = function(
                    model,
                    pathlib.Path(folder) / file,
                    samples=images,
                    **options,
                )
            except ExportMismatch as error:
                report = error.report
        if report is not None:  # None: the runtime cannot load it
            yield name, report


def row(network, format, report):
    passed = "" if report.passed else " (not kept)"
    return (
        network.name,
        format,
        f"{report.size / 1e6:.2f}",
        f"{report.largest_difference:.1e}",
        f"{report.mean_difference:.1e}",
        f"{report.variation:.1e}",
        f"{report.top1_agreement:.1%}{passed}",
        str(len(report.ops)) if report.ops else "",
    )


def operations(report):
    counts = collections.Counter(report.ops).most_common()
    return ", ".join(f"{count} {name}" for name, count in counts)


def markdown(table):
    lines = [" | ".join(line) for line in table]
    lines.insert(1, " | ".join(["---"] * len(table[0])))
    return "".join(f"| {line} |\n" for line in lines)


def document(rows, lists, size, count):
    """Returns the page.

    Args:
        rows: Lines of the first table.
        lists: Lines of the second: network, format, operations.
        size: Height and width of the images.
        count: Number of images.
    """
    golden = [network.name for network in NETWORKS if network.golden]
    return f"""# Exports of the networks

Written by `python tests/export_matrix.py docs/export-matrix.md`: every network
in every format, reloaded in its own runtime and compared with the Keras model
on {count} generated images of {size} x {size} pixels, 1000 logits each.
{", ".join(golden)} have the weights of `tests/golden`, on which they were also
compared with PyTorch, the others random ones with random statistics in
BatchNormalization. None are trained: with random weights the two largest of
1000 logits are close, and integers change their order more often than those
of a trained network. So the mean difference counts, beside the mean
variation: what a file would be off by that always answers the mean.
"Not kept" is what the export refuses by its own measure (97 % agreement, 0.3
of the variation).

{markdown([TITLES, *rows])}
## Operations

SavedModels have TensorFlow's own, which this leaves out. ECA is MEAN, RESHAPE,
CONV_2D, LOGISTIC, RESHAPE and MUL in TFLite.

{markdown([("network", "format", "operations"), *lists])}"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", help="names; all by default")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args(arguments)
    rows, lists = [], []
    for network in NETWORKS:
        if options.networks and network.name not in options.networks:
            continue
        for name, report in reports(network, options.size, options.samples):
            rows.append(row(network, name, report))
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
            if name in ("TFLite", "TFLite int8", "ONNX"):
                lists.append((network.name, name, operations(report)))
    text = document(rows, lists, options.size, options.samples)
    options.output.write_text(text, "utf-8")
    return np.unique([line[0] for line in rows]).tolist()


if __name__ == "__main__":
    main()
