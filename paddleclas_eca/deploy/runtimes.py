"""Run exported networks: Paddle Inference and ONNX Runtime.

Threads may share a session. ONNX Runtime's is made for that. A predictor of Paddle Inference has
one input and one output, so a lock lets one thread run it at a time, with all cores: as fast as a
clone per thread, which has weights of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Callable, NamedTuple

import numpy as np

from ..errors import UserError
from ..runtime import ONEDNN_FLAGS, check_device, check_paddle, threads
from .format import OLD_PROGRAM, ONNX, PROGRAM, WEIGHTS

DEVICES = ("cpu", "gpu")
# Megabytes of GPU memory to begin with; it grows.
_GPU_MEMORY = 256
_INSTALL_ONNX = "pip install '.[onnx]' in the clone of paddleclas_eca"

# Held while a predictor of Paddle is made, and while Paddle's switch of oneDNN is changed.
_LOADING = threading.RLock()
# One per predictor, held while it runs.
_RUNNING: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
_held: list[threading.Lock] = []


def _before_fork() -> None:
    """Wait until no predictor is made or run, so that the child can use all of them."""
    _LOADING.acquire()
    for lock in list(_RUNNING):
        lock.acquire()
        _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _LOADING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


class Session(NamedTuple):
    """A network that is ready to run.

    Attributes:
        input: name of its input.
        output: name of its output.
        run: takes images ``[N, C, H, W]`` in float32 and returns its output, ``[N, ...]``. Threads
            may call it at the same time. Raises UserError if the network fails on them.
    """

    input: str
    output: str
    run: Callable[[np.ndarray], np.ndarray]


def onednn_wanted() -> bool:
    """Whether a CPU is to use oneDNN: unless the user has switched it off for Paddle."""
    return not any(os.environ.get(flag, "1").lower() in ("0", "false") for flag in ONEDNN_FLAGS)


def open_session(folder: Path, device: str = "cpu", onednn: bool | None = None) -> Session:
    """Load an exported network with Paddle Inference.

    Args:
        folder: the exported folder.
        device: ``"cpu"`` or ``"gpu"``.
        onednn: whether a CPU uses oneDNN; by default as :func:`onednn_wanted` says.

    Raises:
        UserError: Paddle is missing, has no such device, or cannot read the network.
    """
    check_paddle()
    if device != "cpu":
        check_device(device, "device", "--device cpu")
    from paddle import inference

    onednn = onednn_wanted() if onednn is None else onednn
    # Networks other than ours can be exported in Paddle 2's representation.
    is_new = (folder / PROGRAM).exists()
    program = folder / (PROGRAM if is_new else OLD_PROGRAM)
    config = inference.Config(str(program), str(folder / WEIGHTS))
    config.disable_glog_info()
    if is_new:
        config.enable_new_ir(True)
        config.enable_new_executor(True)
    config.enable_memory_optim()
    if device == "gpu":
        config.enable_use_gpu(_GPU_MEMORY, 0)
    else:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(threads())
        # Off by default in Paddle 3.0, on in later ones.
        (config.enable_mkldnn if onednn else config.disable_mkldnn)()
    with _failures(f"{program} and its weights", "Paddle Inference"):
        with _LOADING, _flag_off(onednn):
            predictor = inference.create_predictor(config)
            running = threading.Lock()
            _RUNNING.add(running)
    names = predictor.get_input_names()[0], predictor.get_output_names()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        with _failures(f"{program} with {len(batch)} images", "Paddle Inference", "run"):
            with contextlib.nullcontext() if onednn else _LOADING, running, _flag_off(onednn):
                predictor.get_input_handle(names[0]).copy_from_cpu(np.ascontiguousarray(batch))
                predictor.run()
                return predictor.get_output_handle(names[1]).copy_to_cpu()

    return Session(*names, run)


@contextlib.contextmanager
def _failures(what: str, runtime: str, verb: str = "read") -> Iterator[None]:
    """Report the errors of a runtime, which have any type and many lines, in one."""
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Paddle's own begins with a trace of its C++ code.
        told = [line for line in lines if "Error: " in line or line.startswith("(")] or lines
        raise UserError(
            f"{what} cannot be {verb} by {runtime}: {(told or [type(error).__name__])[0]}. Export "
            f"the model again"
        ) from error


@contextlib.contextmanager
def _flag_off(onednn: bool) -> Iterator[None]:
    """Switch oneDNN off in Paddle itself for a session without it, which else fails."""
    import paddle

    switch = {} if onednn else paddle.get_flags(ONEDNN_FLAGS[0])
    paddle.set_flags(dict.fromkeys(switch, False))
    try:
        yield
    finally:
        paddle.set_flags(switch)


def open_onnx_session(folder: Path, device: str = "cpu") -> Session:
    """Load the ONNX file of an exported model with ONNX Runtime.

    Args:
        folder: the exported folder.
        device: ``"cpu"`` or ``"gpu"``.

    Raises:
        UserError: the directory has none, or ONNX Runtime is missing, has no such device, or cannot
            read the file.
    """
    file = folder / ONNX
    if not file.is_file():
        raise UserError(f"{folder} has no {ONNX}: export the model with --onnx")
    runtime = import_for_onnx("onnxruntime")
    providers = ["CPUExecutionProvider"]
    if device == "gpu":
        providers.insert(0, "CUDAExecutionProvider")
        if providers[0] not in runtime.get_available_providers():
            raise UserError(
                "the installed onnxruntime has no GPU: pip install onnxruntime-gpu in its place, "
                "or --device cpu"
            )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3  # errors
    with _failures(str(file), "ONNX Runtime"):
        session = runtime.InferenceSession(os.fspath(file), options, providers=providers)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(batch: np.ndarray) -> np.ndarray:
        with _failures(f"{file} with {len(batch)} images", "ONNX Runtime", "run"):
            return session.run([output], {name: batch})[0]

    return Session(name, output, run)


def import_for_onnx(package: str) -> ModuleType:
    """Import a package; raises UserError, with what to install, where that fails."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"ONNX needs {package} ({error}): {_INSTALL_ONNX}") from error


class Backend(NamedTuple):
    """A way to run exported networks.

    Attributes:
        open: opens a session for ``(folder, device)``.
        files: what it reads of the folder.
    """

    open: Callable[[Path, str], Session]
    files: tuple[str, ...]


BACKENDS = {
    "paddle": Backend(open_session, (PROGRAM, WEIGHTS)),
    "onnxruntime": Backend(open_onnx_session, (ONNX,)),
}
