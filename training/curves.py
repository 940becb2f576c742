"""The picture of a training run."""

import csv
import pathlib

from eca_keras.atomic import staged_files


def write_curves(history, picture):
    """Draws loss, accuracy and learning rate over the epochs.

    Args:
        history: Path of a `history.csv`.
        picture: Path of the PNG to write.
    """
    import matplotlib.figure

    with pathlib.Path(history).open(newline="", encoding="utf-8") as file:
        rows = [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
    epochs = [row["epoch"] for row in rows]
    # A Figure of its own, not pyplot: no display, no global state.
    figure = matplotlib.figure.Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        loss.plot(epochs, [row[name] for row in rows], label=label)
    for name, label in (
        ("top1", "training top-1"),
        ("val_top1", "validation top-1"),
        ("val_top5", "validation top-5"),
    ):
        accuracy.plot(epochs, [100 * row[name] for row in rows], label=label)
    rate.plot(epochs, [row["learning_rate"] for row in rows])
    for axes, title in (
        (loss, "Cross-entropy (nats)"),
        (accuracy, "Accuracy (%)"),
        (rate, "Learning rate"),
    ):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()
    with staged_files(picture) as [partial]:
        figure.savefig(partial, dpi=120, format="png")
