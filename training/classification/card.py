"""The model card of a run: what was trained, on what, how well it does.

Every figure is read from the files of the run or counted from its model; a
card says nothing that was not measured. Its head has the metadata of the
Hugging Face hub, see https://huggingface.co/docs/hub/model-cards.
"""

import json
import math
import pathlib

from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.profiling.counts import profile
from eca_keras.training.config import TrainConfig
from eca_keras.training.trained import Trained
from eca_keras.utils.keras_graph import kernel_sizes
from eca_keras.version import __version__

# Of the normal distribution, for intervals of 95 %.
Z = 1.959964

USE = """\
```py
import keras
import eca_keras  # registers the layers

model = keras.models.load_model("model.keras")
images = ...  # float32, of shape {shape}, pixels from 0 to 255
probabilities = model.predict(images)
```

From the command line: `eca-keras predict picture.png --model FOLDER`, which
resizes and crops the picture as the images above were. `preprocessing.json`
says how, and has the names of the classes."""


def model_card(folder):
    """Returns the text of the model card of a run.

    Args:
        folder: What `eca-keras train` wrote, with its `metrics.json`.

    Raises:
        InputError: if a file of the run is missing or damaged.
        ImportError: if huggingface_hub is not installed.
    """
    require("convert", "A model card", "huggingface_hub")
    folder = pathlib.Path(folder)
    trained = Trained.load(folder)
    folder = trained.folder
    metrics = _read(folder / "metrics.json")
    config = _read(folder / "config.json")
    name = f"{metrics['model']} on {config['data']}"
    parts = [
        _metadata(name, metrics, config),
        f"# {name}",
        _network(trained, config),
        "## Results",
        _results(metrics),
        "## Training",
        _training(metrics, config),
    ]
    if (folder / "curves.png").exists():
        parts.append("![loss, accuracy and learning rate](curves.png)")
    if exports := _exports(folder):
        parts += ["## Exported files", exports]
    shape = ("batch", *trained.model.input_shape[1:])
    parts += [
        "## Use",
        USE.format(shape=f"({', '.join(map(str, shape))})"),
        "## Limits",
        f"The figures are for the {metrics['evaluated_on']} images of "
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


def _metadata(name, metrics, config):
    from huggingface_hub import EvalResult
    from huggingface_hub import ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=config["data"],
            dataset_name=config["data"],
            dataset_split=metrics["evaluated_on"],
            metric_type="accuracy",
            metric_name=title,
            metric_value=metrics[key],
        )
        for key, title in (("top1", "Top-1"), ("top5", "Top-5"))
    ]
    data = ModelCardData(
        model_name=name,
        library_name="keras",
        pipeline_tag="image-classification",
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
    kernels = kernel_sizes(model)
    attention = config["attention"]
    if kernels:
        sizes = ", ".join(map(str, kernels))
        attention = f"{attention}, kernel sizes {sizes}"
    size, channels = trained.preprocessing.image_size, model.input_shape[-1]
    kind = "grey" if channels == 1 else "colour"
    labels = trained.preprocessing.labels
    shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
    return _table(
        [
            ("Attention", attention),
            (
                "Trainable parameters",
                f"{counted.trainable_parameters:,}, of them "
                f"{counted.attention_parameters:,} of attention",
            ),
            ("Multiply-accumulates of an image", f"{counted.macs:,}"),
            ("Input", f"{kind} images of {size} x {size}, pixels 0 to 255"),
            ("Output", f"probabilities of {len(labels)} classes: {shown}"),
        ]
    )


def interval(share, count):
    """Wilson's interval of 95 % for a share that was seen in `count` cases.

    Wilson, Probable Inference, the Law of Succession, and Statistical
    Inference, JASA 22 (1927).
    """
    spread = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    middle, scale = share + Z**2 / (2 * count), 1 + Z**2 / count
    return (middle - spread) / scale, (middle + spread) / scale


def _results(metrics):
    count = metrics["images"]
    lower, upper = interval(metrics["top1"], count)
    table = _table(
        [
            ("Measured on", f"{count:,} {metrics['evaluated_on']} images"),
            ("Top-1", f"{metrics['top1']:.2%} ({lower:.2%} to {upper:.2%})"),
            ("Top-5", f"{metrics['top5']:.2%}"),
            ("Cross-entropy", f"{metrics['loss']:.4f} nats"),
        ]
    )
    return (
        f"{table}\n\nThe interval is Wilson's of 95 %: what so many images can "
        "tell. It knows nothing of other seeds."
    )


def _training(metrics, config):
    default = TrainConfig()
    best = ordinal(metrics["best_epoch"])
    rows = [
        ("Epochs", f"{metrics['epochs']}, the {best} kept"),
        ("Time", f"{metrics['seconds']:,.0f} s on {_devices(metrics)}"),
        ("eca-keras", __version__),
    ]
    rows += [
        (f"`{key}`", f"`{value}`")
        for key, value in config.items()
        if key in ("recipe", "data", "seed")
        or (key != "output" and value != getattr(default, key, None))
    ]
    return _table(rows)


def ordinal(number):
    """Returns the name of a place: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    teens = number // 10 % 10 == 1
    ends = {} if teens else {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{ends.get(number % 10, 'th')}"


def _devices(metrics):
    count = metrics["replicas"]
    return "1 device" if count == 1 else f"{count} devices"


def _exports(folder):
    """Rows for the files whose reports lie beside them."""
    lines = []
    # That of a SavedModel is in the folder itself.
    reports = [
        *folder.glob("*.json"),
        *folder.glob("*/assets.extra/report.json"),
    ]
    for path in sorted(reports):
        report = _read(path)
        if not isinstance(report, dict) or "largest_difference" not in report:
            continue
        lines.append(
            f"| `{report['path']}` | {report['format']} | "
            f"{report['size'] / 1e6:.2f} | "
            f"{report['largest_difference']:.1e} | "
            f"{report['top1_agreement']:.1%} of {report['samples']} |"
        )
    if not lines:
        return ""
    head = "| file | format | MB | largest difference | top-1 agreement |\n"
    return head + "|---|---|---|---|---|\n" + "\n".join(lines)
