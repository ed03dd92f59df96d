"""The valid inputs that the campaigns mutate, made with the commands of the package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

NETWORK = "ECA_MobileNetV2_x0_25"
CONFIG = "digits/ECA_ResNet18"
RUN = f"output/{NETWORK}"
EXPORTED = "exported"
_COMMAND = f"""import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from paddleclas_eca.cli import main
sys.exit(main())"""


def write_digits(data: Path) -> None:
    """Write the digits, and short lists of them."""
    from paddleclas_eca.data import prepare_digits

    prepare_digits(data)
    for split, count in (("train", 200), ("val", 40)):
        lines = (data / f"{split}_list.txt").read_text().splitlines(keepends=True)
        few = lines[:: len(lines) // count][:count]
        (data / f"{split}_few.txt").write_text("".join(few))


def data_overrides(data: Path | str) -> list[str]:
    """The overrides that make the digits config train on the short lists."""
    overrides = []
    for part, name in (("Train", "train_few.txt"), ("Eval", "val_few.txt")):
        overrides.append(f"DataLoader.{part}.dataset.image_root={data}")
        overrides.append(f"DataLoader.{part}.dataset.cls_label_path={data}/{name}")
    return overrides


def command(*words: object, cwd: Path, timeout: float | None = None) -> subprocess.CompletedProcess:
    """Run ``paddleclas-eca WORDS``."""
    return subprocess.run(
        [sys.executable, "-c", _COMMAND, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )


def options(overrides: Sequence[str]) -> list[str]:
    """``-o`` in front of each override."""
    return [word for override in overrides for word in ("-o", override)]


def make_inputs(folder: Path) -> None:
    """Prepare data, train, export and convert in ``folder``, unless this package has done so.

    Raises:
        RuntimeError: a command fails.
    """
    done, package = folder / "done", hashlib.sha256()
    for file in sorted((REPOSITORY / "paddleclas_eca").rglob("*.py")):
        package.update(file.read_bytes())
    if done.exists() and done.read_text() == package.hexdigest():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_digits(folder / "digits")
    network = options([f"Arch.name={NETWORK}"])
    training = [*data_overrides("digits"), "Global.output_dir=output", "Global.epochs=2"]
    training += ["Global.save_interval=1", "DataLoader.Train.sampler.batch_size=40"]
    exporting = [f"Global.pretrained_model={RUN}/latest", f"Global.save_inference_dir={EXPORTED}"]
    weights = f"{RUN}/latest.pdparams"
    for words in (
        ["train", "-c", CONFIG, *network, *options(training)],
        ["export_model", "-c", CONFIG, *network, *options(exporting), "--onnx"],
        ["convert", weights, "--model", NETWORK, "--output", "weights.pth"],
        ["convert", weights, "--model", NETWORK, "--output", "weights.safetensors"],
    ):
        finished = command(*words, cwd=folder)
        if finished.returncode:
            raise RuntimeError(f"{words} failed:\n{finished.stdout}{finished.stderr}")
    _write_legacy(folder / "weights.pth", folder / "legacy.pth")
    done.write_text(package.hexdigest())


def _write_legacy(source: Path, target: Path) -> None:
    import torch

    state = torch.load(source, weights_only=True)
    torch.save(state, target, _use_new_zipfile_serialization=False)
