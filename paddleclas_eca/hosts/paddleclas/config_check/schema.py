"""The declared schema of a config: which keys its sections have, and what values these take.

PaddleClas validates no value before it is used, and silently ignores unknown keys. Options of
networks, losses and transforms are not declared here: building them checks these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Callable

from ....configs import Config, section
from ....errors import suggestion
from .findings import Finding, error, warning


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        text: its description, to follow "expected".
        read: the value as PaddleClas needs it; raises ValueError or TypeError for another kind.
    """

    text: str
    read: Callable[[Any], Any]

    def __or__(self, other: Kind) -> Kind:
        def read(value: Any) -> Any:
            try:
                return self.read(value)
            except (TypeError, ValueError, OverflowError):
                return other.read(value)

        return Kind(f"{self.text} or {other.text}", read)


def _require(valid: bool) -> None:
    if not valid:
        raise ValueError


# YAML 1.1, which PyYAML reads, takes 1e-4 for text: its numbers have a dot there.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    _require(isinstance(value, (int, float)) and not isinstance(value, bool))
    return value


def _integer(low: int) -> Kind:
    def read(value: Any) -> int:
        number = _as_number(value)
        _require(number == int(number) and number >= low)
        return int(number)

    return Kind(f"an integer >= {low}", read)


def _number(low: float = -math.inf, high: float = math.inf) -> Kind:
    def read(value: Any) -> Any:
        number = _as_number(value)
        _require(low <= number <= high and math.isfinite(number))
        return number

    if math.isfinite(high):
        return Kind(f"a number from {low:g} to {high:g}", read)
    return Kind(f"a number >= {low:g}" if math.isfinite(low) else "a number", read)


def _list_of(kind: Kind, example: str, length: int | None = None) -> Kind:
    def read(value: Any) -> list[Any]:
        _require(isinstance(value, (list, tuple)) and len(value) > 0)
        _require(length is None or len(value) == length)
        return [kind.read(entry) for entry in value]

    return Kind(f"a list such as {example}", read)


def _one_of(*values: Any) -> Kind:
    def read(value: Any) -> Any:
        # 0 and 1 equal the two switches.
        _require(not isinstance(value, (list, dict)) and value in values)
        return values[values.index(value)]

    return Kind(" or ".join(map(str, values)), read)


def _read_path(value: Any) -> str:
    _require(isinstance(value, str) and value != "")
    return value


def _read_null(value: Any) -> None:
    _require(value is None or value is False)


def _read_below_one(value: Any) -> Any:
    number = _as_number(value)
    _require(0 <= number < 1)
    return number


_BELOW_ONE = Kind("a number >= 0 and < 1", _read_below_one)
_ANY = Kind("anything", lambda value: value)
_NULL = Kind("null", _read_null)
_PATH = Kind("a path", _read_path)
_SWITCH = _one_of(True, False)
_COUNT = _integer(1)
_RATE = _number(0)
_SHARE = _number(0, 1)

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
    "weight_decay": _RATE | _NULL,
    "clip_norm": _RATE | _NULL,
    "regularizer.coeff": _RATE,
    **{f"lr.{key}": kind for key, kind in _SCHEDULE.items()},
}

# By key: * stands for any one key or list entry, ** for any number of them.
VALUES: dict[str, Kind] = {
    "Global.epochs": _COUNT,
    # -1 saves no checkpoints of single epochs.
    "Global.save_interval": _COUNT | _one_of(-1),
    "Global.eval_interval": _COUNT,
    "Global.start_eval_epoch": _integer(0),
    "Global.print_batch_step": _COUNT,
    "Global.iter_per_epoch": _COUNT | _NULL,
    "Global.update_freq": _COUNT,
    "Global.output_dir": _PATH,
    "Global.checkpoints": _PATH | _NULL,
    "Global.pretrained_model": _PATH | _NULL,
    "Global.peer_timeout": _number(10) | _one_of(0) | _NULL,
    "Global.seed": _integer(0) | _NULL,
    "Global.image_shape": _list_of(_COUNT, "[3, 224, 224]", length=3),
    "Global.class_num": _COUNT,
    "Global.max_corrupt_images": _SHARE,
    "Global.eval_mode": _one_of("classification", "retrieval", "adaface"),
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
    "Arch.**.pretrained": _SWITCH | _PATH | _NULL,
    "DataLoader.**.dataset.image_root": _PATH,
    "DataLoader.**.dataset.cls_label_path": _PATH,
    "DataLoader.**.sampler.batch_size": _COUNT,
    "DataLoader.**.sampler.drop_last": _SWITCH,
    "DataLoader.**.sampler.shuffle": _SWITCH,
    "DataLoader.**.loader.num_workers": _integer(0),
    "DataLoader.**.loader.use_shared_memory": _SWITCH,
    "EMA.decay": _BELOW_ONE,
    "Infer.batch_size": _COUNT,
    "Infer.PostProcess.topk": _COUNT,
    "Loss.Train": _list_of(_ANY, "`- CELoss: {weight: 1.0}`"),
    "Loss.*.*.*.weight": _number(),
    "Loss.*.*.CELoss.epsilon": _SHARE | _NULL,
    "Metric.*.*.TopkAcc.topk": _COUNT | _list_of(_COUNT, "[1, 5]"),
    "AMP.use_amp": _SWITCH,
    "AMP.use_fp16_test": _SWITCH,
    "AMP.use_dynamic_loss_scaling": _SWITCH,
    "AMP.scale_loss": _RATE,
    **{f"Optimizer.{key}": kind for key, kind in _OPTIMIZER.items()},
    # Several optimizers stand in a list, each under its name.
    **{f"Optimizer.*.*.{key}": kind for key, kind in _OPTIMIZER.items()},
}

# Old names of keys, which keep working.
ALIASES = {"Global.max_broken_images": "Global.max_corrupt_images"}

_LOADER = {
    "": {"dataset", "sampler", "loader"},
    "loader": {"num_workers", "use_shared_memory"},
}
# The keys that some version of PaddleClas or this package reads, and those that PaddleClas's own
# configs have although nothing reads them.
KEYS: dict[str, set[str]] = {
    "": {
        *("Global", "Arch", "AMP", "EMA", "Loss", "UnLabelLoss", "Optimizer", "DataLoader"),
        *("Metric", "Infer", "Slim", "SSL", "MLDecoder", "IndexProcess", "profiler_options"),
    },
    "Global": {
        *("checkpoints", "pretrained_model", "device", "output_dir", "save_inference_dir", "seed"),
        *("epochs", "save_interval", "eval_during_train", "eval_interval", "start_eval_epoch"),
        *("print_batch_step", "print_mem_info", "use_visualdl", "use_dali", "use_gpu", "to_static"),
        *("image_shape", "image_channel", "infer_imgs", "class_num", "use_multilabel"),
        *("eval_mode", "train_mode", "distributed", "log_ranks", "update_freq", "iter_per_epoch"),
        *("warmup_iter", "uniform_output_enabled", "export_for_fd", "hpi_config_path"),
        *("pdx_model_name", "feature_normalize", "feature_binarize", "re_ranking"),
        *("retrieval_feature_from", "sim_block_size"),
        # Those of this package.
        *("preflight", "max_corrupt_images", "peer_timeout", "export_onnx", "progress"),
    },
    "AMP": {
        *("use_amp", "use_fp16_test", "use_promote", "use_dynamic_loss_scaling", "level"),
        "scale_loss",
    },
    "EMA": {"decay"},
    "Infer": {"infer_imgs", "infer_list", "batch_size", "transforms", "PostProcess", "save_dir"},
    "DataLoader": {
        *("Train", "Eval", "UnLabelTrain", "Metalearning", "class_num", "epochs", "mean", "std")
    },
    "Loss": {"Train", "Eval", "Basic", "MetaTrain", "MetaTest"},
    "UnLabelLoss": {"Train", "Eval"},
    "Metric": {"Train", "Eval"},
    "Slim": {"prune", "quant"},
}


def check_schema(config: Config, mode: str) -> Iterator[Finding]:
    """Check the values of the declared keys, and make numbers of numbers in text.

    Args:
        config: a PaddleClas config; changed in place. Values of another kind become None.
        mode: the mode of the Engine; the optimizer matters for ``"train"`` alone.
    """
    settings = config.get("Global")
    for old, new in ALIASES.items():
        old, new = old.split(".")[1], new.split(".")[1]
        if isinstance(settings, dict) and old in settings:
            settings.setdefault(new, settings.pop(old))
    for pattern, kind in VALUES.items():
        if pattern.startswith("Optimizer") and mode != "train":
            continue
        for owner, key, name in _places(config, pattern.split("."), ()):
            value = owner[key]
            try:
                owner[key] = kind.read(value)
            except (TypeError, ValueError, OverflowError):
                yield error(name, f"{value!r} is not valid: expected {kind.text}")
                owner[key] = None


def _places(part: Any, keys: list[str], above: tuple[str, ...]) -> Iterator[tuple[Any, Any, str]]:
    """(section, key, full name) of all matches of a pattern."""
    if isinstance(part, dict):
        entries = list(part.items())
    else:
        entries = list(enumerate(part)) if isinstance(part, list) else []
    wanted, *rest = keys
    if wanted == "**":
        yield from _places(part, rest, above)
    for key, value in entries:
        name = (*above, str(key))
        if wanted == "**":
            yield from _places(value, keys, name)
        elif wanted in ("*", key):
            if rest:
                yield from _places(value, rest, name)
            else:
                yield part, key, ".".join(name)


def unknown_keys(config: Config) -> Iterator[Finding]:
    """A warning for each key of the declared sections that nothing reads."""
    for name, valid in KEYS.items():
        given = config.get(name) if name else config
        known = {*valid, *(old.split(".")[1] for old in ALIASES if old.startswith(f"{name}."))}
        yield from ignored(name, given, known)
    yield from _of_loaders("DataLoader", config.get("DataLoader"))


def _of_loaders(place: str, loader: Any) -> Iterator[Finding]:
    if not isinstance(loader, dict):
        return
    if "dataset" not in loader:
        for key, value in loader.items():
            yield from _of_loaders(f"{place}.{key}", value)
        return
    for name, valid in _LOADER.items():
        where = f"{place}.{name}".rstrip(".")
        yield from ignored(where, loader.get(name) if name else loader, valid)
    if section(loader, "sampler", "name") is None:
        valid = {"batch_size", "drop_last", "shuffle", "name"}
        yield from ignored(f"{place}.sampler", loader.get("sampler"), valid)


def ignored(place: str, given: Any, valid: Collection[str]) -> Iterator[Finding]:
    """A warning for each key of a section that is not among the valid ones."""
    for key in given if isinstance(given, dict) else ():
        if key not in valid:
            yield warning(
                f"{place}.{key}".lstrip("."),
                f"nothing reads this key, so it is ignored{suggestion(str(key), valid)}",
            )
