"""Runs the pickles of `torch.save` without PyTorch and without their code.

A pickle is a program that may call whatever it names. The ones of state dicts
name a handful of things, the entries of `_Unpickler._allowed`; what names
anything else is refused before it is called. The numbers of the tensors are
not in the pickle: a reader of the container fetches them later.
"""

import collections
import math
import pickle
import pickletools
import typing

import ml_dtypes
import numpy as np

from eca_keras.utils.checks import shown
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Tensor

_DTYPES = {
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "BoolStorage": np.dtype("bool"),
    "ByteStorage": np.dtype("uint8"),
    "CharStorage": np.dtype("int8"),
    "DoubleStorage": np.dtype("float64"),
    "FloatStorage": np.dtype("float32"),
    "HalfStorage": np.dtype("float16"),
    "IntStorage": np.dtype("int32"),
    "LongStorage": np.dtype("int64"),
    "ShortStorage": np.dtype("int16"),
}


class Storage(typing.NamedTuple):
    """A run of numbers in the file, which tensors are views of."""

    key: str
    dtype: np.dtype
    size: int  # in elements

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize


def load(file, read_storage=None, storages=None):
    """Return the object of the pickle at the position of `file`.

    Args:
        file: Seekable binary file, left at the end of the pickle.
        read_storage: Callable that maps a `Storage` to its bytes; `None` for
            a pickle without tensors.
        storages: Dictionary that receives each `Storage` under its key.

    Returns:
        The object, with a `Tensor` for each tensor.

    Raises:
        CheckpointError: if the pickle is damaged or holds more than tensors.
    """
    start = file.tell()
    try:
        _check_memo(file)
        file.seek(start)
        return _Unpickler(file, read_storage, storages).load()
    except CheckpointError:
        raise
    # What a damaged pickle raises depends on the byte that is wrong.
    except Exception as error:
        raise CheckpointError(
            f"it is truncated or damaged ({type(error).__name__}: "
            f"{shown(str(error))}). Download it again."
        ) from None


def _check_memo(file):
    """Refuse numbers that would make the unpickler allocate without end."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name.endswith("PUT") and argument > count:
            raise CheckpointError("its pickle is not one of torch.save.")


class _Function:
    """What a pickle may call and cannot change, as it could a function."""

    __slots__ = ("_function",)

    def __init__(self, function):
        self._function = function

    def __call__(self, *args):
        return self._function(*args)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, read_storage, storages):
        # Python 2 wrote strings that are UTF-8 to PyTorch.
        super().__init__(file, encoding="utf-8")
        self._read_storage = read_storage
        self._storages = {} if storages is None else storages
        self._allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _Function(self._tensor),
            ("torch._utils", "_rebuild_parameter"): _Function(
                lambda tensor, *_: tensor
            ),
        }

    def find_class(self, module, name):
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) not in self._allowed:
            raise CheckpointError(
                "it holds more than tensors: it asks for "
                f"{shown(f'{module}.{name}')}, which was not run. Save the "
                "weights alone, torch.save(model.state_dict(), path), and "
                "load that file."
            )
        return self._allowed[module, name]

    def persistent_load(self, pid):
        # A sixth entry, a view inside a storage, was last written in 2017.
        kind, dtype, key, _, size, *view = pid
        if kind != "storage" or any(view) or _is_not_size(size):
            raise CheckpointError("its storages are of an unknown kind.")
        storage = Storage(str(key), _DTYPES[dtype], size)
        if self._storages.setdefault(storage.key, storage) != storage:
            raise CheckpointError("its storages contradict each other.")
        return storage

    def _tensor(self, storage, offset, shape, strides, *_):
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(map(_is_not_size, numbers)):
            raise CheckpointError("a tensor in it has an impossible shape.")
        last = offset + sum(
            (size - 1) * stride
            for size, stride in zip(shape, strides, strict=True)
        )
        # The second condition: a stride of 0 could claim any size.
        if 0 not in shape and (
            last >= storage.size or math.prod(shape) > storage.size
        ):
            raise CheckpointError("a tensor in it is larger than its storage.")
        read_storage = self._read_storage

        def read():
            data = read_storage(storage)
            values = np.frombuffer(data, storage.dtype, storage.size)
            return np.lib.stride_tricks.as_strided(
                values[offset:],
                shape,
                [stride * storage.dtype.itemsize for stride in strides],
                writeable=False,
            )

        return Tensor(tuple(shape), read)


def _is_not_size(value):
    return type(value) is not int or value < 0
