"""``paddleclas-eca doctor``: what is installed, what was found, and what it can do."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform

from .. import __version__, register
from ..errors import UserError
from ..hosts.paddleclas.session import PaddleClas, find_paddleclas
from ..runtime import ONEDNN_FLAGS, THREADS, require_paddle, tune_cpu
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


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 if models can be trained here, else 1."""
    tuned = tune_cpu()
    print(f"paddleclas_eca {__version__}, Python {platform.python_version()}")
    for package in _PACKAGES:
        version = _version(package)
        if version:
            print(f"  {package} {version}")
    try:
        require_paddle()
        _print_machine(tuned)
        ppcls = find_paddleclas()
        version = f" {ppcls.version}" if ppcls.version else ""
        print(f"PaddleClas{version}: {ppcls.folder} ({ppcls.found_by})")
        ppcls.require_trainer()
        register()
    except UserError as error:
        print(f"can train: no. {error}")
        return 1
    print("can train: yes")
    _print_cures(ppcls)
    return 0


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _print_machine(tuned: dict[str, str]) -> None:
    import paddle

    devices = ["cpu"]
    if paddle.device.is_compiled_with_cuda():
        devices += [
            f"gpu:{i} ({paddle.device.cuda.get_device_name(i)})"
            for i in range(paddle.device.cuda.device_count())
        ]
    print(f"devices: {', '.join(devices)}")
    for variable in (THREADS, *ONEDNN_FLAGS):
        if variable in os.environ:
            origin = "set by these tools for the CPU" if variable in tuned else "set by you"
            print(f"  {variable}={os.environ[variable]} ({origin})")


def _print_cures(ppcls: PaddleClas) -> None:
    from ..hosts.paddleclas.compat import patches_in_force

    for title, cures in (("patches in force", patches_in_force()),):
        print(f"{title}: {len(cures)}")
        for cure in cures:
            print(f"  {cure.name} ({cure.versions}): {cure.symptom}")


COMMAND = Command(
    "doctor",
    "show versions, where PaddleClas was found, what it can do, patches, devices and threads",
    lambda parser: None,
    run,
)
