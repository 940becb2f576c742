"""What happens at the end of an epoch."""

import csv
import pathlib
import shutil
import time

import keras

from eca_keras.atomic import staged_files


class SaveModels(keras.callbacks.Callback):
    """Keeps the last model and the best one, never half written.

    The best has the highest validation top-1, and of those that share it the
    lowest validation loss: a small validation split has many ties.

    Args:
        folder: Where `last.keras` and `model.keras` (the best) go.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.best = None

    def on_epoch_end(self, epoch, logs=None):
        with staged_files(self.folder / "last.keras") as [partial]:
            self.model.save(partial)
        score = (logs["val_top1"], -logs["val_loss"])
        if self.best is None or score > self.best:
            self.best = score
            with staged_files(self.folder / "model.keras") as [partial]:
                shutil.copyfile(self.folder / "last.keras", partial)


class History(keras.callbacks.Callback):
    """Writes one row of `history.csv` per epoch, and every one at once."""

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(
                keras.ops.convert_to_numpy(optimizer.learning_rate)
            ),
            **logs,
            "seconds": round(time.monotonic() - self.started, 2),
        }
        self.rows.append(row)
        with (
            staged_files(self.path) as [partial],
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(self.rows)
