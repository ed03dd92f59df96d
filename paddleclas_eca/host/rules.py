"""Rules for configs: what a PaddleClas version cannot do, misreads or ignores.

A rule either rewrites a config so that it means the same on every version, or
refuses it with a message. All run before the Engine is built, whichever script built it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError, suggestion
from .checkpoints import AUTO, is_half_saved
from .locate import PaddleClas
from .registry import find_network
from .runtime import ONEDNN_FLAGS, check_device
from .source import source_has
from .values import check_values

Config = dict[str, Any]

# Where a relative path of a shipped config may lead, after the working directory.
RESOURCE_ROOTS: list[Path] = []


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: short name, as ``paddleclas-eca doctor`` shows it.
        versions: the PaddleClas versions it is for.
        symptom: what a user sees without it.
        needed: whether the PaddleClas at hand needs it.
        check: changes the config in place, or raises UserError.
    """

    name: str
    versions: str
    symptom: str
    needed: Callable[[PaddleClas], bool]
    check: Callable[[PaddleClas, Config, str], None]


def check_config(ppcls: PaddleClas, config: Config, mode: str) -> None:
    """Apply all rules to ``config``, in place.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete PaddleClas config.
        mode: ``"train"``, ``"eval"``, ``"infer"`` or ``"export"``.

    Raises:
        UserError: the config asks for something that cannot be done.
    """
    for rule in rules_for(ppcls):
        rule.check(ppcls, config, mode)


def rules_for(ppcls: PaddleClas) -> list[Rule]:
    """The rules that ``ppcls`` needs."""
    return [rule for rule in RULES if rule.needed(ppcls)]


def _always(ppcls: PaddleClas) -> bool:
    return True


def _engine_lacks(text: str) -> Callable[[PaddleClas], bool]:
    return lambda ppcls: not source_has(ppcls.module("engine.engine"), text)


def _section(config: Config, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


_MAPPINGS = ("Global", "Arch", "DataLoader", "Loss", "Metric", "Infer", "AMP", "EMA", "Slim")


_FOR_TRAINING = [
    f"Global.{key}" for key in ("epochs", "save_interval", "print_batch_step", "eval_during_train")
]


def _sections(ppcls: PaddleClas, config: Config, mode: str) -> None:
    for key in _MAPPINGS:
        if config.get(key) and not isinstance(config[key], dict):
            raise UserError(
                f"{key}: {config[key]!r} is not a section; it takes `key: value` lines, indented"
            )
    required = ["Global", "Arch", "DataLoader"]
    for key in required + (["Loss", "Optimizer"] if mode == "train" else []):
        if not config.get(key):
            raise UserError(f"the config has no section {key}")
    keys = ["Global.device", "Global.output_dir", "Arch.name"]
    keys += {"train": _FOR_TRAINING, "eval": ["Global.print_batch_step"]}.get(mode, [])
    for key in keys:
        if _section(config, *key.split(".")) is None:
            raise UserError(f"the config has no value for {key}")
    for key in ("checkpoints", "pretrained_model"):
        value = config["Global"].get(key)
        if not isinstance(value, (str, type(None))):
            raise UserError(f"Global.{key}: {value!r} is neither a path nor null")


def _values(ppcls: PaddleClas, config: Config, mode: str) -> None:
    check_values(config, mode)
    schedule = _section(config, "Optimizer", "lr")
    if mode == "train" and _section(schedule, "name") == "Piecewise":
        epochs, values = (schedule.get(key) or [] for key in ("decay_epochs", "values"))
        # PaddleClas has configs with as many, whose last epoch changes nothing.
        if len(values) not in (len(epochs), len(epochs) + 1):
            raise UserError(
                f"Optimizer.lr.values: {values} should have one value more than "
                f"Optimizer.lr.decay_epochs, {epochs}: one before each of these epochs, and a last"
            )


def _device(ppcls: PaddleClas, config: Config, mode: str) -> None:
    check_device(str(config["Global"]["device"]))


def _networks(arch: Config) -> Iterator[tuple[str, Any]]:
    """(key, name) of every network in an Arch section."""
    yield from _network("Arch", arch)
    models = arch.get("models") or []
    if not isinstance(models, list):
        raise UserError(f"Arch.models: {models!r} is not a list of networks")
    for index, entry in enumerate(models):
        for role, network in _single_entry(f"Arch.models.{index}", entry).items():
            if not isinstance(network, dict):
                raise UserError(f"Arch.models.{index}.{role}: {network!r} is no network section")
            yield from _network(f"Arch.models.{index}.{role}", network)


# Networks that are made of another one, and the key that has it.
_INNER_NETWORKS = {"RecModel": "Backbone", "ECA_Backbone": "backbone"}


def _network(key: str, section: Config) -> Iterator[tuple[str, Any]]:
    name = section.get("name")
    yield f"{key}.name", name
    part = _INNER_NETWORKS.get(name) if isinstance(name, str) else None
    if part:
        inner = section.get(part)
        yield from _network(f"{key}.{part}", inner if isinstance(inner, dict) else {})


def _single_entry(key: str, entry: Any) -> Config:
    """``entry``, which must be a mapping of one name, as PaddleClas's lists have them."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise UserError(f"{key}: {entry!r} should be one `- Name:` with its settings below it")
    return entry


def _network_names(ppcls: PaddleClas, config: Config, mode: str) -> None:
    for key, name in _networks(config["Arch"]):
        find_network(ppcls, name, key)


def _class_map(ppcls: PaddleClas, config: Config, mode: str) -> None:
    given = _section(config, "Infer", "PostProcess", "class_id_map_file")
    if not given or mode not in ("infer", "export"):
        return
    key = "Infer.PostProcess.class_id_map_file"
    how = "Give a file with a line `ID NAME` per class, or null for numbers without names."
    roots = (Path(), *RESOURCE_ROOTS, ppcls.folder.parent)
    file = next((root / str(given) for root in roots if (root / str(given)).is_file()), None)
    if file is None:
        raise UserError(f"{key}: {given} is no file. {how}")
    config["Infer"]["PostProcess"]["class_id_map_file"] = str(file)
    names, classes = len(file.read_bytes().splitlines()), config["Arch"].get("class_num")
    if classes is not None and names != classes:
        ppcls.module("utils.logger").warning(
            f"{key}: {given} names {names} classes and the model has {classes}, so the names of "
            f"predictions may be wrong. {how}"
        )


def _infer_images(ppcls: PaddleClas, config: Config, mode: str) -> None:
    if mode != "infer":
        return
    given = _section(config, "Infer", "infer_imgs")
    if given is None:
        raise UserError("the config has no value for Infer.infer_imgs")
    how = "Name an image or a folder of images with -o Infer.infer_imgs=PATH"
    roots = (Path(), *RESOURCE_ROOTS)
    path = next((root / str(given) for root in roots if (root / str(given)).exists()), None)
    if path is None:
        raise UserError(f"Infer.infer_imgs: {given} does not exist. {how}")
    try:
        ppcls.module("data.utils.get_image_list").get_image_list(str(path))
    except Exception as error:
        raise UserError(f"Infer.infer_imgs: {given} holds no image. {how}") from error
    config["Infer"]["infer_imgs"] = str(path)


def _datasets(config: Config) -> Iterator[tuple[str, Config]]:
    """(key, section) of every dataset of the loaders, such as ``DataLoader.Eval.Query.dataset``."""

    def walk(key: str, section: Any) -> Iterator[tuple[str, Config]]:
        if isinstance(section, dict):
            for name, value in section.items():
                if name == "dataset" and isinstance(value, dict):
                    yield f"{key}.{name}", value
                else:
                    yield from walk(f"{key}.{name}", value)

    return walk("DataLoader", config.get("DataLoader"))


def _reads_list(ppcls: PaddleClas, dataset: Config) -> bool:
    """Whether a dataset reads a list of images; for others the same keys mean other things."""
    base = ppcls.module("data.dataloader.common_dataset").CommonDataset
    kind = getattr(ppcls.module("data"), str(dataset.get("name")), None)
    return isinstance(kind, type) and issubclass(kind, base)


def _data_paths(ppcls: PaddleClas, config: Config, mode: str) -> None:
    wanted = {"train": ("Train", "Eval"), "eval": ("Eval",)}.get(mode, ())
    if mode == "train" and not config["Global"].get("eval_during_train", True):
        wanted = ("Train",)
    for place, dataset in _datasets(config):
        if place.split(".")[1] not in wanted:
            continue
        for key in ("image_root", "cls_label_path") if _reads_list(ppcls, dataset) else ():
            path = dataset.get(key)
            if isinstance(path, str) and not os.path.exists(path):
                raise UserError(
                    f"{place}.{key}: {path} does not exist (working directory: {os.getcwd()}). "
                    f"Prepare the data, or set it with -o {place}.{key}=PATH"
                )


def _checkpoint_files(ppcls: PaddleClas, config: Config, mode: str) -> None:
    checkpoint = config["Global"].get("checkpoints")
    if mode == "train" and checkpoint and checkpoint != AUTO and not is_half_saved(checkpoint):
        require_checkpoint_files(ppcls, config, checkpoint)


def require_checkpoint_files(ppcls: PaddleClas, config: Config, checkpoint: str) -> None:
    """Raise UserError if ``checkpoint``, given without ending, lacks files that a run needs."""
    for ending in (".pdparams", ".pdopt", ".pdstates"):
        if not os.path.isfile(f"{checkpoint}{ending}"):
            raise UserError(
                f"Global.checkpoints: {checkpoint}{ending} does not exist. Give the path of a "
                f"checkpoint without its ending, such as output/ECA_ResNet50/latest."
            )
    separate = source_has(ppcls.module("utils.save_load").save_model, ".ema.pdparams")
    average = f"{checkpoint}{'.ema.pdparams' if separate else '.pdema'}"
    if "EMA" in config and not os.path.isfile(average):
        raise UserError(
            f"Global.checkpoints: {average} does not exist, so that run had no EMA. Remove the "
            f"EMA section to resume it."
        )
    if "EMA" not in config and os.path.isfile(average):
        raise UserError(
            f"Global.checkpoints: {average} exists, so that run had an EMA section. Put it back "
            f"to resume the run; to start a new one from its weights, use "
            f"Global.pretrained_model."
        )


def _names_weights(section: Any) -> bool:
    if isinstance(section, list):
        return any(map(_names_weights, section))
    if not isinstance(section, dict):
        return False
    return bool(section.get("pretrained")) or any(map(_names_weights, section.values()))


def _weights(ppcls: PaddleClas, config: Config, mode: str) -> None:
    named = config["Global"].get("pretrained_model") or _names_weights(config["Arch"])
    if mode != "train" and not named:
        ppcls.module("utils.logger").warning(
            f"no weights are given, so this is {mode} of an untrained model. Name them with "
            f"-o Global.pretrained_model=PATH, without .pdparams"
        )


def _profiler(ppcls: PaddleClas, config: Config, mode: str) -> None:
    config.setdefault("profiler_options", None)


def _slim(ppcls: PaddleClas, config: Config, mode: str) -> None:
    for key in ("prune", "quant"):
        if _section(config, "Slim", key):
            raise UserError(
                f"Slim.{key}: paddleslim does not work with Paddle 3, so pruning and "
                f"quantization are not available. Remove the Slim section."
            )


def _update_freq(ppcls: PaddleClas, config: Config, mode: str) -> None:
    if config["Global"].get("update_freq") not in (None, 1):
        raise UserError(
            "Global.update_freq: this PaddleClas cannot accumulate gradients and would "
            "ignore it. Use a checkout of release/2.5 or develop, or a larger batch_size."
        )


def _pretrained_list(ppcls: PaddleClas, config: Config, mode: str) -> None:
    if config["Arch"].get("pretrained_list"):
        raise UserError(
            "Arch.pretrained_list: PaddleClas cannot load from it (it gives the weights to a "
            "name instead of a model). Put `pretrained: PATH` inside each entry of Arch.models."
        )


def _amp_switch(ppcls: PaddleClas, config: Config, mode: str) -> None:
    amp = config.get("AMP")
    if "AMP" in config and not (amp and amp.get("use_amp", True)):
        config["AMP"] = None


def _amp_evaluation(ppcls: PaddleClas, config: Config, mode: str) -> None:
    amp = config.get("AMP")
    if mode != "train" and amp and amp.get("use_fp16_test"):
        amp["use_fp16_test"] = False
        ppcls.module("utils.logger").warning(
            "AMP.use_fp16_test: this PaddleClas cannot do it outside training; using float32"
        )


def _ema(ppcls: PaddleClas, config: Config, mode: str) -> None:
    ema = config.get("EMA")
    if not isinstance(ema, dict):
        config.pop("EMA", None)
        return
    decay = ema.get("decay", 0.9999)
    if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
        raise UserError(f"EMA.decay: {decay!r} is not a number from 0 to below 1, such as 0.9999")


def _operators(config: Config) -> Iterator[tuple[str, str]]:
    """(key, name) of every image or batch operator in a config."""
    places = [
        (f"{place}.{key}", dataset.get(key))
        for place, dataset in _datasets(config)
        for key in ("transform_ops", "batch_transform_ops")
    ]
    places.append(("Infer.transforms", _section(config, "Infer", "transforms")))
    for key, operators in places:
        if not isinstance(operators or [], list):
            raise UserError(f"{key}: {operators!r} is not a list of operators")
        for index, entry in enumerate(operators or []):
            for name, settings in _single_entry(f"{key}.{index}", entry).items():
                yield f"{key}.{index}", name
                if name == "OpSampler":
                    yield from ((f"{key}.{index}.OpSampler", inner) for inner in settings or {})


def _operator_names(ppcls: PaddleClas, config: Config, mode: str) -> None:
    preprocess = ppcls.module("data.preprocess")
    for key, name in _operators(config):
        if not callable(getattr(preprocess, str(name), None)):
            valid = [n for n, v in vars(preprocess).items() if callable(v) and n[0].isupper()]
            raise UserError(
                f"{key}: this PaddleClas has no operator {name!r}{suggestion(str(name), valid)}"
            )


def _component_names(ppcls: PaddleClas, config: Config, mode: str) -> None:
    named = [
        (f"{place}.name", dataset.get("name"), "data", "dataset")
        for place, dataset in _datasets(config)
    ]
    if mode == "train":
        optimizer = _section(config, "Optimizer", "name")
        schedule = _section(config, "Optimizer", "lr", "name")
        named.append(("Optimizer.name", optimizer, "optimizer.optimizer", "optimizer"))
        named.append(("Optimizer.lr.name", schedule, "optimizer.learning_rate", "schedule"))
    for key, name, module, kind in named:
        names = [n for n, v in vars(ppcls.module(module)).items() if isinstance(v, type)]
        if name is not None and name not in names:
            raise UserError(
                f"{key}: this PaddleClas has no {kind} {name!r}{suggestion(str(name), names)}"
            )


def _piecewise_ignores_rate(ppcls: PaddleClas) -> bool:
    schedule = ppcls.module("optimizer.learning_rate").Piecewise
    return "learning_rate" not in inspect.signature(schedule.__init__).parameters


def _piecewise_rate(ppcls: PaddleClas, config: Config, mode: str) -> None:
    schedule = _section(config, "Optimizer", "lr")
    if mode != "train" or _section(config, "Optimizer", "lr", "name") != "Piecewise":
        return
    rate, values = schedule.get("learning_rate"), schedule.get("values") or [None]
    if rate is not None and rate != values[0]:
        raise UserError(
            f"Optimizer.lr.learning_rate: Piecewise of this PaddleClas takes its rates from "
            f"Optimizer.lr.values, {schedule.get('values')}, and would ignore {rate!r}. Set "
            f"them all, such as -o 'Optimizer.lr.values=[0.2, 0.02, 0.002, 0.0002]'"
        )


def _one_exporter(ppcls: PaddleClas, config: Config, mode: str) -> None:
    import paddle

    if mode == "export" and paddle.distributed.get_world_size() > 1:
        raise UserError("a model is exported by one process: run this without the launcher")


def _static_onednn(ppcls: PaddleClas, config: Config, mode: str) -> None:
    settings = config["Global"]
    if mode != "export" and settings["device"] == "cpu" and settings.get("to_static"):
        wanted = [flag for flag in ONEDNN_FLAGS if os.environ.get(flag) in ("1", "true", "True")]
        if wanted:
            raise UserError(
                f"Global.to_static: Paddle crashes on it with oneDNN on a CPU. Unset {wanted[0]}, "
                f"or use -o Global.to_static=False"
            )


RULES = [
    Rule("sections", "all", "KeyError from inside PaddleClas", _always, _sections),
    Rule(
        "values",
        "all",
        "values of another type or range: errors in the middle of training, or none",
        _always,
        _values,
    ),
    Rule(
        "device",
        "all",
        "device gpu without a GPU: an error after data and logs were set up",
        _always,
        _device,
    ),
    Rule(
        "network-name",
        "all",
        "Arch.name misspelt: AttributeError or NameError from inside PaddleClas",
        _always,
        _network_names,
    ),
    Rule(
        "operator-name",
        "RandAugmentV2 and MixupCutmixHybrid are absent from 2.4.2",
        "AttributeError: module 'ppcls.data.preprocess' has no attribute",
        _always,
        _operator_names,
    ),
    Rule(
        "component-name",
        "all",
        "NameError or AttributeError for a dataset, optimizer or schedule that is not there",
        _always,
        _component_names,
    ),
    Rule(
        "piecewise-rate",
        "2.4.2 and release/2.5",
        "Optimizer.lr.learning_rate of Piecewise is ignored without a word",
        _piecewise_ignores_rate,
        _piecewise_rate,
    ),
    Rule(
        "static-onednn",
        "all, with Paddle 3.3 on a CPU",
        "to_static with oneDNN: segmentation fault in training, wrong channels in NHWC",
        _always,
        _static_onednn,
    ),
    Rule(
        "one-exporter",
        "all",
        "export by several processes: 'NoneType' object has no attribute '_has_grad'",
        _always,
        _one_exporter,
    ),
    Rule(
        "data-paths",
        "2.4.2 and release/2.5 for lists, all for folders",
        "AssertionError without a word on which path is missing",
        _always,
        _data_paths,
    ),
    Rule(
        "class-map",
        "all",
        "predictions without class names outside PaddleClas's folder",
        _always,
        _class_map,
    ),
    Rule("infer-images", "all", "Exception: not found any img file in ...", _always, _infer_images),
    Rule(
        "no-weights",
        "all",
        "eval, infer and export of random weights, without a word",
        _always,
        _weights,
    ),
    Rule(
        "profiler-options",
        "all",
        "KeyError: 'profiler_options' in the first step, unless PaddleClas's script set it",
        _always,
        _profiler,
    ),
    Rule("slim", "all, with Paddle 3", "import errors from paddleslim", _always, _slim),
    Rule(
        "pretrained-list",
        "all",
        "distillation: 'str' object has no attribute 'set_dict'",
        _always,
        _pretrained_list,
    ),
    Rule(
        "ema",
        "all",
        "an empty EMA section: 'NoneType' object has no attribute 'get'; a wrong decay: nan",
        _always,
        _ema,
    ),
    Rule(
        "checkpoint-files",
        "all",
        "resuming: AssertionError after the data was read, or the averages taken for the weights",
        _always,
        _checkpoint_files,
    ),
    Rule(
        "update-freq",
        "2.4.2",
        "Global.update_freq is ignored without a word",
        _engine_lacks('"update_freq"'),
        _update_freq,
    ),
    Rule(
        "amp-switch",
        "2.4.2 and release/2.5",
        "AMP.use_amp: False trains in mixed precision all the same",
        _engine_lacks("_init_amp"),
        _amp_switch,
    ),
    Rule(
        "amp-evaluation",
        "2.4.2 and release/2.5",
        "eval with AMP.use_fp16_test: cannot unpack",
        _engine_lacks("_init_amp"),
        _amp_evaluation,
    ),
]
