"""What defines a training run: its config, its data, its processes.

A checkpoint keeps it, so that a run that is resumed with other settings says so, and the processes
of a run compare it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import paddle

from ....errors import UserError
from ....files import open_foreign
from ....training.checkpoints import AUTO
from ....version import __version__
from ..locate import PaddleClas
from .datasets import evaluation_loaders

# Settings by the keys of the config and, for other settings, by a name.
Settings = dict[str, Any]
# Patterns of keys. Those of places, of what a run writes, and of how fast it is define nothing.
_IGNORED = (
    *("Infer.*", "Export.*", "profiler_options", "Arch.*pretrained", "Arch.*use_ssld"),
    *("DataLoader.*.loader.*", "Global.checkpoints", "Global.pretrained_model", "Global.device"),
    *("Global.output_dir", "Global.save_*", "Global.print_batch_step", "Global.use_visualdl"),
    *("Global.progress", "Global.preflight", "Global.peer_timeout", "Global.export_*"),
    *("Global.uniform_output_enabled", "Global.pdx_model_name", "Global.infer_config_path"),
)
_CHECKPOINT, _LABEL_LIST = "Global.checkpoints", "cls_label_path"
# What may differ from machine to machine: paths, how images are loaded, and what is logged.
# Initial weights are those of rank 0, and each rank derives a seed of its own.
_OF_A_PROCESS = (
    *("Infer", "Infer.*", "profiler_options", "*.image_root", "*.loader.*", "*.pretrained"),
    *("Global.output_dir", "Global.save_inference_dir", "Global.pretrained_model", "Global.seed"),
    *("Global.preflight", "Global.progress", "Global.print_*", "Global.log_ranks"),
    *("Global.use_visualdl", "Global.max_*_images", "Global.infer_imgs"),
)
OPTIMIZERS = ("Optimizer", "Optimizer.name", "Optimizer.*.scope")
SCHEDULES = ("Optimizer.lr.*", "Optimizer.*.lr.*")
STEPS = ("Global.epochs", "Global.update_freq", "Global.iter_per_epoch", "steps_per_epoch")
# What decides which images the steps of an epoch see.
ORDER = (
    *("processes", "steps_per_epoch", "images", "Global.seed"),
    *("DataLoader.Train.sampler.*", "DataLoader.Train.*cls_label_path"),
)
# A list of class weights or the like may be long.
_LARGEST = 1 << 20  # bytes
_LONGEST_VALUE = 60  # characters in a message


def settings_of(config: Any) -> Settings:
    """The settings in a config of plain types, by key; a label list stands for its content."""
    # As they are read from a manifest.
    text = json.dumps(dict(_settings(config, _IGNORED)), default=str)
    return json.loads(text) if len(text) < _LARGEST else {}


def settings_to_share(ppcls: PaddleClas, config: Any, mode: str) -> dict[str, str]:
    """The settings that are to be the same in all processes, before the run is built.

    Args:
        ppcls: the PaddleClas that runs it.
        config: a config, as it was given.
        mode: of the Engine.
    """
    versions = {
        "the command": mode,
        "paddlepaddle": paddle.__version__,
        "PaddleClas": str(ppcls.version or "a checkout"),
        "paddleclas_eca": __version__,
    }
    settings = dict(_settings(config, _OF_A_PROCESS))
    path = settings.get(_CHECKPOINT)
    if path and path != AUTO:
        settings[_CHECKPOINT] = "a path"
    return {**versions, **{key: str(value) for key, value in settings.items()}}


def batches_of(engine: Any) -> dict[str, str]:
    """The number of batches of a process's loaders, by their names."""
    loaders = {"train_dataloader": getattr(engine, "train_dataloader", None)}
    loaders.update(evaluation_loaders(engine))
    return {
        f"the number of batches of {name}": str(len(loader))
        for name, loader in loaders.items()
        if hasattr(loader, "__len__")
    }


def _settings(config: Any, ignored: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in _flat(config):
        if not matches(key, ignored):
            is_list = key.endswith(_LABEL_LIST) and isinstance(value, str)
            yield key, _content(value) if is_list else value


def _flat(part: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values by key. An entry of a list is named by its only key, as PaddleClas's lists are."""
    if isinstance(part, list) and any(isinstance(entry, (dict, list)) for entry in part):
        named: dict[str, Any] = {}
        for entry in part:
            single = isinstance(entry, dict) and len(entry) == 1
            name, content = next(iter(entry.items())) if single else ("", entry)
            if name in named or not single:
                name = f"{name}#{len(named) + 1}"
            named[str(name)] = content
        yield key, ", ".join(named)
        part = named
    if isinstance(part, dict):
        for name, content in part.items():
            yield from _flat(content, f"{key}.{name}" if key else str(name))
    else:
        yield key, part


def _content(path: str) -> str:
    """What a label list says, without the directories of its images."""
    digest, lines = hashlib.sha256(), 0
    try:
        with open_foreign(path, "rb") as file:
            while block := file.readlines(1 << 20):
                lines += len(block)
                text = b"".join(block).replace(b"\r", b"").replace(b"\\", b"/")
                # Ten times as fast as a regular expression, which ImageNet's list shows.
                files = (line[line.rfind(b"/") + 1 :] for line in text.split(b"\n"))
                digest.update(b"\n".join(files))
    except (UserError, OSError, ValueError):
        return path  # reported elsewhere
    return f"a list of {lines:,} lines, {digest.hexdigest()[:8]}"


def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether a key is one of those that patterns such as ``Optimizer.lr.*`` stand for."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def differences(before: Settings, now: Settings) -> dict[str, str]:
    """``"0.1 -> 0.05"`` for each setting that differs, by its key, in the order of ``now``.

    A setting that one of the two lacks is null there.
    """
    keys = dict.fromkeys([*now, *before])
    return {
        key: f"{_shown(before.get(key))} -> {_shown(now.get(key))}"
        for key in keys
        if before.get(key) != now.get(key)
    }


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "null"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
