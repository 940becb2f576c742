"""The model card of a run: what was trained, on what, how well it does.

Every number is read from the files of the run or counted from its model; a
card says nothing that was not measured. Its head has the metadata of the
Hugging Face hub, see https://huggingface.co/docs/hub/model-cards.
"""

import json
import math

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.profiling import profile
from eca_keras.utils.checks import listed
from eca_keras.utils.keras_graph import kernel_sizes
from eca_keras.version import __version__

# Of the normal distribution, for intervals of 95 %.
Z = 1.959964

CLASSES_SHOWN = 20

USE = {
    "classifier": """\
```py
import keras
import eca_keras  # registers the layers

model = keras.models.load_model("model.keras")
images = ...  # float32, of shape {shape}, pixels from 0 to 255
probabilities = model.predict(images)
```

From the command line: `eca-keras predict photo.png --model FOLDER`, which
resizes and crops the image as the images above were. `preprocessing.json`
says how, and has the names of the classes.""",
    "detector": """\
```py
from eca_keras.training import Trained

image, objects = Trained.load("FOLDER").predict("photo.png")
```

From the command line: `eca-keras predict photo.png --model FOLDER`, which
fits the image into {shape} pixels and pads it, as the images above were.
`detection.json` says how, and has the names of the classes.""",
}

# What a card says about each kind: the hub's name of the task, the type of
# its metrics there, and these, by their names in `metrics.json`.
TASKS = {
    "classifier": (
        "image-classification",
        "accuracy",
        {"top1": "Top-1", "top5": "Top-5"},
    ),
    "detector": (
        "object-detection",
        "mean_average_precision",
        {
            "AP": "AP (IoU 0.50 to 0.95)",
            "AP50": "AP50 (IoU 0.50)",
            "mask_AP": "AP of masks",
            "mask_AP50": "AP50 of masks",
        },
    ),
}


def model_card(trained) -> str:
    """Return the text of the model card of a run.

    Args:
        trained: `Trained`, in the folder of a run that is done.

    Raises:
        InputError: if a file of the run is missing or damaged.
        ImportError: if huggingface_hub is not installed.
    """
    require("convert", "A model card", "huggingface_hub")
    folder = trained.folder
    metrics = _read(folder / "metrics.json")
    config = _read(folder / "config.json") and trained.config
    network = metrics.get("model") or (
        f"{metrics['detector']} on {metrics['backbone']}"
    )
    name = f"{network} on {config['data']}"
    parts = [
        _metadata(name, trained.kind, metrics, config),
        f"# {name}",
        _network(trained, config),
        "## Results",
        _results(trained.kind, metrics),
        "## Training",
        _training(metrics, config),
    ]
    if (folder / "curves.png").exists():
        parts.append("![curves of the training](curves.png)")
    if exports := _exports(folder):
        parts += ["## Exported files", exports]
    height, width, channels = trained.model.inputs[0].shape[1:]
    shape = f"{height} x {width}"
    if trained.kind == "classifier":
        shape = f"(batch, {height}, {width}, {channels})"
    parts += [
        "## Use",
        USE[trained.kind].format(shape=shape),
        "## Limits",
        f"The metrics are for the {metrics['evaluated_on']} images of "
        f"{config['data']}, from one run with seed {config['seed']}. How the "
        "network does on other images was not measured.",
    ]
    return "\n\n".join(parts) + "\n"


def _read(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"There is no {path}: a card is made of what `eca-keras train` "
            "wrote when it was done"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _metadata(name, kind, metrics, config):
    from huggingface_hub import EvalResult
    from huggingface_hub import ModelCardData

    task, metric_type, titles = TASKS[kind]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=config["data"],
            dataset_name=config["data"],
            dataset_split=metrics["evaluated_on"],
            metric_type=metric_type,
            metric_name=title,
            metric_value=metrics[key],
        )
        for key, title in titles.items()
        if key in metrics
    ]
    data = ModelCardData(
        model_name=name,
        library_name="keras",
        pipeline_tag=task,
        tags=["eca-net", "channel-attention"],
        eval_results=results,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def _table(rows):
    return "\n".join(
        ["| | |", "|---|---|"] + [f"| {a} | {b} |" for a, b in rows]
    )


def _network(trained, config):
    model = trained.model
    counted = profile(model)
    attention = config["attention"]
    if kernels := kernel_sizes(model):
        attention += f", kernel sizes {', '.join(map(str, kernels))}"
    height, width, channels = model.inputs[0].shape[1:]
    color = "grey" if channels == 1 else "colour"
    names = trained.class_names
    given, values = {
        "classifier": ("probabilities", "pixels 0 to 255"),
        "detector": (
            "boxes, scores and labels",
            "normalized as `detection.json` says",
        ),
    }[trained.kind]
    counted_part = "an image"
    if getattr(model, "box_head", None):
        counted_part += ", without the heads on regions"
    return _table(
        [
            ("Attention", attention),
            (
                "Trainable parameters",
                f"{counted.trainable_parameters:,}, of them "
                f"{counted.attention_parameters:,} of attention",
            ),
            (f"Multiply-accumulates of {counted_part}", f"{counted.macs:,}"),
            ("Input", f"{color} images of {height} x {width}, {values}"),
            (
                "Output",
                f"{given} of {len(names)} classes: "
                f"{listed(names, CLASSES_SHOWN)}",
            ),
        ]
    )


def interval(fraction: float, count: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % for a fraction of `count` cases.

    Wilson, Probable Inference, the Law of Succession, and Statistical
    Inference, JASA 22 (1927).
    """
    variance = fraction * (1 - fraction) / count
    spread = Z * math.sqrt(variance + Z**2 / (4 * count**2))
    middle, scale = fraction + Z**2 / (2 * count), 1 + Z**2 / count
    return (middle - spread) / scale, (middle + spread) / scale


def _results(kind, metrics):
    count = metrics["images"]
    rows = [("Measured on", f"{count:,} {metrics['evaluated_on']} images")]
    if kind == "detector":
        titles = TASKS[kind][2]
        rows += [
            (title, f"{metrics[key]:.3f}")
            for key, title in titles.items()
            if key in metrics
        ]
        return f"{_table(rows)}\n\nAverage precision by COCO's rules."
    lower, upper = interval(metrics["top1"], count)
    rows += [
        ("Top-1", f"{metrics['top1']:.2%} ({lower:.2%} to {upper:.2%})"),
        ("Top-5", f"{metrics['top5']:.2%}"),
        ("Cross-entropy", f"{metrics['loss']:.4f} nats"),
    ]
    return (
        f"{_table(rows)}\n\nThe interval is Wilson's of 95 %: what so many "
        "images can tell. It knows nothing of other seeds."
    )


def _training(metrics, config):
    from eca_keras.training.classification.config import TrainConfig
    from eca_keras.training.detection.config import DetectConfig

    default = TrainConfig() if "model" in config else DetectConfig()
    best = ordinal(metrics["best_epoch"])
    count = metrics["replicas"]
    devices = f"{count} device{'s' * (count > 1)}"
    rows = [
        ("Epochs", f"{metrics['epochs']}, the {best} kept"),
        ("Time", f"{metrics['seconds']:,.0f} s on {devices}"),
        ("eca-keras", __version__),
    ]
    always = ("recipe", "data", "seed")
    rows += [
        (f"`{name}`", f"`{value}`")
        for name, value in config.items()
        if name in always
        or (name != "output" and value != _as_json(default, name))
    ]
    return _table(rows)


def _as_json(config, name):
    value = getattr(config, name, None)
    return list(value) if isinstance(value, tuple) else value


def ordinal(number: int) -> str:
    """Return the name of a place: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    teens = number // 10 % 10 == 1
    ends = {} if teens else {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{ends.get(number % 10, 'th')}"


def _exports(folder):
    """Rows for the files whose reports are beside them."""
    lines = []
    # That of a SavedModel is in the folder itself.
    reports = [
        *folder.glob("*.json"),
        *folder.glob("*/assets.extra/report.json"),
    ]
    for path in sorted(reports):
        report = _read(path)
        if isinstance(report, dict) and (agreement := _agreement(report)):
            lines.append(
                f"| `{report['path']}` | {report['format']} | "
                f"{report['size'] / 1e6:.2f} | {agreement} |"
            )
    if not lines:
        return ""
    head = (
        "| file | format | MB | beside the Keras model |\n|---|---|---|---|\n"
    )
    return head + "\n".join(lines)


def _agreement(report):
    """What the report of an export says; `None` for another file."""
    error = report.get("max_absolute_error", report.get("largest_difference"))
    if error is not None:
        return (
            f"max absolute error {error:.1e}, top-1 agreement "
            f"{report['top1_agreement']:.1%} of {report['samples']}"
        )
    if "detections" not in report:
        return None
    return f"{report['agreement']:.1%} of {report['detections']} detections"
