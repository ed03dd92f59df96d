"""Read files of ``paddle.save`` without running code that they may hold.

Paddle's files are pickles, and a pickle can call any function of any module: loading a weight
file from elsewhere can run any program. This reader accepts arrays of numbers, tensors, plain
containers and plain values, and refuses everything else.
"""

from __future__ import annotations

import io
import pickle
from os import PathLike
from typing import Any, Union

import numpy as np

from ..errors import UserError
from ..files import read_file
from ..safe_pickle import unpickle

_FilePath = Union[str, "PathLike[str]"]

# More than the weights and optimizer state of any network here; files are read into memory.
MAX_BYTES = 20 * 2**30

# With protocols 2 and 3 Paddle splits tensors of 1 GiB or more into flat parts; this entry says
# how to join them. (The spelling is Paddle's.)
_PARTS = "UnpackBigParamInfor@@"


def arrays_in(content: bytes, file: _FilePath) -> Any:
    """The content of a file of ``paddle.save``: containers with NumPy arrays for the tensors.

    Raises:
        UserError: it is not such a pickle, is truncated, or refers to anything that arrays do not
            need; no code of it has run.
    """
    try:
        return _joined(unpickle(content))
    except Exception as error:
        raise _unreadable(file, error) from error


def load(file: _FilePath, **options: Any) -> Any:
    """Like ``paddle.load`` for files of ``paddle.save``, but refuses what could run code.

    Raises:
        UserError: as :func:`arrays_in`, or the file cannot be read.
    """
    import paddle

    # Paddle only sees what this process itself has pickled.
    arrays = arrays_in(read_file(file, "weights", MAX_BYTES), file)
    try:
        return paddle.load(io.BytesIO(pickle.dumps(arrays, protocol=4)), **options)
    except Exception as error:
        raise _unreadable(file, error) from error


def _unreadable(file: _FilePath, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{file} cannot be read as Paddle weights: {reason}")


def _joined(state: Any) -> Any:
    """``state`` with the tensors joined that Paddle split into parts."""
    if not isinstance(state, dict) or _PARTS not in state:
        return state
    whole = dict(state)
    for name, info in whole.pop(_PARTS).items():
        parts = [whole.pop(part) for part in info["slices"]]
        whole[name] = np.concatenate(parts).reshape(info["OriginShape"])
    return whole
