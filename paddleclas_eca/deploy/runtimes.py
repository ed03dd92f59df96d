"""Run exported networks: Paddle Inference and ONNX Runtime."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
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


class Session(NamedTuple):
    """A network that is ready to run.

    Attributes:
        input: name of its input.
        output: name of its output.
        run: takes images ``[N, C, H, W]`` in float32 and returns its output, ``[N, ...]``.
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
    try:
        with _isolated(onednn):
            predictor = inference.create_predictor(config)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{program} and its weights cannot be read by Paddle Inference: {reason}. Export the "
            f"model again"
        ) from error
    names = predictor.get_input_names()[0], predictor.get_output_names()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        predictor.get_input_handle(names[0]).copy_from_cpu(np.ascontiguousarray(batch))
        with _isolated(onednn):
            predictor.run()
        return predictor.get_output_handle(names[1]).copy_to_cpu()

    return Session(*names, run)


@contextlib.contextmanager
def _isolated(onednn: bool) -> Iterator[None]:
    """Isolate a session and the rest of the process from each other.

    Paddle's own switch of oneDNN makes a session without oneDNN fail; and Paddle's C++ code
    prints names of functions while it optimizes a network, which must not mix with predictions.
    """
    import paddle

    switch = {} if onednn else paddle.get_flags(ONEDNN_FLAGS[0])
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    paddle.set_flags(dict.fromkeys(switch, False))
    try:
        yield
    finally:
        paddle.set_flags(switch)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


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
    try:
        session = runtime.InferenceSession(os.fspath(file), options, providers=providers)
    except Exception as error:
        raise UserError(f"{file} cannot be read by ONNX Runtime: {error}") from error
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return Session(name, output, lambda batch: session.run([output], {name: batch})[0])


def import_for_onnx(package: str) -> ModuleType:
    """Import a package; raises UserError, with what to install, where that fails."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"ONNX needs {package} ({error}): {_INSTALL_ONNX}") from error


# By name, the function that opens a session for (folder, device).
BACKENDS: dict[str, Callable[[Path, str], Session]] = {
    "paddle": open_session,
    "onnxruntime": open_onnx_session,
}
