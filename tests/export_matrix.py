"""Networks times formats: differences, sizes and operations as Markdown.

python tests/export_matrix.py docs/export-matrix.md --runs runs/matrix
"""

import argparse
import collections
import pathlib
import sys
import tempfile

import eca_keras
from eca_keras import cli
from eca_keras.export import ExportMismatch
from eca_keras.training.trained import Trained

# What the table calls a network, and the options that train it.
NETWORKS = {
    "ECAResNet18": ["--model", "ECAResNet18"],
    "ECAResNet50": ["--model", "ECAResNet50"],
    "ECAResNet50T": ["--model", "ECAResNet50T"],
    "ECAMobileNetV2": ["--model", "ECAMobileNetV2"],
    "ECAMobileNetV2 0.5": ["--model", "ECAMobileNetV2", "--alpha", "0.5"],
    "ResNet18, SE": ["--model", "ECAResNet18", "--attention", "se"],
    "ResNet18, CBAM": ["--model", "ECAResNet18", "--attention", "cbam"],
}
SIZE = 32  # pixels
EPOCHS = 8
SAMPLES = 359  # all digits for testing

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

TITLES = ("network", "format", "MB", "max absolute error")
TITLES += ("mean absolute error", "mean variation", "top-1 agreement")
TITLES += ("operations",)


def trained(name, runs, epochs):
    """Returns a network that was trained on digits, now or before."""
    output = runs / name.replace(" ", "-").replace(",", "")
    if not (output / "metrics.json").exists():
        arguments = ["train", "--data", "digits", "--image-size", str(SIZE)]
        arguments += ["--epochs", str(epochs), "--learning-rate", "0.05"]
        arguments += ["--output", str(output), "--export", "--resume"]
        assert cli.main([*arguments, *NETWORKS[name]]) == 0
    return Trained.load(output)


def reports(network, count):
    """Yields the name of each format and the report of its export."""
    images = network.samples(count)
    for name, (function, file, options) in FORMATS.items():
        if "int8" in name:
            representative = network.samples(200, "train")
            options = {**options, "representative": representative}
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = function(
                    network.model,
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
        network,
        format,
        f"{report.size / 1e6:.2f}",
        f"{report.max_absolute_error:.1e}",
        f"{report.mean_absolute_error:.1e}",
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


def document(rows, lists, tops, count):
    """Returns the page.

    Args:
        rows: Lines of the first table.
        lists: Lines of the second: network, format, operations.
        tops: Mapping of each network to its top-1 on the test images.
        count: Number of images that the files are compared on.
    """
    accuracies = ", ".join(f"{name} {top:.1%}" for name, top in tops.items())
    return f"""# Exports of the networks

Written by `python tests/export_matrix.py docs/export-matrix.md`: every network
in every format, reloaded in its own runtime and compared with the Keras model
on {count} digits of {SIZE} x {SIZE} pixels that it was not trained on. The
networks were trained on digits first. Top-1 of the Keras models on these
images: {accuracies}.

The errors are those of probabilities. The mean variation is the mean absolute
error of a file whose outputs are always their mean. Files that are "not kept"
did not pass with the default tolerance.

{markdown([TITLES, *rows])}
## Operations

SavedModels have TensorFlow's own, which this leaves out. ECA is MEAN, RESHAPE,
CONV_2D, LOGISTIC, RESHAPE and MUL in TFLite.

{markdown([("network", "format", "operations"), *lists])}"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", help="names; all by default")
    parser.add_argument("--runs", type=pathlib.Path, default="runs/matrix")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args(arguments)
    rows, lists, tops = [], [], {}
    for name in options.networks or NETWORKS:
        network = trained(name, options.runs, options.epochs)
        tops[name] = network.evaluate()["top1"]
        for format, report in reports(network, options.samples):
            rows.append(row(name, format, report))
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
            if format in ("TFLite", "TFLite int8", "ONNX"):
                lists.append((name, format, operations(report)))
    text = document(rows, lists, tops, options.samples)
    options.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
