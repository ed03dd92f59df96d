"""Paddle Inference, which runs exported models."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from ..runtime import ONEDNN_FLAGS, threads
from .format import OLD_PROGRAM, PROGRAM, WEIGHTS

# Megabytes of GPU memory to begin with; it grows.
_GPU_MEMORY = 256


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
    """Load an exported model with Paddle Inference.

    Args:
        folder: the exported folder.
        device: ``"cpu"`` or ``"gpu"``; that it can be used is for the caller to check.
        onednn: whether a CPU uses oneDNN; by default as :func:`onednn_wanted` says.
    """
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
    with _kept_apart(onednn):
        predictor = inference.create_predictor(config)
    names = predictor.get_input_names()[0], predictor.get_output_names()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        predictor.get_input_handle(names[0]).copy_from_cpu(np.ascontiguousarray(batch))
        with _kept_apart(onednn):
            predictor.run()
        return predictor.get_output_handle(names[1]).copy_to_cpu()

    return Session(*names, run)


@contextlib.contextmanager
def _kept_apart(onednn: bool) -> Iterator[None]:
    """Keep a session and the rest of the process from each other.

    Paddle's own switch of oneDNN makes a session without oneDNN fail; and Paddle's C++ code
    prints names of functions while it optimises a network, which are no predictions.
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
