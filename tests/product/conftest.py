from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from training_log import run_folder

DIGITS = "digits/ECA_ResNet18"


@pytest.fixture(scope="session")
def short_digits(digits) -> list[str]:
    """Overrides that make the digits config train on 96 images, three steps an epoch."""
    lists = {"Train": "train_96.txt", "Eval": "val_32.txt"}
    return [
        *(f"DataLoader.{part}.dataset.image_root={digits}" for part in lists),
        *(f"DataLoader.{part}.dataset.cls_label_path={digits / f}" for part, f in lists.items()),
        "Global.print_batch_step=1",
        "Global.save_interval=1",
        "Global.epochs=3",
    ]


class Trained(NamedTuple):
    """A finished training run: its directory of checkpoints, and what it printed."""

    folder: Path
    log: str


@pytest.fixture(scope="session")
def trained(make_once, run_tool, short_digits) -> Trained:
    """Three epochs on the short digits, by one process."""

    def train(folder: Path) -> None:
        finished = run_tool("train", DIGITS, short_digits, cwd=folder)
        (folder / "printed.txt").write_text(finished.stdout)

    folder = make_once("trained", train)
    return Trained(run_folder(folder / "output"), (folder / "printed.txt").read_text())


@pytest.fixture(scope="session")
def trained_exported(make_once, run_tool, trained) -> Trained:
    """The exported directory of ``trained``, with ONNX where that can be, and what was printed."""

    def export(folder: Path) -> None:
        overrides = [f"Global.pretrained_model={trained.folder / 'latest'}"]
        # The extra `onnx`; there is no paddle2onnx for Python 3.13.
        if all(map(find_spec, ("paddle2onnx", "onnxruntime"))):
            overrides.append("Global.export_onnx=True")
        finished = run_tool("export_model", DIGITS, overrides, cwd=folder)
        (folder / "printed.txt").write_text(finished.stdout)

    folder = make_once("trained_exported", export)
    return Trained(folder / "inference" / "digits", (folder / "printed.txt").read_text())
