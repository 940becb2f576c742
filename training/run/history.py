"""What a run writes while it goes on: models, history, logs."""

import contextlib
import csv
import math
import pathlib
import shutil
import time

import tensorflow as tf

from eca_keras.utils.files import staged_files
from eca_keras.utils.keras_graph import leaves

# Saving a model takes about a second, most of short epochs. It is saved so
# often, when it is the best, and at the end.
SECONDS = 10

# What the names of validation's metrics begin with.
VALIDATION = "val_"


class History:
    """The files that every epoch changes, none of them ever half written.

    Args:
        folder: The folder of the run.
        score: Maps a row to how good its epoch is, see `Task`.

    Attributes:
        rows: One dictionary per epoch, what `history.csv` holds; `None` for
            what was not measured.
        best: Score of the best epoch.
    """

    def __init__(self, folder, score):
        self.folder = pathlib.Path(folder)
        self.score = score
        self.rows = []
        self.best = None
        self._saved = -math.inf
        self._writers = {}

    def add(self, row, model, final=False):
        """Add an epoch.

        Args:
            row: Metrics of the epoch; `val_` marks those of validation.
            model: The model after it, for `last.keras`, and for `model.keras`
                if it is the best.
            final: Whether it is the last one of the run.
        """
        last = self.folder / "last.keras"
        score = self.score(row)
        measured = score is not None
        best = measured and (self.best is None or score > tuple(self.best))
        if best or final or time.monotonic() - self._saved > SECONDS:
            with staged_files(last) as [partial], _not_synchronized(model):
                model.save(partial)
            self._saved = time.monotonic()
        if best:
            self.best = score
            with staged_files(self.folder / "model.keras") as [partial]:
                shutil.copyfile(last, partial)
        self.rows.append(row)
        self._write_history()
        self._write_tensorboard(row)

    @property
    def best_row(self):
        """The row of the epoch in `model.keras`."""
        measured = [row for row in self.rows if self.score(row) is not None]
        return max(measured, key=self.score)

    def _write_history(self):
        with (
            staged_files(self.folder / "history.csv") as [partial],
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def _write_tensorboard(self, row):
        splits = {"train": {}, "validation": {}}
        for name, value in row.items():
            split = "validation" if name.startswith(VALIDATION) else "train"
            splits[split][name.removeprefix(VALIDATION)] = value
        for split, values in splits.items():
            if split not in self._writers:
                folder = str(self.folder / "tensorboard" / split)
                self._writers[split] = tf.summary.create_file_writer(folder)
            with self._writers[split].as_default():
                for name, value in values.items():
                    if value is None:
                        continue
                    tf.summary.scalar(name, value, step=row["epoch"])
            self._writers[split].flush()


@contextlib.contextmanager
def _not_synchronized(model):
    """The synchronization of BatchNormalization is not part of a model.

    Other backends than TensorFlow could not load it.
    """
    layers = [
        layer
        for layer in leaves(model)
        if getattr(layer, "synchronized", False)
    ]
    for layer in layers:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = True
