"""What a run writes while it goes on: models, history, logs."""

import contextlib
import csv
import pathlib
import shutil

import keras
import tensorflow as tf

from eca_keras.atomic import staged_files


class Results:
    """The files that every epoch changes, none of them ever half written.

    Args:
        folder: The folder of the run.

    Attributes:
        rows: One dictionary per epoch, what `history.csv` holds.
        best: Validation top-1 and negative loss of the best epoch.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.rows = []
        self.best = None
        self._writers = {}

    def add(self, row, model):
        """Adds an epoch.

        The best has the highest validation top-1, and of those that share it
        the lowest validation loss: a small validation split has many ties.

        Args:
            row: Figures of the epoch; `val_` marks those of validation.
            model: The model after it, for `last.keras`, and for `model.keras`
                if it is the best.
        """
        last = self.folder / "last.keras"
        with staged_files(last) as [partial], _not_synchronized(model):
            model.save(partial)
        score = (row["val_top1"], -row["val_loss"])
        if self.best is None or score > tuple(self.best):
            self.best = score
            with staged_files(self.folder / "model.keras") as [partial]:
                shutil.copyfile(last, partial)
        self.rows.append(row)
        self._write_history()
        self._write_tensorboard(row)

    def _write_history(self):
        with (
            staged_files(self.folder / "history.csv") as [partial],
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def _write_tensorboard(self, row):
        parts = {"train": {}, "validation": {}}
        for name, value in row.items():
            part = "validation" if name.startswith("val_") else "train"
            parts[part][name.removeprefix("val_")] = value
        for part, values in parts.items():
            if part not in self._writers:
                folder = str(self.folder / "tensorboard" / part)
                self._writers[part] = tf.summary.create_file_writer(folder)
            with self._writers[part].as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=row["epoch"])
            self._writers[part].flush()


@contextlib.contextmanager
def _not_synchronized(model):
    """The synchronization of BatchNormalization is not part of a model.

    Other backends than TensorFlow could not load it.
    """
    layers = [
        layer for layer in model.layers if getattr(layer, "synchronized", False)
    ]
    for layer in layers:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = True


def synchronize(model):
    """Lets BatchNormalization see the images of all replicas."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
