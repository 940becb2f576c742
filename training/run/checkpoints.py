"""What a run needs to be resumed, safe on disk."""

import json
import pathlib
import re
import struct
import zipfile

import numpy as np

from eca_keras.utils.files import remove_leftovers
from eca_keras.utils.files import staged_files

# What reading a torn or altered archive raises.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
)

# Name of the array that holds the state, as JSON.
STATE = "facts.json"


class Checkpoints:
    """The newest checkpoints of a run, one file each.

    A file is a NumPy archive, whose arrays carry checksums. It appears under
    its name complete, and only then do older ones go.

    Args:
        folder: Where the files `step-NNNNNNNNN.npz` go.
        keep: How many to keep: more than one, since a disk can damage the
            newest.
    """

    def __init__(self, folder, keep=2):
        self.folder = pathlib.Path(folder)
        self.keep = keep

    def paths(self):
        """Return the checkpoints that exist, the newest first."""
        named = re.compile(r"step-\d{9}\.npz")
        found = [p for p in self.folder.glob("*.npz") if named.match(p.name)]
        return sorted(found, reverse=True)

    def save(self, step, arrays, state):
        """Write a checkpoint and return its path.

        Args:
            step: Number of steps that were trained.
            arrays: List of NumPy arrays.
            state: Dictionary that JSON can hold.
        """
        named = {f"array-{i:05}": array for i, array in enumerate(arrays)}
        named[STATE] = np.frombuffer(json.dumps(state).encode(), "uint8")
        path = self.folder / f"step-{step:09}.npz"
        with (
            staged_files(path, durable=True) as [partial],
            open(partial, "wb") as file,
        ):
            np.savez(file, **named)
        for older in self.paths()[self.keep :]:
            older.unlink()
        return path

    def load(self):
        """Read the newest checkpoint that is whole.

        Returns:
            The arrays and the state, and a list of sentences about damaged
            checkpoints; `None, None` where no checkpoint is whole.
        """
        remove_leftovers(self.folder)
        notes = []
        for path in self.paths():
            try:
                return *_read(path), notes
            except _DAMAGE as error:
                notes.append(f"{path} is damaged and was passed over: {error}")
        return None, None, notes


def _read(path):
    # NumPy leaves a file open that it opened and cannot read.
    with open(path, "rb") as file, np.load(file) as archive:
        state = json.loads(archive[STATE].tobytes())
        names = sorted(set(archive.files) - {STATE})
        return [archive[name] for name in names], state
