"""What defines a training run: its config, its data, its processes.

A checkpoint keeps it, so that a run that is resumed with other settings says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ....files import sha256

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
_LARGEST_FILE = 1 << 30  # bytes
_LONGEST_VALUE = 60  # characters in a message


def settings_of(config: Any) -> Settings:
    """The settings in a config of plain types, by key; a file stands for its content."""
    settings = {
        key: _content(value) if key.startswith("DataLoader.") else value
        for key, value in _flat(config)
        if not matches(key, _IGNORED)
    }
    # As they are read from a manifest.
    text = json.dumps(settings, default=str)
    return json.loads(text) if len(text) < _LARGEST else {}


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


def _content(value: Any) -> Any:
    """A value of the config; if it is the path of a file, what identifies the content."""
    if not isinstance(value, str):
        return value
    try:
        file = Path(value)
        if not file.is_file():
            return value
        size = file.stat().st_size
        return f"sha256:{sha256(file)}" if size <= _LARGEST_FILE else f"{size} bytes"
    except (OSError, ValueError):
        return value


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
    if text.startswith('"sha256:'):
        return f"content {text[8:16]}"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
