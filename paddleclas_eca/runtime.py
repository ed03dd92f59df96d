"""The machine: threads, oneDNN and memory on a CPU, and whether Paddle can use a device.

This must be set before Paddle is imported, so this module does not import it at the top.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from .errors import UserError

THREADS = "OMP_NUM_THREADS"
# The older and the newer name of the same switch.
ONEDNN_FLAGS = ("FLAGS_use_mkldnn", "FLAGS_use_onednn")
# How users set glibc's allocator themselves, and the options of malloc.h.
_MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# OpenCV's variable for the most pixels of an image, and Pillow's limit, which is its default here:
# OpenCV's own, a billion, takes 6 GB.
MAX_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS"
_PIXELS = 178_956_970


def max_image_pixels() -> int:
    """The most pixels of an image that is decoded: about 179 million, unless the user says other.

    Raises:
        UserError: the user's value is not a positive number.
    """
    given = os.environ.get(MAX_PIXELS, str(_PIXELS))
    number = re.fullmatch(r"([0-9]{1,18})([KkMm][Bb])?", given)
    if not number or not int(number[1]):
        raise UserError(f"{MAX_PIXELS} must be a number of pixels, such as {_PIXELS}; got {given}")
    return int(number[1]) * {"": 1, "kb": 2**10, "mb": 2**20}[(number[2] or "").lower()]


def limit_opencv() -> None:
    """Have OpenCV refuse larger images in this process and those that it starts.

    OpenCV looks at the variable when it is imported; after that this does nothing.
    """
    if "cv2" not in sys.modules:
        os.environ.setdefault(MAX_PIXELS, str(max_image_pixels()))


def tune(settings: dict[str, Any]) -> None:
    """Tune this process for the ``Global`` section of a config."""
    if settings.get("device") == "cpu":
        tune_cpu(onednn=not settings.get("to_static"), keep_memory=True)


def tune_cpu(onednn: bool = True, keep_memory: bool = False) -> dict[str, str]:
    """Use all cores and oneDNN on a CPU, unless the user has set otherwise.

    By default Paddle uses one thread and no oneDNN. The processes that the launcher started on
    this machine share its cores.

    Args:
        onednn: whether to use oneDNN. A network under to_static crashes with it (Paddle 3.3.1:
            a segmentation fault in training, channels mixed up in NHWC).
        keep_memory: whether to :func:`keep_freed_memory`; not in the process of another program.

    Returns:
        The environment variables that were set; empty once Paddle is imported.
    """
    if "paddle" in sys.modules:
        return {}
    if keep_memory:
        keep_freed_memory()
    tuned = {}
    if not _threads_set_by_user():
        from joblib import cpu_count  # respects affinity and the limits of containers

        processes = int(os.environ.get("PADDLE_LOCAL_SIZE") or 1)
        tuned[THREADS] = str(max(1, cpu_count() // processes))
    if onednn and not any(flag in os.environ for flag in ONEDNN_FLAGS):
        tuned[ONEDNN_FLAGS[0]] = "1"
    os.environ.update(tuned)
    return tuned


def keep_freed_memory() -> bool:
    """Keep freed memory in this process for its next use, unless the user has set otherwise.

    By default glibc returns large blocks to the system, which clears each page before it hands
    it out again: a feature map of 25 MB costs more to allocate than to add to another.

    Returns:
        Whether that was done; it needs Linux with glibc.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] != "glibc" or "glibc.malloc" in tunables:
        return False
    if any(name in os.environ for name in _MALLOC_SETTINGS):
        return False
    libc = ctypes.CDLL(None)
    # No separate mappings, which are returned when freed, and a heap that never shrinks (-1).
    if not (libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1)):
        return False
    # DataLoader workers would hold a copy of all of it until the epoch ends.
    os.register_at_fork(before=lambda: libc.malloc_trim(0))
    return True


def threads() -> int:
    """The number of CPU threads of this process, after :func:`tune_cpu`."""
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
    # The launcher has imported Paddle, which sets the variable to 1 if it is not set. The
    # environment that the launcher was started with holds the user's choice.
    try:
        started_with = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return True
    return any(entry.startswith(THREADS.encode() + b"=") for entry in started_with.split(b"\0"))


def check_paddle() -> None:
    """Import Paddle; raise UserError, with what to install, if that fails."""
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
    """Raise UserError if Paddle cannot use ``device`` here.

    Args:
        device: ``cpu``, ``gpu``, ``xpu``, ...
        option: the option that asks for it, for the message.
        instead: the option that selects the CPU.
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
