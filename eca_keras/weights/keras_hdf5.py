"""Looks through an HDF5 file before anything in it is read.

HDF5 can keep numbers in other files, make them up of other files, unpack them
with plug-ins, and say that there are more of them than it has. A file of
Keras does none of this: it is groups in groups, and arrays of numbers.
"""

import contextlib
import dataclasses
import math
import os

import h5py

from eca_keras.utils.checks import shown
from eca_keras.weights import keras_bounds as bounds
from eca_keras.weights import keras_strings
from eca_keras.weights.keras_bounds import Refused
from eca_keras.weights.tensors import CheckpointError

_OPTIMIZER = "optimizer"


@dataclasses.dataclass(frozen=True)
class Tree:
    """What an HDF5 file holds.

    Attributes:
        shapes: Shape of each dataset, by its path.
        names: Name of the layer whose variables a group holds, by the path
            of the group; older versions of Keras did not write it.
        config: `model_config` of a whole model in the older format, bytes.
        numbers: How many there are in all datasets.
    """

    shapes: dict[str, tuple[int, ...]]
    names: dict[str, str]
    config: bytes | None
    numbers: int

    @property
    def legacy(self):
        """Whether it is in the format before Keras 3."""
        return not any("vars" in path.split("/") for path in self.shapes)


@contextlib.contextmanager
def open_file(path):
    """Open an HDF5 file and yield it with its `Tree`.

    Raises:
        Refused: if it holds more than arrays of numbers.
        CheckpointError: if it is damaged.
    """
    keras_strings.check(path)
    try:
        with h5py.File(path, "r") as file:
            yield file, _Look(os.path.getsize(path)).at(file)
    except CheckpointError:
        raise
    # What h5py raises depends on the byte that is wrong.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = shown(" ".join(str(error).split()))
        raise CheckpointError(
            f"it holds a truncated or damaged HDF5 file ({reason})"
        ) from None


class _Look:
    def __init__(self, size):
        self.size = size
        self.room = size + bounds.HDF5_SLACK
        self.seen = set()
        self.shapes, self.names = {}, {}
        self.numbers = 0

    def at(self, file):
        self._once(file, "/")
        self._group(file, "", 0)
        config = None
        if "model_config" in file.attrs:
            config = _string(file, "model_config", "/").encode()
        return Tree(self.shapes, self.names, config, self.numbers)

    def _group(self, group, path, depth):
        if depth > bounds.HDF5_DEPTH:
            raise Refused("its HDF5 groups are nested too deeply")
        if "name" in group.attrs:
            self.names[path.removesuffix("/vars")] = _string(
                group, "name", path
            )
        if len(self.seen) + len(group) > bounds.HDF5_OBJECTS:
            raise Refused("its HDF5 file has too many objects")
        for name in group:
            place = f"{path}/{name}" if path else name
            link = group.id.links.get_info(os.fsencode(name)).type
            if link != h5py.h5l.TYPE_HARD:
                kinds = {
                    h5py.h5l.TYPE_SOFT: "a soft link",
                    h5py.h5l.TYPE_EXTERNAL: "a link to another file",
                }
                kind = kinds.get(link, "a link of an unknown kind")
                raise Refused(f"it has {kind} in HDF5, at {shown(place)}")
            member = group[name]
            self._once(member, place)
            if isinstance(member, h5py.Group):
                self._group(member, place, depth + 1)
            else:
                self._dataset(member, place)

    def _once(self, member, place):
        info = h5py.h5o.get_info(member.id)
        if (info.fileno, info.addr) in self.seen:
            raise Refused(f"it has a second hard link in HDF5, {shown(place)}")
        self.seen.add((info.fileno, info.addr))

    def _dataset(self, data, place):
        where = f"in HDF5, at {shown(place)}"
        if not isinstance(data, h5py.Dataset):
            raise Refused(f"it has what is neither group nor array {where}")
        if data.external:
            raise Refused(f"it has an array that is in another file {where}")
        if data.is_virtual:
            raise Refused(f"it has a virtual array {where}")
        if data.id.get_create_plist().get_nfilters():
            raise Refused(
                f"it has a compressed or filtered array, as Keras never writes "
                f"them, {where}"
            )
        dtype = data.dtype
        plain = dtype.kind in "fiub" and dtype.itemsize <= 16
        half = dtype.kind == "V" and dtype.itemsize <= 2  # bfloat16, float8
        if dtype.fields or dtype.subdtype or not (plain or half):
            raise Refused(
                f"it has an array of {shown(dtype)} and not of numbers {where}"
            )
        if data.shape is None:
            raise Refused(f"it has an array without a shape {where}")
        count = math.prod(data.shape)
        self.room -= dtype.itemsize * max(count, math.prod(data.chunks or (0,)))
        if self.room < 0:
            raise Refused(
                f"it has an array of shape {data.shape} {where}, more numbers "
                f"than are in its {self.size} bytes"
            )
        if "dtype" in data.attrs:
            _string(data, "dtype", place)
        self.shapes[place] = tuple(data.shape)
        if place.partition("/")[0] not in (_OPTIMIZER, "optimizer_weights"):
            self.numbers += count


def _string(owner, name, place):
    """Return an attribute that is one string."""
    attribute = h5py.h5a.open(owner.id, name.encode())
    if attribute.shape != () or not isinstance(
        attribute.get_type(), h5py.h5t.TypeStringID
    ):
        raise Refused(
            f"its HDF5 attribute {name} is not one string, at {shown(place)}"
        )
    value = owner.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)
