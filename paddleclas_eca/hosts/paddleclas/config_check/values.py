"""What values the well-known keys of a config take.

PaddleClas takes what it finds and fails where it is used, in words of the place where that is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from .findings import Finding, error

Config = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        text: what another value is, to follow "is".
        read: the value as PaddleClas needs it; raises ValueError or TypeError where it is none.
    """

    text: str
    read: Callable[[Any], Any]


def _whole(low: int, *others: int) -> Kind:
    def read(value: Any) -> int:
        number = _as_number(value)
        if number != int(number) or (number < low and number not in others):
            raise ValueError
        return int(number)

    return Kind(f"no whole number from {low}{''.join(f' or {o}' for o in others)}", read)


def _number(low: float, high: float = math.inf) -> Kind:
    def read(value: Any) -> Any:
        number = _as_number(value)
        if not (low <= number <= high and math.isfinite(number)):
            raise ValueError
        return number

    bounds = f" from {low:g}" if math.isfinite(low) else ""
    return Kind(f"no number{bounds}" + (f" to {high:g}" if math.isfinite(high) else ""), read)


# YAML 1.1, which PyYAML reads, takes 1e-4 for text: its numbers have a dot there.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return value


def _list_of(kind: Kind, example: str, length: int | None = None) -> Kind:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or not value:
            raise TypeError
        if length is not None and len(value) != length:
            raise ValueError
        return [kind.read(entry) for entry in value]

    return Kind(f"no list such as {example}", read)


def _either(first: Kind, second: Kind) -> Kind:
    def read(value: Any) -> Any:
        try:
            return first.read(value)
        except (TypeError, ValueError):
            return second.read(value)

    return Kind(f"{first.text} and {second.text}", read)


def _read_switch(value: Any) -> bool:
    if value not in (True, False):  # 0 and 1 equal them
        raise ValueError
    return bool(value)


def _read_null(value: Any) -> None:
    if value is not None and value is not False:
        raise ValueError


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _read_zero(value: Any) -> int:
    if value != 0:
        raise ValueError
    return 0


_ANY = Kind("nothing", lambda value: value)
_PATH = Kind("no path", _read_text)
_SWITCH = Kind("neither True nor False", _read_switch)
_COUNT = _whole(1)
_RATE = _number(0)
_SHARE = _number(0, 1)


def _or_null(kind: Kind) -> Kind:
    return _either(kind, Kind("not null", _read_null))


_SCHEDULE = {
    "learning_rate": _RATE,
    "values": _list_of(_RATE, "[0.1, 0.01]"),
    "decay_epochs": _list_of(_RATE, "[30, 60]"),
    "milestones": _list_of(_RATE, "[30, 60]"),
    "warmup_epoch": _RATE,
    "warmup_start_lr": _RATE,
    "eta_min": _RATE,
    "gamma": _RATE,
}
_OPTIMIZER = {
    "momentum": _SHARE,
    "beta1": _SHARE,
    "beta2": _SHARE,
    "epsilon": _RATE,
    "weight_decay": _or_null(_RATE),
    "clip_norm": _or_null(_RATE),
    "regularizer.coeff": _RATE,
    **{f"lr.{key}": kind for key, kind in _SCHEDULE.items()},
}

# By key: * stands for any one key or list entry, ** for any number of them.
KINDS: dict[str, Kind] = {
    "Global.epochs": _COUNT,
    # -1 saves no checkpoints of single epochs.
    "Global.save_interval": _whole(1, -1),
    "Global.eval_interval": _COUNT,
    "Global.start_eval_epoch": _whole(0),
    "Global.print_batch_step": _COUNT,
    "Global.iter_per_epoch": _or_null(_COUNT),
    "Global.update_freq": _COUNT,
    "Global.output_dir": _PATH,
    "Global.peer_timeout": _or_null(_either(_number(10), Kind("not 0", _read_zero))),
    "Global.seed": _or_null(_whole(0)),
    "Global.image_shape": _list_of(_COUNT, "[3, 224, 224]", length=3),
    "Global.class_num": _COUNT,
    "Global.max_broken_images": _SHARE,
    "Global.eval_during_train": _SWITCH,
    "Global.preflight": _SWITCH,
    "Global.progress": _SWITCH,
    "Global.use_visualdl": _SWITCH,
    "Global.use_dali": _SWITCH,
    "Global.use_multilabel": _SWITCH,
    "Global.to_static": _SWITCH,
    "Global.export_onnx": _SWITCH,
    "Arch.class_num": _COUNT,
    "Arch.Head.class_num": _COUNT,
    "Arch.models.*.*.class_num": _COUNT,
    "DataLoader.**.dataset.image_root": _PATH,
    "DataLoader.**.dataset.cls_label_path": _PATH,
    "DataLoader.**.sampler.batch_size": _COUNT,
    "DataLoader.**.sampler.drop_last": _SWITCH,
    "DataLoader.**.sampler.shuffle": _SWITCH,
    "DataLoader.**.loader.num_workers": _whole(0),
    "DataLoader.**.loader.use_shared_memory": _SWITCH,
    "Infer.batch_size": _COUNT,
    "Infer.PostProcess.topk": _COUNT,
    "Loss.Train": _list_of(_ANY, "`- CELoss: {weight: 1.0}`"),
    "Loss.*.*.*.weight": _number(-math.inf),
    "Loss.*.*.CELoss.epsilon": _or_null(_SHARE),
    "Metric.*.*.TopkAcc.topk": _either(_COUNT, _list_of(_COUNT, "[1, 5]")),
    "AMP.use_amp": _SWITCH,
    "AMP.use_fp16_test": _SWITCH,
    "AMP.use_dynamic_loss_scaling": _SWITCH,
    "AMP.scale_loss": _RATE,
    **{f"Optimizer.{key}": kind for key, kind in _OPTIMIZER.items()},
    # Several optimizers stand in a list, each under its name.
    **{f"Optimizer.*.*.{key}": kind for key, kind in _OPTIMIZER.items()},
}


def wrong_values(config: Config, mode: str) -> Iterator[Finding]:
    """Check the well-known keys that a config has, and make numbers of numbers in text.

    Args:
        config: a PaddleClas config; changed in place. Values that are not of the kind that their
            key takes are made None.
        mode: what is to be done with it; the optimizer matters for ``"train"`` alone.
    """
    for pattern, kind in KINDS.items():
        if pattern.startswith("Optimizer") and mode != "train":
            continue
        for section, key, name in _places(config, pattern.split("."), ()):
            value = section[key]
            try:
                section[key] = kind.read(value)
            except (TypeError, ValueError, OverflowError):
                yield error(name, f"{value!r} is {kind.text}")
                section[key] = None


def _places(
    section: Any, keys: list[str], above: tuple[str, ...]
) -> Iterator[tuple[Any, Any, str]]:
    """(section, key, full name) of what a pattern stands for."""
    if isinstance(section, dict):
        entries = list(section.items())
    else:
        entries = list(enumerate(section)) if isinstance(section, list) else []
    wanted, *rest = keys
    if wanted == "**":
        yield from _places(section, rest, above)
    for key, value in entries:
        name = (*above, str(key))
        if wanted == "**":
            yield from _places(value, keys, name)
        elif wanted in ("*", key):
            if rest:
                yield from _places(value, rest, name)
            else:
                yield section, key, ".".join(name)
