"""Read checkpoints of PyTorch without PyTorch, and without running code that they may hold.

Since version 1.6 ``torch.save`` writes a zip archive: ``data.pkl``, a pickle in which tensors refer
to storages, and the bytes of each storage in ``data/KEY``. Before, it wrote a series of pickles,
with the bytes of the storages behind the last.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..safe_pickle import ARRAYS, Budget, Machine, Name, check_sizes, ordered_dict, plain

ZIP = b"PK\x03\x04"
# The pickled number that files before version 1.6 begin with, and the version of their form.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OLD_VERSION = 1001
# Far more than the tensors of any checkpoint; Python takes 10 times the memory of an entry.
_MOST_MEMBERS, _ENTRY = 100_000, b"PK\x01\x02"
# Types of storages. NumPy has no bfloat16: its bits, as in Paddle's files.
_STORAGES = {
    **{"Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "<u2", "Bool": "?"},
    **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1"},
    **{"ComplexDouble": "<c16", "ComplexFloat": "<c8"},
}
# Other types of PyTorch that a checkpoint may hold beside the weights. They run nothing here.
_INERT = re.compile(
    r"torch\.(device|serialization\._get_layout|Size|\w+Storage|(storage\.)?(Unt|T)ypedStorage|_utils\._rebuild_\w+"
    r"|b?float\w+|u?int\d+|bool|half|double|long|complex\w+|q?u?int\d+\w*|per_\w+|strided|\w+_format)"
)


@dataclass(eq=False)
class Storage:
    """The values that tensors refer to.

    Attributes:
        dtype: their type.
        size: how many there are.
        read: reads their bytes.
    """

    dtype: np.dtype
    size: int
    read: Callable[[], bytes]
    _values: np.ndarray | None = field(default=None, init=False)

    def values(self) -> np.ndarray:
        """The values, read once."""
        if self._values is None:
            content = self.read()
            if len(content) != self.size * self.dtype.itemsize:
                raise pickle.UnpicklingError("it lacks a part of its tensors")
            self._values = np.frombuffer(content, self.dtype)
        return self._values


@dataclass(eq=False)
class Tensor:
    """A view of a storage, whose bytes are read when its array is asked for."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    budget: Budget

    def array(self) -> np.ndarray:
        """The tensor as an array; uint16 of the bits for bfloat16.

        Raises:
            pickle.UnpicklingError: its storage lacks values.
        """
        check_sizes((self.offset, *self.shape))
        check_sizes(self.strides)
        values = self.storage.values()
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides))
        if len(self.shape) != len(self.strides) or (all(self.shape) and last >= len(values)):
            raise pickle.UnpicklingError(f"its shape {list(self.shape)} is not that of its values")
        if not all(self.shape):
            return np.zeros(self.shape, values.dtype)
        step = values.itemsize
        view = np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, [n * step for n in self.strides], writeable=False
        )
        # A tensor can be expanded: many values that are one in the storage.
        self.budget.spend(view.nbytes)
        return np.ascontiguousarray(view).reshape(self.shape)


class Other:
    """A value of PyTorch that is not a plain tensor."""

    def __init__(self, name: str) -> None:
        self.name = name


def read_torch(content: bytes) -> Any:
    """Containers and plain values of a checkpoint, with a :class:`Tensor` for each tensor.

    Raises:
        pickle.UnpicklingError: it refers to anything else; no code of it has run. What is corrupt
            raises this or any other exception.
    """
    read = _read_zip if content.startswith(ZIP) else _read_old
    budget = Budget(len(content))
    return plain(read(content, budget), budget, (Tensor, Other, Name))


class _Storages:
    """The storages of a file by their persistent ids.

    Args:
        read: reads the bytes of a storage by its key.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self.found: dict[str, Any] = {}

    def __call__(self, given: Any) -> Any:
        kind, name, key, _, size, *view = given
        check_sizes((size,))
        if not isinstance(name, Name) or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to a storage in an unknown way")
        code = _STORAGES.get(name.name.removeprefix("torch.").removesuffix("Storage"))
        if kind != "storage" or any(view) or code is None:
            return Other(name.name)
        storage = Storage(np.dtype(code), size, lambda: self._read(key))
        first = self.found.setdefault(key, storage)
        if (first.dtype, first.size) != (storage.dtype, storage.size):
            raise pickle.UnpicklingError("it refers to a storage in two ways")
        return first


def _machine(budget: Budget, storages: _Storages | None = None) -> Machine:
    def tensor(
        budget: Budget, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any
    ) -> Tensor | Other:
        # More: requires_grad, hooks, and metadata that change its values.
        if any(more[2:]) or not isinstance(storage, Storage):
            return Other("a tensor that is not plain")
        return Tensor(storage, offset, shape, strides, budget)

    def first(budget: Budget, value: Any, *_: Any) -> Any:
        return value

    def called(budget: Budget, function: Name, _: Any, arguments: tuple, *state: Any) -> Any:
        if function.function is None:
            return Other(function.name)
        return function.function(budget, *arguments)

    functions = {
        **ARRAYS,
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": first,
        "torch._utils._rebuild_parameter_with_state": first,
        "torch._tensor._rebuild_from_type_v2": called,
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": None,
        "collections.Counter": ordered_dict,
    }

    def find(name: str) -> Name | None:
        if name in functions:
            return Name(name, functions[name])
        return Name(name, lambda *_: Other(name)) if _INERT.fullmatch(name) else None

    return Machine(budget, find, storages)


def _read_zip(content: bytes, budget: Budget) -> Any:
    if content.count(_ENTRY) > _MOST_MEMBERS:
        raise pickle.UnpicklingError(f"it has more than {_MOST_MEMBERS:,} members")
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = archive.infolist()
    # PyTorch compresses nothing, and a little that is compressed, or in two members, can be much.
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > len(content):
        raise pickle.UnpicklingError("it is a zip archive with compressed members")
    damaged = archive.testzip()
    if damaged is not None:
        raise pickle.UnpicklingError(f"the checksum of {damaged[:100]} in it is wrong")
    inside = [name for name in archive.namelist() if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if len(inside) != 1:
        raise pickle.UnpicklingError("it is a zip archive without data.pkl, not a checkpoint")
    root = inside[0][: -len("data.pkl")]

    def read(name: str) -> bytes:
        return archive.read(root + name)

    if f"{root}byteorder" in archive.namelist() and read("byteorder") != b"little":
        raise pickle.UnpicklingError("its numbers are not in little-endian order")
    storages = _Storages(lambda key: read(f"data/{key}"))
    return _machine(budget, storages).run(io.BytesIO(read("data.pkl")))


def _read_old(content: bytes, budget: Budget) -> Any:
    file = io.BytesIO(content)
    file.seek(len(OLD_TORCH))
    version, system = (plain(_machine(budget).run(file), budget) for _ in range(2))
    if version != _OLD_VERSION or not system["little_endian"]:
        raise pickle.UnpicklingError("it is of an unknown version, or not in little-endian order")
    parts: dict[str, bytes] = {}
    storages = _Storages(parts.__getitem__)
    value = _machine(budget, storages).run(file)
    for key in plain(_machine(budget).run(file), budget):
        storage = storages.found[key]
        size = int.from_bytes(file.read(8), sys.byteorder)
        if size != storage.size:
            raise pickle.UnpicklingError("it lacks a part of its tensors")
        parts[key] = file.read(size * storage.dtype.itemsize)
    if file.read(1):
        raise pickle.UnpicklingError("there is more behind its end")
    return value
