"""The tensors of a pickle of `torch.save`: views of storages in the file."""

import math
import typing

import ml_dtypes
import numpy as np

from eca_keras.utils.checks import shown
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Opaque
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
    "UntypedStorage": np.dtype("uint8"),
    # No weights: they are measured to find what comes after them.
    "ComplexFloatStorage": np.dtype("V8"),
    "ComplexDoubleStorage": np.dtype("V16"),
    "QInt8Storage": np.dtype("V1"),
    "QUInt8Storage": np.dtype("V1"),
    "QInt32Storage": np.dtype("V4"),
    "QUInt4x2Storage": np.dtype("V1"),
    "QUInt2x4Storage": np.dtype("V1"),
}
# Those without a storage class of their own.
_NEW_DTYPES = {
    "torch.uint16": np.dtype("uint16"),
    "torch.uint32": np.dtype("uint32"),
    "torch.uint64": np.dtype("uint64"),
    "torch.float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "torch.float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_STORAGE_MODULES = ("torch", "torch.storage", "torch.cuda")

MAPPINGS = (
    "collections.OrderedDict",
    "collections.defaultdict",
    "builtins.dict",
    "__builtin__.dict",
)
# Other subclasses may hold codes for the numbers, as bitsandbytes's do.
_PLAIN_TENSORS = (
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
)

_OF_TYPE = "torch._tensor._rebuild_from_type_v2"
_REBUILDERS = (
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
)
MAX_RANK = 64  # PyTorch's own


class Storage(typing.NamedTuple):
    """A run of numbers in the file, which tensors are views of."""

    key: str
    dtype: np.dtype
    size: int  # in elements

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


class Builder:
    """Makes `Storage` and `Tensor` of what a pickle says about them.

    Args:
        read_storage: Callable that maps a `Storage` to its bytes.
        storages: Dictionary that receives each `Storage` under its key.
    """

    def __init__(
        self,
        read_storage: typing.Callable[[Storage], bytes] | None,
        storages: dict[str, Storage] | None,
    ):
        self._read = read_storage
        self._storages = {} if storages is None else storages

    def storage(self, pid: typing.Any) -> Storage | Opaque:
        """Return the `Storage` of a persistent id, `Opaque` for another."""
        if type(pid) is not tuple or len(pid) not in (5, 6):
            # The older container writes the source of a whole module so.
            kind = pid[1] if type(pid) is tuple and len(pid) == 4 else None
            return kind if type(kind) is Opaque else Opaque("persistent id")
        # A sixth entry, a view inside a storage, was last written in 2017.
        kind, storage_type, key, _, size, *view = pid
        if kind != "storage" or any(each is not None for each in view):
            return Opaque("persistent id")
        module, _, name = getattr(storage_type, "name", "").rpartition(".")
        if module not in _STORAGE_MODULES or name not in _DTYPES:
            return Opaque("persistent id")
        if type(key) not in (str, int) or _is_not_size(size):
            raise CheckpointError("its storages are of an unknown kind.")
        storage = Storage(str(key), _DTYPES[name], size)
        if self._storages.setdefault(storage.key, storage) != storage:
            raise CheckpointError("its storages contradict each other.")
        return storage

    def call(self, name: str, arguments: tuple) -> Tensor | Opaque:
        """Return the tensor that a function of PyTorch would make.

        Args:
            name: The function, with its module.
            arguments: Its arguments.

        Returns:
            `Opaque` if it is another function or makes another tensor.
        """
        if name == _OF_TYPE:
            return self._of_type(arguments)
        if name in (
            "torch._utils._rebuild_parameter",
            "torch._utils._rebuild_parameter_with_state",
        ):
            is_tensor = arguments and isinstance(arguments[0], Tensor)
            return arguments[0] if is_tensor else Opaque(name)
        if name not in _REBUILDERS or len(arguments) < 4:
            return Opaque(name)
        if not isinstance(arguments[0], Storage):
            return Opaque(name)
        return self._tensor(name, *arguments[:8])

    def _of_type(self, arguments):
        function, kind, inner = (*arguments, None, None, None)[:3]
        if type(function) is not Opaque or type(kind) is not Opaque:
            return Opaque(_OF_TYPE)
        # Once is all that PyTorch writes; a pickle may nest without end.
        nested = function.name == _OF_TYPE
        plain = kind.name in _PLAIN_TENSORS and type(inner) is tuple
        if nested or not plain:
            return Opaque(kind.name)
        return self.call(function.name, inner)

    def _tensor(self, name, storage, offset, shape, strides, *others):
        if name.endswith("_v3"):  # its storage has bytes, whatever they are
            dtype = getattr(others[2], "name", "") if len(others) > 2 else ""
            dtype, flags = _NEW_DTYPES.get(dtype), others[3:]
            if dtype is None or storage.dtype != np.uint8:
                return Opaque(name)
            size = storage.size // dtype.itemsize
            storage = storage._replace(dtype=dtype, size=size)
        else:
            flags = others[2:]
        if storage.dtype.name.startswith("void"):
            return Opaque(f"{name} of complex or quantized numbers")
        # The flags say that the numbers are conjugate or negative ones.
        if any(flags):
            return Opaque(name)
        if (
            type(shape) is not tuple
            or type(strides) is not tuple
            or len(shape) != len(strides)
            or len(shape) > MAX_RANK
            or any(map(_is_not_size, (offset, *shape, *strides)))
        ):
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
        read_storage = self._read

        def read():
            data = read_storage(storage)
            if len(data) < storage.nbytes:  # whatever its archive claims
                raise CheckpointError(
                    f"its storage {shown(storage.key)} is too short. Download "
                    "it again."
                )
            values = np.frombuffer(data, storage.dtype, storage.size)
            return np.lib.stride_tricks.as_strided(
                values[offset:],
                shape,
                [stride * storage.dtype.itemsize for stride in strides],
                writeable=False,
            )

        return Tensor(shape, read)


def _is_not_size(value):
    return type(value) is not int or not 0 <= value < 2**63
