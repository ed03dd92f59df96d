"""Read what ``paddle.save`` wrote without running what it may hold.

Paddle's files are pickles, and a pickle can call any function of any module: loading weights
from elsewhere is running their author's program. Weights need nothing of that. This reader
admits arrays of numbers, tensors, plain containers and plain values, and refuses the rest.
"""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any, Union

import numpy as np

from ..errors import UserError
from ..safe_pickle import unpickle

_FilePath = Union[str, "PathLike[str]"]

# With protocols 2 and 3 Paddle cuts tensors of a gibibyte or more into flat parts; this entry
# says how they belong together. (The spelling is Paddle's.)
_PARTS = "UnpackBigParamInfor@@"


def load_arrays(file: _FilePath) -> Any:
    """Read a file of ``paddle.save``: containers with NumPy arrays for the tensors.

    Raises:
        UserError: the file is no such pickle, is cut short, or refers to anything else than
            arrays need; nothing of it has run.
    """
    return _unpickle(_content(file), file)


def load(file: _FilePath, **options: Any) -> Any:
    """Like ``paddle.load`` for files of ``paddle.save``, but refuse what could run a program.

    Raises:
        UserError: as :func:`load_arrays`.
    """
    import paddle

    content = _content(file)
    _unpickle(content, file)
    try:
        return paddle.load(io.BytesIO(content), **options)
    except Exception as error:
        raise _unreadable(file, error) from error


def _content(file: _FilePath) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _unpickle(content: bytes, file: _FilePath) -> Any:
    try:
        return _joined(unpickle(content))
    except Exception as error:
        raise _unreadable(file, error) from error


def _unreadable(file: _FilePath, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{file} cannot be read as Paddle weights: {reason}")


def _joined(state: Any) -> Any:
    """``state`` with the tensors whole that Paddle cut into parts."""
    if not isinstance(state, dict) or _PARTS not in state:
        return state
    whole = dict(state)
    for name, info in whole.pop(_PARTS).items():
        parts = [whole.pop(part) for part in info["slices"]]
        whole[name] = np.concatenate(parts).reshape(info["OriginShape"])
    return whole
