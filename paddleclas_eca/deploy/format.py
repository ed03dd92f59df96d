"""The folder of an exported model: all that is needed to predict, written whole or not at all.

===================== ==========================================================================
file                  holds
===================== ==========================================================================
inference.json        the network, for Paddle Inference
inference.pdiparams   its weights
inference.yml         how images are prepared and what the classes are called, as PaddleX reads it
inference.onnx        the same network with its weights in ONNX, where that was asked for
metadata.json         which model this is and what it came from; the last to be written
===================== ==========================================================================
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError
from ..files import flush

PROGRAM = "inference.json"
# What Paddle writes for networks when its new representation is switched off.
OLD_PROGRAM = "inference.pdmodel"
WEIGHTS = "inference.pdiparams"
DESCRIPTION = "inference.yml"
ONNX = "inference.onnx"
METADATA = "metadata.json"
FORMAT = 1

# Metadata last: a folder without it is not complete.
_FILES = (PROGRAM, OLD_PROGRAM, WEIGHTS, f"{WEIGHTS}.info", DESCRIPTION, ONNX, METADATA)
_STAGE = ".exporting-"

# Called with the folder and the config of a model that is exported, complete but not yet in its
# place; what they write goes there with it, and where they raise nothing does. Host imports none
# of ours, so `paddleclas_eca.register` fills this.
ADDITIONS: list[Callable[[Path, dict[str, Any]], None]] = []


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Write an exported model: yields a new folder for its files.

    They replace those of a former model in ``folder``, all of them: an ONNX file of other weights
    does not stay. Other files are left alone. When the caller fails, the former model stays.

    Args:
        folder: where the model belongs; made if it is missing.

    Raises:
        UserError: the files cannot be written.
    """
    with _writing(folder):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_STAGE}*"):  # of a process that was killed
            shutil.rmtree(left)
        stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder))
    try:
        yield stage
        with _writing(folder):
            _move_in(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # fails where the model is in it


def _move_in(stage: Path, folder: Path) -> None:
    written = sorted(path.name for path in stage.iterdir())
    for path in (*(path for path in stage.rglob("*") if path.is_file()), stage):
        flush(path)
    (folder / METADATA).unlink(missing_ok=True)
    for name in (*(name for name in written if name not in _FILES), *_FILES):
        if name in written:
            os.replace(stage / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    flush(folder)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the exported model cannot be written to {folder}: {error.strerror or error}. Mend "
            f"that, or set another Global.save_inference_dir"
        ) from error
