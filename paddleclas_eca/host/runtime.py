"""The machine: threads and oneDNN on a CPU, and whether a device can be used at all.

What is set here must be set before Paddle is imported, so nothing here imports it first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError

THREADS = "OMP_NUM_THREADS"
# The same switch under its older and its newer name.
ONEDNN_FLAGS = ("FLAGS_use_mkldnn", "FLAGS_use_onednn")


def tune(settings: dict[str, Any]) -> None:
    """Tune this process to the ``Global`` section of the config that it is to run."""
    if settings.get("device") == "cpu":
        tune_cpu(onednn=not settings.get("to_static"))


def tune_cpu(onednn: bool = True) -> dict[str, str]:
    """Use all cores and oneDNN on a CPU, unless the user has set otherwise.

    Paddle alone uses one thread and no oneDNN. The cores are shared out among the
    processes that the launcher started on this machine.

    Args:
        onednn: whether to use oneDNN. A network under to_static crashes with it (Paddle 3.3.1:
            a segmentation fault in training, channels mixed up in NHWC).

    Returns:
        The environment variables that were set; empty once Paddle is imported.
    """
    if "paddle" in sys.modules:
        return {}
    tuned = {}
    if not _threads_set_by_user():
        from joblib import cpu_count  # knows affinity and the limits of containers

        processes = int(os.environ.get("PADDLE_LOCAL_SIZE") or 1)
        tuned[THREADS] = str(max(1, cpu_count() // processes))
    if onednn and not any(flag in os.environ for flag in ONEDNN_FLAGS):
        tuned[ONEDNN_FLAGS[0]] = "1"
    os.environ.update(tuned)
    return tuned


def threads() -> int:
    """How many threads this process computes with on a CPU, after :func:`tune_cpu`."""
    given = os.environ.get(THREADS, "").split(",")[0].strip()
    if given.isdigit() and int(given):
        return int(given)
    from joblib import cpu_count

    return cpu_count()


def _threads_set_by_user() -> bool:
    if THREADS not in os.environ:
        return False
    if "PADDLE_LOCAL_SIZE" not in os.environ:
        return True
    # The launcher has imported Paddle, which sets the variable to 1 where it is not set;
    # what the user gave is in the environment that the launcher was started with.
    try:
        started_with = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return True
    return any(entry.startswith(THREADS.encode() + b"=") for entry in started_with.split(b"\0"))


def require_paddle() -> None:
    """Import Paddle; raises UserError, with what to install, where that fails."""
    try:
        import paddle  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Paddle cannot be imported: {error}. For the CPU, pip install paddlepaddle; for "
            f"GPUs, paddlepaddle-gpu as the README says. A missing libgomp.so.1 comes with the "
            f"system package libgomp1."
        ) from error


def check_device(
    device: str, option: str = "Global.device", instead: str = "-o Global.device=cpu"
) -> None:
    """Raise UserError, with the option to use, when Paddle cannot use ``device`` here.

    Args:
        device: ``cpu``, ``gpu``, ``xpu``, ...
        option: what it was given for.
        instead: what selects the CPU.
    """
    import paddle

    try:
        paddle.set_device(device)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        if device == "gpu" and not paddle.device.is_compiled_with_cuda():
            reason = "the installed Paddle is a CPU build"
        elif device == "gpu" and paddle.device.cuda.device_count() == 0:
            reason = "Paddle sees no GPU (check nvidia-smi and CUDA_VISIBLE_DEVICES)"
        raise UserError(
            f"{option}: {device} cannot be used: {reason}. To run on the CPU, add {instead}; for "
            f"GPUs install paddlepaddle-gpu as the README says."
        ) from error
