"""ONNX files of exported models: convert, check against the Paddle model, run."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UserError
from ..hosts.paddleclas.config_check.rules import example_image
from ..hosts.paddleclas.inference_yml import transforms
from ..hosts.paddleclas.session import activate
from ..runtime import threads
from .format import ONNX, PROGRAM, WEIGHTS
from .preprocess import Preparation
from .runtimes import Session, open_session

INSTALL = "pip install '.[onnx]' in the clone of paddleclas_eca"
# The newest that TensorRT 8 and OpenVINO of the same years read without limits, and all that the
# networks need.
OPSET = 13
TOLERANCE = 1e-4
SWITCH = "export_onnx"


def require_converter() -> None:
    """Raise UserError, with what to install, where paddle2onnx or onnxruntime is missing."""
    for name in ("paddle2onnx", "onnxruntime"):
        _package(name)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX needs {name} ({error}): {INSTALL}") from error


def add_onnx(folder: Path, config: dict[str, Any]) -> None:
    """Write ``inference.onnx`` beside an exported model where ``Global.export_onnx`` asks for it.

    Args:
        folder: an exported folder that is complete but for this file.
        config: the config that it was exported with.

    Raises:
        UserError: a package is missing, the model cannot be converted, or the two give
            different results.
    """
    if not config["Global"].get(SWITCH):
        return
    require_converter()
    convert_to_onnx(folder)
    _check(folder, config)


def convert_to_onnx(folder: Path) -> None:
    """Write ``inference.onnx`` beside an exported network.

    Args:
        folder: has the network's program and weights.

    Raises:
        UserError: paddle2onnx cannot convert it.
    """
    # In a process of its own: paddle2onnx aborts it at what it cannot convert.
    options = {
        "model_filename": str(folder / PROGRAM),
        "params_filename": str(folder / WEIGHTS),
        "save_file": str(folder / ONNX),
        "opset_version": OPSET,
        # Its default installs a package with pip while it runs.
        "optimize_tool": "None",
    }
    code = "import json, sys, paddle2onnx; paddle2onnx.export(**json.loads(sys.argv[1]))"
    finished = subprocess.run(
        [sys.executable, "-c", code, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    if finished.returncode or not (folder / ONNX).is_file():
        lines = finished.stdout.strip().splitlines() or ["it says nothing"]
        reasons = [line for line in lines if "[ERROR]" in line] or lines[-1:]
        raise UserError(
            f"paddle2onnx cannot convert this model, so nothing was written: {' '.join(reasons)}"
        )


def _check(folder: Path, config: dict[str, Any]) -> None:
    """Hold the ONNX file against the Paddle model on an image, alone and in a batch."""
    ppcls = activate()
    image, origin = example_image(ppcls, config)
    prepared = Preparation(ppcls, transforms(config), "the config's transforms")(image)
    mirrored = prepared[:, :, ::-1]
    sessions = open_session(folder), open_onnx_session(folder)
    batches = [np.stack([prepared]), np.stack([prepared, mirrored, 0.5 * prepared])]
    largest = 0.0
    for batch in batches:
        ours, theirs = (session.run(np.ascontiguousarray(batch)) for session in sessions)
        if ours.shape != theirs.shape:
            raise UserError(
                f"the ONNX model returns {list(theirs.shape)} for {len(batch)} images, and the "
                f"Paddle model {list(ours.shape)}; nothing was written"
            )
        difference = float(np.abs(ours - theirs).max())
        if not difference <= TOLERANCE:  # so that nan counts
            raise UserError(
                f"the ONNX model differs from the Paddle model by {difference:.1e} on {image} "
                f"({origin}), more than {TOLERANCE:g}; nothing was written"
            )
        largest = max(largest, difference)
    ppcls.module("utils.logger").info(
        f"{ONNX} (opset {OPSET}) gives what the Paddle model gives on {image} ({origin}), in "
        f"batches of 1 and 3: the largest difference is {largest:.1e}"
    )


def open_onnx_session(folder: Path, device: str = "cpu") -> Session:
    """Load the ONNX file of an exported folder with ONNX Runtime.

    Args:
        folder: the exported folder.
        device: ``"cpu"`` or ``"gpu"``.

    Raises:
        UserError: the folder has none, or ONNX Runtime is missing or has no such device.
    """
    file = folder / ONNX
    if not file.is_file():
        raise UserError(f"{folder} has no {ONNX}: export the model with --onnx")
    runtime = _package("onnxruntime")
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
