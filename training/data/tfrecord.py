"""Random access to the records of TFRecord files.

TensorFlow reads such files from the start only. A record is 8 bytes of
length, 4 of checksum, the data and 4 of checksum, so that its place can be
found without reading the data.
"""

import concurrent.futures
import os
import struct

import numpy as np

from eca_keras.errors import InputError

HEADER, FOOTER = 12, 4

# Files that are indexed at the same time; most of it is waiting.
THREADS = 16


class Records:
    """The records of several files, one after the other.

    Files are opened for each record: a large set has more of them than a
    process may hold open, and batches are random.
    """

    def __init__(self, parts):
        """Read the lengths of all records.

        Args:
            parts: List of `(path, skip, take)`: `take` records after the
                first `skip` of a file.

        Raises:
            InputError: if a file is missing or ends too early.
        """
        self.paths = [path for path, _, _ in parts]
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            places = list(pool.map(lambda part: _index(*part), parts))
        counts = [len(place) for place in places]
        self._files = np.repeat(np.arange(len(parts)), counts)
        self._places = np.concatenate([np.zeros((0, 2), "int64"), *places])

    def __len__(self):
        return len(self._places)

    def read(self, indices):
        """Return the data of records, an object array of `bytes`.

        Args:
            indices: Array of integers.
        """
        contents = [self._read_one(int(index)) for index in indices]
        return np.array(contents, object)

    def _read_one(self, index):
        path = self.paths[self._files[index]]
        offset, length = self._places[index].tolist()
        file = os.open(path, os.O_RDONLY)
        try:
            content = os.pread(file, length, offset)
        finally:
            os.close(file)
        if len(content) < length:
            raise InputError(f"{path} has become shorter")
        return content


def _index(path, skip, take):
    """Return offset and length of the data of each record, `(take, 2)`."""
    places = np.empty((take, 2), "int64")
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        end = os.fstat(file).st_size
        offset = 0
        for record in range(skip + take):
            header = os.pread(file, 8, offset)
            length = struct.unpack("<Q", header)[0] if len(header) == 8 else 0
            after = offset + HEADER + length + FOOTER
            if after > end:
                raise InputError(
                    f"{path} is cut off or damaged: record {record} of "
                    f"{skip + take} would end at byte {after} of {end}"
                )
            if record >= skip:
                places[record - skip] = offset + HEADER, length
            offset = after
    finally:
        os.close(file)
    return places
