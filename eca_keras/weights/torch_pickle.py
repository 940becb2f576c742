"""Reads the pickles of `torch.save` without PyTorch and without their code.

A pickle is a program for a stack machine that may import and call whatever it
names. The machine here has no way to do either: a name stays a name
(`Opaque`), and a call of anything but the few functions in `torch_tensors`
gives another `Opaque`, which holds nothing. What a training script saves
beside the weights, such as its arguments, is skipped so.
"""

import os
import pickletools
import typing

from eca_keras.utils.checks import shown
from eca_keras.weights import torch_tensors
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Opaque
from eca_keras.weights.torch_tensors import Storage

# An operation may make an object of about 100 bytes. The pickle of a
# training of ECAResNet269D with AdamW and an EMA has 0.2 million.
MAX_OPERATIONS = 2**22
MAX_BYTES = 2**27
# Longer strings are the numbers of arrays, as protocol 2 writes them.
MAX_NAME = 2**16

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("FLOAT", "BINFLOAT"),
)
_STRINGS = (
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
)
_SKIPPED = {
    "BINBYTES": "bytes",
    "SHORT_BINBYTES": "bytes",
    "BINBYTES8": "bytes",
    "BYTEARRAY8": "bytearray",
    "NEXT_BUFFER": "buffer",
    "EMPTY_SET": "set",
    "PERSID": "persistent id",
    "EXT1": "extension",
    "EXT2": "extension",
    "EXT4": "extension",
}


def load(
    file: typing.BinaryIO,
    read_storage: typing.Callable[[Storage], bytes] | None = None,
    storages: dict[str, Storage] | None = None,
) -> typing.Any:
    """Return the object of the pickle at the position of `file`.

    Args:
        file: Seekable binary file, left at the end of the pickle.
        read_storage: Callable that maps a `Storage` to its bytes; `None` for
            a pickle without tensors.
        storages: Dictionary that receives each `Storage` under its key.

    Returns:
        The object, with a `Tensor` for each tensor and an `Opaque` for what
        is no tensor, number, string, list, tuple or dictionary. Of a
        dictionary only the entries are kept whose keys are strings.

    Raises:
        CheckpointError: if the pickle is damaged or far larger than those of
            checkpoints.
    """
    tensors = torch_tensors.Builder(read_storage, storages)
    try:
        return _Machine(tensors).run(_Bounded(file))
    except CheckpointError:
        raise
    # What a damaged pickle raises depends on the byte that is wrong.
    except Exception as error:
        raise CheckpointError(
            f"it is truncated or damaged ({type(error).__name__}: "
            f"{shown(str(error))}). Download it again."
        ) from None


class _Bounded:
    """The file for `pickletools`: no more than `MAX_BYTES` in all."""

    def __init__(self, file):
        self._file = file
        self._left = MAX_BYTES
        self.tell = file.tell
        start = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(start)

    def read(self, size):
        # A file object makes room for as much as it is asked for.
        size = min(size, self._left, self._end - self.tell())
        return self._counted(self._file.read(size))

    def readline(self):
        return self._counted(self._file.readline(self._left))

    def _counted(self, data):
        self._left -= len(data)
        if not self._left:
            raise too_large()
        return data


def too_large() -> CheckpointError:
    """Return the error for a pickle that no checkpoint needs."""
    return CheckpointError("its pickle is too large for one of torch.save.")


class _Machine:
    """The stack machine of pickles, less its power to import and call."""

    def __init__(self, tensors):
        self._tensors = tensors
        self._stack = []
        self._marked = []  # the stacks below the marks
        self._memo = {}
        self._left = MAX_OPERATIONS

    def run(self, file):
        steps = self._steps()
        for opcode, argument, _ in pickletools.genops(file):
            self._spend(1)
            steps[opcode.name](argument)
        return self._stack.pop()

    def _spend(self, count):
        self._left -= count
        if self._left < 0:
            raise too_large()

    def _steps(self):
        """Return what each operation does: a callable of its argument."""
        push = self._push
        steps = dict.fromkeys(_NUMBERS, push)
        steps |= dict.fromkeys(_STRINGS, self._string)
        for name, value in _CONSTANTS.items():
            steps[name] = lambda _, value=value: push(value)
        for name, kind in _SKIPPED.items():
            steps[name] = lambda _, kind=kind: push(Opaque(kind))
        for name in ("PROTO", "FRAME", "STOP", "READONLY_BUFFER"):
            steps[name] = lambda _: None
        for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            steps[name] = self._put
        for name in ("GET", "BINGET", "LONG_BINGET"):
            steps[name] = lambda index: push(self._memo[index])
        for count in (1, 2, 3):
            steps[f"TUPLE{count}"] = lambda _, n=count: push(self._tuple(n))
        return steps | {
            "POP": self._pop,
            "DUP": lambda _: push(self._stack[-1]),
            "MARK": self._mark,
            "POP_MARK": lambda _: self._items(),
            "EMPTY_TUPLE": lambda _: push(()),
            "EMPTY_LIST": lambda _: push([]),
            "EMPTY_DICT": lambda _: push({}),
            "TUPLE": lambda _: push(tuple(self._items())),
            "LIST": lambda _: push(self._items()),
            "DICT": lambda _: self._dictionary(self._items()),
            "FROZENSET": lambda _: self._replace_items("frozenset"),
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._items()),
            "SETITEM": lambda _: self._set_items(self._tuple(2)),
            "SETITEMS": lambda _: self._set_items(self._items()),
            "ADDITEMS": lambda _: self._items(),
            "BUILD": self._pop,
            "GLOBAL": lambda name: push(Opaque(name.replace(" ", "."))),
            "STACK_GLOBAL": self._stack_global,
            "REDUCE": lambda _: push(self._called(*self._tuple(2))),
            "NEWOBJ": lambda _: push(self._called(*self._tuple(2))),
            "NEWOBJ_EX": lambda _: push(self._called(*self._tuple(3)[:2])),
            "INST": self._inst,
            "OBJ": self._obj,
            "BINPERSID": lambda _: push(
                self._tensors.storage(self._stack.pop())
            ),
        }

    def _push(self, value):
        self._stack.append(value)

    def _pop(self, _):
        # At a mark it is the mark that goes.
        if self._stack or not self._marked:
            self._stack.pop()
        else:
            self._items()

    def _string(self, text):
        self._push(text if len(text) <= MAX_NAME else Opaque("str"))

    def _put(self, index):
        if index is None:  # MEMOIZE: the next one
            index = len(self._memo)
        # What would make other unpicklers allocate without end.
        if index > MAX_OPERATIONS - self._left:
            raise CheckpointError("its pickle is not one of torch.save.")
        self._memo[index] = self._stack[-1]

    def _tuple(self, count):
        items = tuple(self._stack[len(self._stack) - count :])
        if len(items) != count:
            raise IndexError("the stack is empty")
        del self._stack[-count:]
        return items

    def _mark(self, _):
        self._marked.append(self._stack)
        self._stack = []

    def _items(self):
        """Return what is above the last mark, and take both away."""
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _replace_items(self, name):
        self._items()
        self._push(Opaque(name))

    def _dictionary(self, items):
        self._push({})
        self._set_items(items)

    def _append(self, items):
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _set_items(self, items):
        target = self._stack[-1]
        if isinstance(target, dict):
            # Other keys need hashing, of depths that a pickle may choose.
            for key, value in zip(items[::2], items[1::2], strict=True):
                if type(key) is str:
                    target[key] = value

    def _stack_global(self, _):
        module, name = self._tuple(2)
        if type(module) is not str or type(name) is not str:
            raise TypeError("the name of a class is no string")
        self._push(Opaque(f"{module}.{name}"))

    def _inst(self, name):
        arguments = tuple(self._items())
        self._push(self._called(Opaque(name.replace(" ", ".")), arguments))

    def _obj(self, _):
        kind, *arguments = self._items()
        self._push(self._called(kind, tuple(arguments)))

    def _called(self, function, arguments):
        name = function.name if isinstance(function, Opaque) else "a call"
        if type(arguments) is not tuple:
            return Opaque(name)
        if name in torch_tensors.MAPPINGS:
            return self._mapping(arguments)
        return self._tensors.call(name, arguments)

    def _mapping(self, arguments):
        """Return a dictionary: empty, or of the pairs that Python 2 wrote."""
        pairs = arguments[0] if len(arguments) == 1 else ()
        if not isinstance(pairs, (list, tuple)):
            return {}
        self._spend(len(pairs))  # the same list may be copied many times
        return {
            pair[0]: pair[1]
            for pair in pairs
            if isinstance(pair, (list, tuple))
            and len(pair) == 2
            and type(pair[0]) is str
        }
