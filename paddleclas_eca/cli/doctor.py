"""``paddleclas-eca doctor``: whether models can be trained here, and with which versions."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform

from .. import register
from ..errors import UserError
from ..hosts.paddleclas.session import PaddleClas, active_patches, find_paddleclas
from ..runtime import ONEDNN_FLAGS, THREADS, check_paddle, tune_cpu
from ..version import __version__
from .command import Command

_PACKAGES = (
    "paddlepaddle",
    "paddlepaddle-gpu",
    "paddleclas",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "visualdl",
)
_VARIABLES = (THREADS, *ONEDNN_FLAGS, "PADDLECLAS_ROOT", "CUDA_VISIBLE_DEVICES")


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 if models can be trained here, else 1."""
    tuned = tune_cpu()
    ppcls, failure, devices = None, None, []
    try:
        check_paddle()
        devices = _devices()
        ppcls = find_paddleclas()
        ppcls.check_trainer()
        register()
    except UserError as error:
        failure = error
    print(f"not ready: {failure}" if failure else f"ready: {_summary(ppcls, devices)}")
    if devices:
        print(f"devices: {', '.join(devices)}")
    if ppcls:
        print(f"PaddleClas: {ppcls.folder} ({ppcls.found_by})")
    installed = {package: _version(package) for package in _PACKAGES}
    versions = [f"{package} {version}" for package, version in installed.items() if version]
    print(f"packages: {', '.join([f'paddleclas_eca {__version__}', *versions])}")
    if args.verbose:
        for name in _VARIABLES:
            if name in os.environ:
                origin = " (set for the CPU)" if name in tuned else ""
                print(f"environment: {name}={os.environ[name]}{origin}")
        for patch in active_patches():
            print(f"patch: {patch.name} ({patch.versions}): {patch.symptom}")
    return 1 if failure else 0


def _summary(ppcls: PaddleClas, devices: list[str]) -> str:
    import paddle

    kind = "GPU" if len(devices) > 1 else "CPU"
    version = ppcls.version or f"in {ppcls.folder.parent}"
    return (
        f"{kind}, PaddleClas {version}, Paddle {paddle.__version__}, "
        f"Python {platform.python_version()}"
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    import paddle

    gpus = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    return ["cpu", *(f"gpu:{i} ({paddle.device.cuda.get_device_name(i)})" for i in range(gpus))]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also show environment variables, and the patches that PaddleClas needs here",
    )


COMMAND = Command(
    "doctor",
    "show whether models can be trained here, and with which versions and devices",
    _add_arguments,
    run,
)
