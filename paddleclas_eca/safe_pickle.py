"""Read pickles without running code that they may hold, and without more memory than they merit.

A pickle can call any function of any module, and a few bytes of it can stand for gigabytes. This
reader interprets the opcodes itself. It accepts arrays of numbers, plain containers and plain
values, and refuses everything else.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Callable

import numpy as np

# Far more opcodes and values than the tensors and settings of any checkpoint need, and deeper.
_MOST_OPCODES, _MOST_VALUES = 500_000, 300_000
_DEEPEST = 100
# Enough for the states of random generators.
_MOST_BITS = 256
# What is built may have so many times the bytes of the file, and these.
_FACTOR, _FREE = 4, 2**24
# The state that NumPy pickles with a plain dtype: version, byte order, then nothing of
# sub-arrays, fields, sizes, alignment and flags.
_PLAIN_DTYPE = (None, None, None, -1, -1, 0)


class Refused(pickle.UnpicklingError):
    """A pickle refers to something that it may not refer to.

    Attributes:
        name: its name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"it refers to {name:.100}, which arrays do not need and which could run code"
        )
        self.name = name[:100]


class Budget:
    """How many bytes the values of a file may take: a multiple of its size.

    A pickle can name one array many times, each of which becomes a copy of it later.
    """

    def __init__(self, size: int) -> None:
        self._left = _FACTOR * size + _FREE

    def spend(self, size: int) -> None:
        """Note that so many bytes are about to be copied; raises UnpicklingError if too many."""
        self._left -= size
        if self._left < 0:
            raise pickle.UnpicklingError("it stands for much more than it holds")


class Name:
    """A function or class that a pickle refers to.

    Attributes:
        name: its module and name.
        function: what takes its place when it is called, with a :class:`Budget` first; None if it
            may only be referred to.
    """

    def __init__(self, name: str, function: Callable[..., Any] | None) -> None:
        self.name, self.function = name, function


class _Dtype:
    """Replaces ``numpy.dtype`` while a pickle is read.

    NumPy's own takes flags from the pickle that can make it read bytes as addresses.
    """

    def __init__(self, code: Any) -> None:
        # Of texts of any length NumPy makes a record of as many fields.
        self.dtype = np.dtype(code if isinstance(code, str) and len(code) < 8 else object)
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"it holds an array of {_shown(code)}, not of numbers")

    def set_state(self, budget: Budget, state: Any) -> None:
        _, order, *rest = state
        if tuple(rest) != _PLAIN_DTYPE or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it holds an array of a type that is not a plain number")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Replaces ``numpy.ndarray`` while a pickle is read: an array, once it has its state."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def set_state(self, budget: Budget, state: Any) -> None:
        _, shape, dtype, fortran_order, data = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("it holds an array without a type")
        check_sizes(shape)
        data = _latin1(budget, data)
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"it holds an array whose shape {shape} is not its size")
        array = np.ndarray(shape, dtype.dtype, data, order="F" if fortran_order else "C")
        if not array.dtype.isnative:
            budget.spend(array.nbytes)
            array = array.astype(array.dtype.newbyteorder("="))
        self.array = array


def check_sizes(sizes: Any) -> None:
    """Raise UnpicklingError unless ``sizes`` is the shape of an array."""
    if not isinstance(sizes, tuple) or not all(type(n) is int and n >= 0 for n in sizes):
        raise pickle.UnpicklingError("it holds an array whose shape is not one")


def _reconstruct(budget: Budget, array_type: Any, shape: Any, code: Any) -> _Array:
    # What NumPy writes: an empty array of bytes, which gets its state afterwards. Another shape
    # would have NumPy itself allocate it, whatever its size, and leave it unfilled.
    if shape != (0,) or code not in (b"b", "b"):
        raise pickle.UnpicklingError("it makes an array that is not empty in an unknown way")
    return _Array()


def _dtype(budget: Budget, code: Any, *_: Any) -> _Dtype:
    return _Dtype(code)


def _scalar(budget: Budget, dtype: _Dtype, data: Any) -> np.generic:
    return np.frombuffer(_latin1(budget, data), dtype.dtype, 1)[0]


def _encode(budget: Budget, text: str, encoding: str = "latin1") -> bytes:
    # How protocol 2 writes bytes.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes in the encoding {_shown(encoding)}")
    return _latin1(budget, text)


def _latin1(budget: Budget, data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    budget.spend(len(data))
    return data.encode("latin1")


def _tuple(budget: Budget, items: Any = ()) -> tuple:
    # Paddle writes a tensor outside a state dict as (name, array).
    budget.spend(8 * len(items))
    return tuple(items)


def ordered_dict(budget: Budget, items: Any = ()) -> OrderedDict:
    """An ``OrderedDict`` of pairs, or of a dict."""
    pairs = items.items() if isinstance(items, dict) else items
    budget.spend(100 * len(items))
    return OrderedDict(_keyed(pairs))


def _shown(value: Any) -> str:
    """A text for messages; ``repr`` of tuples within tuples could take hours."""
    return repr(value)[:100] if type(value) in (str, bytes, int) else type(value).__name__


def _keyed(pairs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in pairs:
        _check_key(key)
        yield key, value


def _check_key(key: Any) -> None:
    # Others could be made to have all the same hash, and dicts of them take hours.
    plain = key is None or type(key) in (str, bytes, bool, float)
    if not plain and not (type(key) is int and -(2**63) <= key < 2**63):
        raise pickle.UnpicklingError(
            f"it holds a key that is neither text nor a number: {_shown(key)}"
        )


# The names that arrays need. NumPy 2 renamed the module; Python 2 named its built-ins otherwise.
ARRAYS: dict[str, Callable[..., Any] | None] = {
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.ndarray": None,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "builtins.tuple": _tuple,
    "__builtin__.tuple": _tuple,
    "collections.OrderedDict": ordered_dict,
}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Opcodes whose argument is the value.
_LITERALS = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Machine:
    """Interprets a pickle.

    Args:
        budget: how much it may stand for.
        find: the :class:`Name` for a name, or None if the pickle may not refer to it.
        persistent: the value for a persistent id, if there are any.
    """

    def __init__(
        self,
        budget: Budget,
        find: Callable[[str], Name | None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._budget, self._find, self._persistent = budget, find, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """The value of the pickle at the place of ``file``, which is then behind it."""
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number > _MOST_OPCODES:
                raise pickle.UnpicklingError(f"it has more than {_MOST_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        if len(self._stack) != 1:
            raise pickle.UnpicklingError("it holds values that are in no other")
        return self._stack[0]

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in _LITERALS:
            if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
                raise pickle.UnpicklingError("it holds a number of too many digits")
            stack.append(argument)
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif opcode == "MARK":
            self._marks.append(len(stack))
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode == "TUPLE":
            stack.append(tuple(self._marked()))
        elif opcode == "LIST":
            stack.append(self._marked())
        elif opcode == "DICT":
            stack.append(dict(_pairs(self._marked())))
        elif opcode in ("APPEND", "APPENDS"):
            items = self._pop(1) if opcode == "APPEND" else self._marked()
            self._top(list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if opcode == "SETITEM" else self._marked()
            self._top(dict).update(_pairs(items))
        elif opcode in ("ADDITEMS", "FROZENSET"):
            items = self._marked()
            for item in items:
                _check_key(item)
            if opcode == "FROZENSET":
                stack.append(frozenset(items))
            else:
                self._top(set).update(items)
        elif opcode == "GLOBAL":
            stack.append(self._named(argument.replace(" ", ".", 1)))
        elif opcode == "STACK_GLOBAL":
            stack.append(self._named(".".join(self._pop(2))))
        elif opcode == "REDUCE":
            name, arguments = self._pop(2)
            if not isinstance(name, Name) or name.function is None:
                raise pickle.UnpicklingError("it makes a value in an unknown way")
            stack.append(name.function(self._budget, *arguments))
        elif opcode == "BUILD":
            (state,) = self._pop(1)
            # PyTorch's state dicts have attributes, which are not needed.
            if not isinstance(stack[-1], OrderedDict):
                stack[-1].set_state(self._budget, state)
        elif opcode == "BINPERSID" and self._persistent:
            stack.append(self._persistent(*self._pop(1)))
        elif opcode not in ("PROTO", "FRAME"):
            raise pickle.UnpicklingError(f"it has the opcode {opcode}, which arrays do not need")

    def _pop(self, count: int) -> list[Any]:
        first = len(self._stack) - count
        if first < (self._marks[-1] if self._marks else 0):
            raise pickle.UnpicklingError("it takes a value that is not there")
        items = self._stack[first:]
        del self._stack[first:]
        return items

    def _marked(self) -> list[Any]:
        return self._pop(len(self._stack) - self._marks.pop())

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise pickle.UnpicklingError(f"it fills a value that is not a {kind.__name__}")
        return self._stack[-1]

    def _named(self, name: str) -> Name:
        found = self._find(name)
        if found is None:
            raise Refused(name)
        return found


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return _keyed(zip(items[::2], items[1::2]))


def names(functions: Mapping[str, Callable[..., Any] | None]) -> Callable[[str], Name | None]:
    """The names in ``functions``, for a :class:`Machine`."""
    return lambda name: Name(name, functions[name]) if name in functions else None


def unpickle(content: bytes) -> Any:
    """Containers, NumPy arrays and plain values of a pickle, also one of Python 2.

    Text of Python 2 is read as Latin-1, as Paddle does. The arrays are read-only.

    Raises:
        pickle.UnpicklingError: it refers to anything else; no code of it has run. What is not a
            pickle, or is truncated, raises this or any other exception.
    """
    budget, file = Budget(len(content)), io.BytesIO(content)
    value = plain(Machine(budget, names(ARRAYS)).run(file), budget)
    if file.read(1):
        raise pickle.UnpicklingError("there is more behind its end")
    return value


def plain(value: Any, budget: Budget, others: tuple[type, ...] = ()) -> Any:
    """A copy of what a :class:`Machine` made, with ordinary arrays, and no container twice.

    Args:
        value: the value.
        budget: pays for the arrays, once for each place where one is.
        others: types that may be in it beside arrays, containers and plain values.

    Raises:
        pickle.UnpicklingError: it has too many values, or too deep ones, since containers can
            contain each other; or one of another type.
    """
    left = _MOST_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise pickle.UnpicklingError(
                f"it holds more than {_MOST_VALUES:,} values, or deeper ones than {_DEEPEST} levels"
            )
        if isinstance(value, _Array) and value.array is not None:
            budget.spend(value.array.nbytes)
            return value.array
        if isinstance(value, dict):
            return type(value)((key, copied(item, depth + 1)) for key, item in value.items())
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(copied(item, depth + 1) for item in value)
        if not isinstance(value, (*_PLAIN, *others)):
            raise pickle.UnpicklingError(f"it holds a {type(value).__name__} that is no value")
        return value

    return copied(value, 0)


_PLAIN = (type(None), bool, int, float, complex, str, bytes, set, frozenset, np.generic)
