"""Run PaddleClas's Engine, as its own ``tools/*.py`` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ....files import write_files
from ..locate import PaddleClas
from ..source import source_has


def run_folder(ppcls: PaddleClas, config: dict[str, Any]) -> Path:
    """The directory that a training run writes its checkpoints and log to."""
    folder = Path(config["Global"]["output_dir"])
    save_model = ppcls.module("utils.save_load").save_model
    if source_has(save_model, "os.path.join(model_path, model_name)"):
        # 2.4 and 2.5; later versions write to output_dir itself.
        folder = folder / config["Arch"]["name"]
    return folder


def run_engine(ppcls: PaddleClas, config: dict[str, Any], mode: str) -> None:
    """Build the Engine for a config and run it.

    Args:
        ppcls: a PaddleClas with a trainer.
        config: a complete config, an ``AttrDict`` of this PaddleClas.
        mode: ``"train"``, ``"eval"``, ``"infer"`` or ``"export"``.

    Raises:
        UserError: the config cannot be run.
    """
    engine = ppcls.module("engine.engine").Engine(config, mode=mode)
    if mode == "train" and config["Global"].get("uniform_output_enabled"):
        _start_uniform_output(config)
    getattr(engine, mode)()
    if mode == "train":
        ppcls.module("utils.logger").info(f"checkpoints and log: {run_folder(ppcls, config)}")


def _start_uniform_output(config: dict[str, Any]) -> None:
    """The part of develop's uniform output that its ``tools/train.py`` does, not its Engine."""
    folder = Path(config["Global"]["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    # PaddleClas adds to it. A run that resumes has results already, and may be finished.
    if not config["Global"].get("checkpoints"):
        (folder / "train_results.json").unlink(missing_ok=True)
    text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    write_files({folder / "config.yaml": text})


def plain(value: Any) -> Any:
    """A copy of a config, or a part of it, in types that YAML can write."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
