"""Weight files of PyTorch, safetensors and Paddle, read and written as NumPy arrays.

The kind of a file is detected from its content. Nothing that a file holds is run: PyTorch reads
its own files with ``weights_only=True``, safetensors holds only numbers, and Paddle's pickles go
through :mod:`paddleclas_eca.weights.safe_load`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UserError, excerpt
from ..files import read_file
from .safe_load import MAX_BYTES, arrays_in

# PyTorch's files are zip archives; before version 1.6 they began with this pickled number.
_ZIP = b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLE = b"\x80"
# Up to 2.5.1 a file could bypass weights_only (CVE-2025-32434).
_SAFE_TORCH = (2, 6)
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
            code, or holds no weights; or PyTorch or safetensors is needed and not installed.
    """
    if not path.exists():
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
    if content.startswith((_ZIP, _OLD_TORCH)):
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
    torch = _torch()
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        refused = re.search(r"GLOBAL ([\w.]+)|Can only \S+ .*? ([\w.]+\.\w+)", str(error))
        if refused:
            raise UserError(
                f"{path} refers to {refused[1] or refused[2]}, which weights do not need and "
                f"which could run code: it is refused. If you trust its origin, have PyTorch "
                f"save its state_dict() alone."
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read by PyTorch; is it complete? {reason}") from error


def _read_safetensors(content: bytes, path: Path) -> Any:
    _torch()  # NumPy has no bfloat16
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise UserError(f"{path} needs safetensors: {_INSTALL}") from error
    try:
        return load(content)
    except Exception as error:
        raise UserError(f"{path} cannot be read as safetensors; is it complete? {error}") from error


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"weights of PyTorch and safetensors need PyTorch: {_INSTALL}") from error
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    if version < _SAFE_TORCH:
        raise UserError(
            f"PyTorch {torch.__version__} can run code from a weight file (CVE-2025-32434); "
            f"version 2.6 and later cannot: {_INSTALL}"
        )
    return torch


def _weights_in(loaded: Any, path: Path) -> dict[str, np.ndarray]:
    while isinstance(loaded, Mapping):
        inner = [loaded[key] for key in _CONTAINERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = inner[0]
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} holds no weights by name: it is not a checkpoint of a model")
    arrays = {}
    for name, value in loaded.items():
        try:
            arrays[str(name)] = _as_array(value)
        except Exception as error:
            raise UserError(
                f"{path}: {name} is not a tensor of plain numbers ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); quantised, "
                f"sparse and complex weights cannot be converted"
            ) from error
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if not arrays:
        has = f"; it has {excerpt([str(key) for key in loaded])}" if loaded else ""
        raise UserError(f"{path} holds no weights by name: it is not a checkpoint of a model{has}")
    return arrays


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint16:  # how Paddle keeps bfloat16 in NumPy
            return (value.astype(np.uint32) << 16).view(np.float32)
        array = value
    elif hasattr(value, "detach"):
        tensor = value.detach().cpu()
        # NumPy has no bfloat16.
        array = (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()
    else:
        return None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"its type is {array.dtype}")
    # Integers too: all parameters of these networks are float32.
    return array.astype(np.float32, copy=False)


def _write_paddle(state: Mapping[str, np.ndarray], path: Path) -> None:
    import paddle

    paddle.save({name: paddle.to_tensor(array) for name, array in state.items()}, str(path))


def _write_torch(state: Mapping[str, np.ndarray], path: Path) -> None:
    torch = _torch()
    # Through memory: torch raises its own errors on a full disk.
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, buffer)
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
