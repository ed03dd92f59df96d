from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from training_log import run_folder


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
    """A finished training run: its folder of checkpoints, and what it printed."""

    folder: Path
    log: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run_tool, short_digits) -> Trained:
    """Three epochs on the short digits, by one process."""
    folder = tmp_path_factory.mktemp("trained")
    finished = run_tool("train", "digits/ECA_ResNet18", short_digits, cwd=folder)
    return Trained(run_folder(folder / "output"), finished.stdout)
