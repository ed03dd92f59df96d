"""Read pickles without running code that they may hold.

A pickle can call any function of any module. This reader accepts arrays of numbers, plain
containers and plain values, and refuses everything else.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

# The state that NumPy pickles with a plain dtype: version, byte order, then nothing of
# sub-arrays, fields, sizes, alignment and flags.
_PLAIN_DTYPE = (None, None, None, -1, -1, 0)

# Far more than the tensors and settings of any checkpoint.
_MOST_VALUES = 300_000


class _Dtype:
    """Replaces ``numpy.dtype`` while a pickle is read.

    NumPy's own takes flags from the pickle that can make it read bytes as addresses.
    """

    def __init__(self, code: Any) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) else np.dtype(object)
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of numbers")

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = state
        if tuple(rest) != _PLAIN_DTYPE or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it holds an array of a type that is not a plain number")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """Replaces ``numpy.ndarray`` while a pickle is read; holds only plain numbers."""

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran_order, data = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("it holds an array without a type")
        super().__setstate__((version, shape, dtype.dtype, fortran_order, data))


class _Unpickler(pickle.Unpickler):
    """Resolves the few names that arrays need to safe replacements, and no other name.

    The replacements are bound methods: a pickle could change the classes themselves, for the
    files that are read later.
    """

    def _reconstruct(self, array_type: Any, shape: Any, code: Any) -> np.ndarray:
        # What NumPy writes: an empty array of bytes, which gets its state afterwards. Another
        # shape would have NumPy itself allocate it, whatever its size, and leave it unfilled.
        if shape != (0,) or code not in (b"b", "b"):
            raise pickle.UnpicklingError(f"it makes an array of shape {shape} in an unknown way")
        return _Array((0,), np.int8)

    def _ndarray(self) -> None:
        raise pickle.UnpicklingError("it makes an array in an unknown way")

    def _dtype(self, code: Any, *_: Any) -> _Dtype:
        return _Dtype(code)

    def _scalar(self, dtype: _Dtype, data: Any) -> np.generic:
        return np.frombuffer(_latin1(data), dtype.dtype, 1)[0]

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        # How protocol 2 writes bytes.
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"it holds bytes in the encoding {encoding!r}")
        return _latin1(text)

    def _tuple(self, *items: Any) -> tuple:
        # Paddle writes a tensor outside a state dict as (name, array).
        return tuple(*items)

    def _ordered_dict(self, *items: Any) -> OrderedDict:
        return OrderedDict(*items)

    # NumPy 2 renamed the module; Python 2 named its built-ins otherwise.
    _REPLACEMENTS = {
        "numpy._core.multiarray._reconstruct": "_reconstruct",
        "numpy.core.multiarray._reconstruct": "_reconstruct",
        "numpy._core.multiarray.scalar": "_scalar",
        "numpy.core.multiarray.scalar": "_scalar",
        "numpy.ndarray": "_ndarray",
        "numpy.dtype": "_dtype",
        "_codecs.encode": "_encode",
        "builtins.tuple": "_tuple",
        "__builtin__.tuple": "_tuple",
        "collections.OrderedDict": "_ordered_dict",
    }

    def find_class(self, module: str, name: str) -> Any:
        """The replacement for a name; every other name is refused."""
        replacement = self._REPLACEMENTS.get(f"{module}.{name}")
        if replacement is None:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}, which arrays do not need and which could run code"
            )
        return getattr(self, replacement)


def _latin1(data: Any) -> bytes:
    return data if isinstance(data, bytes) else data.encode("latin1")


def unpickle(content: bytes) -> Any:
    """Containers, NumPy arrays and plain values of a pickle, also one of Python 2.

    Raises:
        pickle.UnpicklingError: it refers to anything else; no code of it has run. What is not a
            pickle, or is truncated, raises this or any other exception.
    """
    # Like Paddle itself.
    return _plain(_Unpickler(io.BytesIO(content), encoding="latin1").load())


def _plain(value: Any) -> Any:
    """``value`` with ordinary arrays for :class:`_Array`."""
    # Containers can contain each other many times: a short pickle can expand without end.
    seen = itertools.count(1)

    def plain(value: Any) -> Any:
        if next(seen) > _MOST_VALUES:
            raise pickle.UnpicklingError(f"it holds more than {_MOST_VALUES:,} values")
        if isinstance(value, _Array):
            return value.view(np.ndarray)
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(plain(item) for item in value)
        return value

    return plain(value)
