"""Weight files of PyTorch, safetensors and Paddle, read and written as NumPy arrays.

The kind of a file is detected from its content. Nothing that a file holds is run: safetensors holds
only numbers, and all pickles go through :mod:`paddleclas_eca.safe_pickle`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, excerpt
from ..files import read_file
from ..safe_pickle import Refused
from .safe_load import MAX_BYTES, arrays_in
from .torch_files import OLD_TORCH, ZIP, Other, Tensor, read_torch

_PICKLE = b"\x80"
# The largest header of safetensors. Real ones have less than 1 MB; Python takes 10 times as much.
_LARGEST_HEADER = 2**22
# Types of safetensors, as NumPy has them. It has no bfloat16.
_SAFETENSORS = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?", "U64": "<u8", "U32": "<u4"},
    **{"U16": "<u2", "U8": "u1", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
}
# Where checkpoints keep the weights beside optimizer states and the like.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
# Prefixes that PyTorch's wrappers add to all names.
_PREFIXES = ("module.", "_orig_mod.")
_INSTALL = "pip install '.[convert]' in the clone of paddleclas_eca"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights in a file, by name.

    Optimizer states and other values beside the weights are dropped, and so are prefixes such as
    ``module.``, which ``DataParallel`` adds to all names. Half, bfloat16 and double precision
    become single precision.

    Args:
        path: a checkpoint of PyTorch (``.pth``, ``.pth.tar``, ``.pt``, ``.bin``), a
            ``.safetensors`` file, or a file of ``paddle.save`` (``.pdparams``).

    Raises:
        UserError: the file does not exist, is of none of these kinds, is corrupt, refers to
            code, or holds no weights; or safetensors is needed and not installed.
    """
    if not os.path.exists(path):
        raise UserError(f"no weights at {path}: check the path")
    content = read_file(path, "weights", MAX_BYTES)
    state = _weights_in(_reader(content, path)(content, path), path)
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: array for name, array in state.items()}
    return state


def _reader(content: bytes, path: Path) -> Callable[[bytes, Path], Any]:
    if not content:
        raise UserError(f"{path} is empty")
    if content.startswith((ZIP, OLD_TORCH)):
        return _read_torch
    # The length of a header, and the header in JSON. That length can begin with the byte of a
    # pickle, so this comes first.
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        return _read_safetensors
    if content.startswith(_PICKLE):
        return arrays_in
    is_html = content[:100].lstrip().startswith(b"<")
    kind = "seems to be a web page" if is_html else f"begins with {content[:16]!r}"
    raise UserError(
        f"{path} {kind}: it is not a weight file of PyTorch, safetensors or Paddle, or is corrupt"
    )


def _read_torch(content: bytes, path: Path) -> Any:
    try:
        return read_torch(content)
    except Refused as error:
        raise UserError(
            f"{path} refers to {error.name}, which weights do not need and which could run code: "
            f"it is refused. If you trust its origin, have PyTorch save its state_dict() alone."
        ) from error
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights of PyTorch; is it complete? {_reason(error)}"
        ) from error


def _read_safetensors(content: bytes, path: Path) -> Any:
    try:
        from safetensors import deserialize
    except ImportError as error:
        raise UserError(f"{path} needs safetensors: {_INSTALL}") from error
    try:
        if int.from_bytes(content[:8], "little") > _LARGEST_HEADER:
            raise ValueError("its header is too large")
        return {name: _safetensor(**tensor) for name, tensor in deserialize(content)}
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as safetensors; is it complete? {_reason(error)}"
        ) from error


def _safetensor(shape: list[int], dtype: str, data: bytes) -> Any:
    if dtype == "BF16":
        return _of_bfloat16(np.frombuffer(data, "<u2")).reshape(shape)
    if dtype not in _SAFETENSORS:
        return Other(f"a tensor of {dtype}")
    # As single precision, so that nothing is taken for the bits of bfloat16.
    return np.frombuffer(data, _SAFETENSORS[dtype]).reshape(shape).astype(np.float32, copy=False)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _weights_in(loaded: Any, path: Path) -> dict[str, np.ndarray]:
    while isinstance(loaded, Mapping):
        inner = [loaded[key] for key in _CONTAINERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = inner[0]
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} holds no weights by name: it is not a checkpoint of a model")
    arrays = {}
    for name, value in zip(map(str, loaded), loaded.values()):
        try:
            arrays[name] = _as_array(value)
        except TypeError as error:
            raise UserError(
                f"{path}: {name:.100} is not a tensor of plain numbers: {error}. Quantised, sparse "
                f"and complex weights cannot be converted"
            ) from error
        except Exception as error:
            raise UserError(
                f"{path}: {name:.100} cannot be read; is the file complete? {_reason(error)}"
            ) from error
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if not arrays:
        has = f"; it has {excerpt([str(key) for key in loaded])}" if loaded else ""
        raise UserError(f"{path} holds no weights by name: it is not a checkpoint of a model{has}")
    return arrays


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, Other):
        raise TypeError(f"it is {value.name}")
    if isinstance(value, Tensor):
        value = value.array()
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype == np.uint16:
        return _of_bfloat16(value)
    if value.dtype.kind not in "biuf":
        raise TypeError(f"its type is {value.dtype}")
    # Integers too: all parameters of these networks are float32.
    return value.astype(np.float32, copy=False)


def _of_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _write_paddle(state: Mapping[str, np.ndarray], path: Path) -> None:
    import paddle

    paddle.save({name: paddle.to_tensor(array) for name, array in state.items()}, str(path))


def _write_torch(state: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} needs PyTorch: {_INSTALL}") from error
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    # Through memory: torch raises its own errors on a full disk.
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    path.write_bytes(buffer.getbuffer())


def _write_safetensors(state: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise UserError(f"{path} needs safetensors: {_INSTALL}") from error
    # Not save_file, which makes files that only their owner may read.
    path.write_bytes(save(dict(state), metadata={"format": "pt"}))


PADDLE_SUFFIX = ".pdparams"
WRITERS: dict[str, Callable[[Mapping[str, np.ndarray], Path], None]] = {
    PADDLE_SUFFIX: _write_paddle,
    ".pth": _write_torch,
    ".safetensors": _write_safetensors,
}


def check_free(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise UserError if a path is a directory, or a file that must not be overwritten."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a directory")
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; --overwrite replaces it")
