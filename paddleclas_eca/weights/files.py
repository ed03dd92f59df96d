"""Weight files of PyTorch, safetensors and Paddle, read and written as NumPy arrays.

What a file is, is seen from its content. Nothing that a file holds is run: PyTorch reads its
own files with ``weights_only=True``, safetensors holds nothing but numbers, and Paddle's
pickles go through :mod:`paddleclas_eca.host.safe_load`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UserError
from ..host.safe_load import load_arrays

# PyTorch's files are zip archives; before version 1.6 they began with this pickled number.
_ZIP = b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLE = b"\x80"
# Up to 2.5.1 a file could get round weights_only (CVE-2025-32434).
_SAFE_TORCH = (2, 6)
# Where checkpoints keep the weights beside optimizer states and the like.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
# What wrappers of PyTorch put before all names.
_PREFIXES = ("module.", "_orig_mod.")
_INSTALL = "pip install '.[convert]' in the clone of paddleclas_eca"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights in a file, by name.

    Optimizer states and other values beside the weights are left out, and so are prefixes such
    as ``module.``, which ``DataParallel`` puts before all names. Numbers in half, bfloat16 or
    double precision become single precision.

    Args:
        path: a checkpoint of PyTorch (``.pth``, ``.pth.tar``, ``.pt``, ``.bin``), a
            ``.safetensors`` file, or a file of ``paddle.save`` (``.pdparams``).

    Raises:
        UserError: there is no such file, it is of none of these kinds, is damaged, wants to run
            something, or holds no weights; or PyTorch or safetensors is needed and absent.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}: check the path")
    state = _weights_in(_reader(path)(path))
    if not state:
        raise UserError(f"{path} holds no weights by name, or is no checkpoint of a model")
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: array for name, array in state.items()}
    return state


def _reader(path: Path) -> Callable[[Path], Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise UserError(f"{path} is empty")
    if head.startswith((_ZIP, _OLD_TORCH)):
        return _read_torch
    if head.startswith(_PICKLE):
        return _read_paddle
    # safetensors: the length of a header, and the header, in JSON.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return _read_safetensors
    kind = "seems to be a web page" if head.lstrip().startswith(b"<") else f"begins with {head!r}"
    raise UserError(
        f"{path} {kind}: it is no weight file of PyTorch, safetensors or Paddle, or is damaged"
    )


def _read_torch(path: Path) -> Any:
    torch = _torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        refused = re.search(r"GLOBAL ([\w.]+)|Can only \S+ .*? ([\w.]+\.\w+)", str(error))
        if refused:
            raise UserError(
                f"{path} refers to {refused[1] or refused[2]}, which weights do not need and "
                f"which could run a program: it is refused. Where you trust its origin, have "
                f"PyTorch save its state_dict() alone."
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read by PyTorch; is it complete? {reason}") from error


def _read_safetensors(path: Path) -> Any:
    _torch()  # NumPy has no bfloat16
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path} needs safetensors: {_INSTALL}") from error
    try:
        return load_file(path)
    except Exception as error:
        raise UserError(f"{path} cannot be read as safetensors; is it complete? {error}") from error


def _read_paddle(path: Path) -> Any:
    return load_arrays(path)


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"weights of PyTorch and safetensors need PyTorch: {_INSTALL}") from error
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    if version < _SAFE_TORCH:
        raise UserError(
            f"PyTorch {torch.__version__} can be made to run what a weight file holds; "
            f"version 2.6 and later cannot: {_INSTALL}"
        )
    return torch


def _weights_in(loaded: Any) -> dict[str, np.ndarray]:
    while isinstance(loaded, Mapping):
        inner = [loaded[key] for key in _CONTAINERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = inner[0]
    if not isinstance(loaded, Mapping):
        return {}
    arrays = {str(name): _as_array(value) for name, value in loaded.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint16:  # how Paddle keeps bfloat16 in NumPy
            return (value.astype(np.uint32) << 16).view(np.float32)
        return value.astype(np.float32) if value.dtype.kind == "f" else value
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()
    return None


def _write_paddle(state: Mapping[str, np.ndarray], path: Path) -> None:
    import paddle

    paddle.save({name: paddle.to_tensor(array) for name, array in state.items()}, str(path))


def _write_torch(state: Mapping[str, np.ndarray], path: Path) -> None:
    torch = _torch()
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)


def _write_safetensors(state: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise UserError(f"{path} needs safetensors: {_INSTALL}") from error
    save_file(dict(state), path, metadata={"format": "pt"})


PADDLE_ENDING = ".pdparams"
WRITERS: dict[str, Callable[[Mapping[str, np.ndarray], Path], None]] = {
    PADDLE_ENDING: _write_paddle,
    ".pth": _write_torch,
    ".safetensors": _write_safetensors,
}


def write_all(writers: Mapping[Path, Callable[[Path], None]], overwrite: bool) -> None:
    """Write some files: all of them or none, and each one whole.

    Args:
        writers: the files, to what writes one to the path that it is given.
        overwrite: whether files that are there are replaced.

    Raises:
        UserError: a file is there, or cannot be written.
    """
    for path in writers:
        if path.is_dir():
            raise UserError(f"{path} is a folder")
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; --overwrite replaces it")
    drafts = {path: path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in writers}
    try:
        for path, write in writers.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(drafts[path])
        for path, draft in drafts.items():
            os.replace(draft, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        for draft in drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink()
