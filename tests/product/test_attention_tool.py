"""``paddleclas-eca attention`` as a user types it, with weights that were trained."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.mark.slow
def test_attention_of_a_trained_network(tmp_path, run_python, digits, trained):
    finished = run_python(
        Path(sysconfig.get_path("scripts")) / "paddleclas-eca",
        *("attention", "-c", "digits/ECA_ResNet18"),
        *("-o", f"Global.pretrained_model={trained.folder / 'latest'}"),
        *("--images", digits, "--list", digits / "val_20.txt", "--heat-maps", "1"),
        cwd=tmp_path,
    )
    assert "110 of 110 tensors loaded" in finished.stdout + finished.stderr
    folder = next((tmp_path / "output").rglob("attention"))
    for name in ("channel_weights", "heat_maps"):
        assert np.ptp(cv2.imread(str(folder / f"{name}.png"))) == 255
        assert (folder / f"{name}.svg").read_text().startswith("<?xml")
    words = (folder / "channel_weights.svg").read_text()
    for layer in ("blocks.1", "blocks.3", "blocks.5", "blocks.7"):
        assert f">{layer}.attention: " in words
    # The weights of the classes differ: the weights come from the images.
    rows = [line.split(",") for line in (folder / "channel_weights.csv").read_text().splitlines()]
    last = [
        [float(r[4]) for r in rows if r[:2] == ["blocks.7.attention", c]] for c in ("zero", "one")
    ]
    assert len(last[0]) == 512 and not np.allclose(*last, atol=1e-3)
