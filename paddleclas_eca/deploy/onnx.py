"""ONNX files of exported models: convert, and check against the Paddle model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from ..errors import UserError
from .format import ONNX, PROGRAM, WEIGHTS
from .runtimes import import_for_onnx, open_onnx_session, open_session

# The newest that TensorRT 8 and OpenVINO of the same years read without limits, and all that the
# networks need.
OPSET = 13
TOLERANCE = 1e-4


def check_converter() -> None:
    """Raise UserError, with what to install, where paddle2onnx or onnxruntime is missing."""
    for package in ("paddle2onnx", "onnxruntime"):
        import_for_onnx(package)


def convert_to_onnx(folder: Path) -> None:
    """Write ``inference.onnx`` beside an exported network.

    Args:
        folder: has the network's program and weights.

    Raises:
        UserError: a package is missing, or paddle2onnx cannot convert the network.
    """
    check_converter()
    # In a process of its own: paddle2onnx aborts on networks that it cannot convert.
    options = {
        "model_filename": str(folder / PROGRAM),
        "params_filename": str(folder / WEIGHTS),
        "save_file": str(folder / ONNX),
        "opset_version": OPSET,
        # Its default installs a package with pip while it runs.
        "optimize_tool": "None",
    }
    # Not the working directory, which `python -c` would import the user's json.py from.
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); import json, paddle2onnx; "
        "paddle2onnx.export(**json.loads(sys.argv[1]))"
    )
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


def compare_onnx(folder: Path, image: np.ndarray, what: str) -> float:
    """Compare the ONNX file with the Paddle model, on an image alone and in a batch.

    Args:
        folder: has both.
        image: a preprocessed image, ``[C, H, W]`` in float32.
        what: description of the image, for the message.

    Returns:
        The largest difference of an output.

    Raises:
        UserError: the outputs differ by more than ``TOLERANCE``.
    """
    sessions = open_session(folder), open_onnx_session(folder)
    largest = 0.0
    for batch in (np.stack([image]), np.stack([image, image[:, :, ::-1], 0.5 * image])):
        expected, given = (session.run(np.ascontiguousarray(batch)) for session in sessions)
        if expected.shape != given.shape:
            raise UserError(
                f"the ONNX model returns {list(given.shape)} for {len(batch)} images, and the "
                f"Paddle model {list(expected.shape)}; nothing was written"
            )
        difference = float(np.abs(expected - given).max())
        if not difference <= TOLERANCE:  # so that nan counts
            raise UserError(
                f"the ONNX model differs from the Paddle model by {difference:.1e} on {what}, "
                f"more than {TOLERANCE:g}; nothing was written"
            )
        largest = max(largest, difference)
    return largest
