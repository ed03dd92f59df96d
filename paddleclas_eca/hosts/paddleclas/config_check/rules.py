"""Rules for configs: what a PaddleClas version cannot do, misreads or ignores.

A rule rewrites a config so that it means the same on every version, or yields what is wrong
with it. All run before the Engine is built, whichever script built it; a preflight collects
all that they find, and a run ends at the first error.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable

from ....data.label_lists import read_list
from ....errors import UserError, suggestion
from ....runtime import ONEDNN_FLAGS, check_device
from ....training.checkpoints import AUTO, is_half_saved
from ..locate import PaddleClas
from ..registry import find_network
from ..source import source_has
from .findings import ERROR, Finding, error, warning
from .values import wrong_values

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
        check: changes the config in place, and yields what is wrong with it; what it cannot go
            on from, it may raise as UserError instead.
    """

    name: str
    versions: str
    symptom: str
    needed: Callable[[PaddleClas], bool]
    check: Callable[[PaddleClas, Config, str], Iterator[Finding]]


def check_config(ppcls: PaddleClas, config: Config, mode: str) -> None:
    """Apply all rules to ``config``, in place; warnings are logged as PaddleClas does.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete PaddleClas config.
        mode: ``"train"``, ``"eval"``, ``"infer"`` or ``"export"``.

    Raises:
        UserError: the config asks for something that cannot be done; the first of its errors.
    """
    for finding in findings(ppcls, config, mode):
        if finding.severity == ERROR:
            raise UserError(str(finding))
        ppcls.module("utils.logger").warning(str(finding))


def findings(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """What the rules find in ``config``, which they change in place.

    A rule that has found an error leaves a config behind that those after it can look at: wrong
    sections are emptied and wrong values taken away.
    """
    for rule in rules_for(ppcls):
        try:
            yield from rule.check(ppcls, config, mode)
        except UserError as found:
            yield Finding.of(found, rule.name)


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
    *("Global.epochs", "Global.save_interval", "Global.print_batch_step"),
    *("Global.eval_during_train", "Loss.Train"),
]
_FOR_LOADING = ["dataset.name", "loader.num_workers", "loader.use_shared_memory"]
# PaddleClas then leaves it to Paddle to sample.
_WITHOUT_SAMPLER = ["sampler.batch_size", "sampler.drop_last", "sampler.shuffle"]


def _sections(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    told = set()
    for key in _MAPPINGS:
        if config.get(key) and not isinstance(config[key], dict):
            yield error(
                key,
                f"{config[key]!r} is not a section; it takes `key: value` lines, indented",
            )
            config[key] = {}
            told.add(key)
    if mode == "train" and not isinstance(config.get("Optimizer") or {}, (dict, list)):
        yield error("Optimizer", f"{config['Optimizer']!r} is neither a section nor a list of some")
        config["Optimizer"] = {}
        told.add("Optimizer")
    required = ["Global", "Arch", "DataLoader"]
    for key in required + (["Loss", "Optimizer"] if mode == "train" else []):
        if not config.get(key):
            if key not in told:
                yield error(key, f"the config has no section {key}")
            config[key] = {}
    keys = ["Global.device", "Global.output_dir", "Arch.name"]
    keys += {"train": _FOR_TRAINING, "eval": ["Global.print_batch_step"]}.get(mode, [])
    for key in keys:
        if config[key.split(".")[0]]:
            yield from _missing_value(config, key)
    for place in _loaders(config, mode) if config["DataLoader"] else ():
        yield from _incomplete_loader(config, place)
    # PaddleClas evaluates without metrics, but not with an empty section of them.
    metrics = config.get("Metric") or {}
    for part in [part for part in metrics if not metrics[part]]:
        del metrics[part]
    if not metrics:
        config.pop("Metric", None)
    if mode == "train" and config["Optimizer"]:
        yield from _incomplete_optimizers(config)
    for key in ("checkpoints", "pretrained_model"):
        value = config["Global"].get(key)
        if not isinstance(value, (str, type(None))):
            yield error(f"Global.{key}", f"{value!r} is neither a path nor null")
            config["Global"][key] = None


def _missing_value(config: Config, key: str) -> Iterator[Finding]:
    if _section(config, *key.split(".")) is None:
        yield error(key, f"the config has no value for {key}")


def _missing_section(config: Config, key: str) -> Iterator[Finding]:
    value = _section(config, *key.split("."))
    if value in (None, "", [], {}):
        yield error(key, f"the config has no section {key}")
    elif not isinstance(value, dict):
        yield error(key, f"{value!r} is not a section; it takes `key: value` lines, indented")


def _loaders(config: Config, mode: str) -> Iterator[str]:
    """The keys of the loaders that a run in ``mode`` has, such as ``DataLoader.Train``."""
    for part in _parts_read(config, mode):
        section = config["DataLoader"].get(part)
        retrieval = config["Global"].get("eval_mode") == "retrieval"
        if part == "Eval" and retrieval and isinstance(section, dict) and section:
            yield from (f"DataLoader.Eval.{key}" for key in section)
        elif part != "UnLabelTrain" or section:
            yield f"DataLoader.{part}"


def _incomplete_loader(config: Config, place: str) -> Iterator[Finding]:
    wrong = list(_missing_section(config, place))
    for part in () if wrong else ("dataset", "sampler", "loader"):
        wrong += _missing_section(config, f"{place}.{part}")
    yield from wrong
    if not wrong:
        named = "name" in _section(config, *place.split("."), "sampler")
        for key in [*_FOR_LOADING, *(() if named else _WITHOUT_SAMPLER)]:
            yield from _missing_value(config, f"{place}.{key}")


def _incomplete_optimizers(config: Config) -> Iterator[Finding]:
    if isinstance(config["Optimizer"], dict):
        yield from _missing_value(config, "Optimizer.name")
        yield from _missing_section(config, "Optimizer.lr")
        return
    for key, name, settings in _entries("Optimizer", config["Optimizer"]):
        if not isinstance(settings, dict) or not {"scope", "lr"} <= {*settings}:
            yield error(f"{key}.{name}", "each optimizer of a list needs a scope and an lr")


def _values(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    yield from wrong_values(config, mode)
    schedule = _section(config, "Optimizer", "lr")
    if mode == "train" and _section(schedule, "name") == "Piecewise":
        epochs, values = (schedule.get(key) or [] for key in ("decay_epochs", "values"))
        # PaddleClas has configs with as many, whose last epoch changes nothing.
        if values and len(values) not in (len(epochs), len(epochs) + 1):
            yield error(
                "Optimizer.lr.values",
                f"{values} should have one value more than Optimizer.lr.decay_epochs, {epochs}: "
                f"one before each of these epochs, and a last",
            )


def _device(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    device = config["Global"].get("device")
    if device is not None:
        check_device(str(device))
    yield from ()


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
INNER_NETWORKS = {"RecModel": "Backbone", "ECA_Backbone": "backbone"}


def _network(key: str, section: Config) -> Iterator[tuple[str, Any]]:
    name = section.get("name")
    yield f"{key}.name", name
    part = INNER_NETWORKS.get(name) if isinstance(name, str) else None
    if part:
        inner = section.get(part)
        yield from _network(f"{key}.{part}", inner if isinstance(inner, dict) else {})


def _single_entry(key: str, entry: Any) -> Config:
    """``entry``, which must be a mapping of one name, as PaddleClas's lists have them."""
    if not isinstance(entry, dict) or [type(name) for name in entry] != [str]:
        raise UserError(f"{key}: {entry!r} should be one `- Name:` with its settings below it")
    return entry


def _network_names(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    for key, name in _networks(config["Arch"]):
        if key == "Arch.name" and name is None:
            continue  # told already
        try:
            find_network(ppcls, name, key)
        except UserError as found:
            yield Finding.of(found, key)


def network_section(config: Config) -> Config:
    """The section of the network that is exported: of a distillation, one of several."""
    arch = config["Arch"]
    for entry in arch.get("models") or []:
        if isinstance(entry, dict) and isinstance(entry.get(arch.get("infer_model_name")), dict):
            return entry[arch["infer_model_name"]]
    return arch


def _class_map(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    given = _section(config, "Infer", "PostProcess", "class_id_map_file")
    if not given or mode not in ("infer", "export"):
        return
    key = "Infer.PostProcess.class_id_map_file"
    how = "Give a file with a line `ID NAME` per class, or null for numbers without names."
    roots = (Path(), *RESOURCE_ROOTS, ppcls.folder.parent)
    file = next((root / str(given) for root in roots if (root / str(given)).is_file()), None)
    if file is None:
        yield error(key, f"{given} is no file. {how}")
        return
    config["Infer"]["PostProcess"]["class_id_map_file"] = str(file)
    names, classes = len(file.read_bytes().splitlines()), config["Arch"].get("class_num")
    if classes is not None and names != classes:
        yield warning(
            key,
            f"{given} names {names} classes and the model has {classes}, so the names of "
            f"predictions may be wrong. {how}",
        )


def _infer_images(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if mode != "infer":
        return
    given = _section(config, "Infer", "infer_imgs")
    if given is None:
        yield error("Infer.infer_imgs", "the config has no value for Infer.infer_imgs")
        return
    how = "Name an image or a folder of images with -o Infer.infer_imgs=PATH"
    path = _resource(given)
    if path is None:
        yield error("Infer.infer_imgs", f"{given} does not exist. {how}")
        return
    try:
        _images_at(ppcls, path)
    except Exception:
        yield error("Infer.infer_imgs", f"{given} holds no image. {how}")
    config["Infer"]["infer_imgs"] = str(path)


def _resource(given: Any) -> Path | None:
    """The file or folder at a path in a config, which may have come with the package."""
    roots = (Path(), *RESOURCE_ROOTS)
    return next((root / str(given) for root in roots if (root / str(given)).exists()), None)


def _images_at(ppcls: PaddleClas, path: Path) -> list[str]:
    return ppcls.module("data.utils.get_image_list").get_image_list(str(path))


def _is_file_in(root: str, name: str) -> bool:
    return os.path.isfile(os.path.join(root, name))


def example_image(ppcls: PaddleClas, config: Config) -> tuple[Path, str]:
    """An image that a config names, and what it is there.

    It is the first one of ``Infer.infer_imgs``, or of the evaluation's list.

    Raises:
        UserError: there is none.
    """
    given = _section(config, "Infer", "infer_imgs")
    path = _resource(given) if given else None
    if path is not None:
        with contextlib.suppress(Exception):  # it has one for a folder without images
            return Path(_images_at(ppcls, path)[0]), "Infer.infer_imgs"
    for place, dataset in datasets(config):
        file, root = dataset.get("cls_label_path"), str(dataset.get("image_root"))
        if place.startswith("DataLoader.Eval") and file and os.path.isfile(file):
            entries = read_list(file, exists=partial(_is_file_in, root))
            for entry in entries[:1]:
                return Path(root, entry.name), f"the first of {file}"
    raise UserError(
        f"there is no image to try the model on: Infer.infer_imgs is {given}, and DataLoader.Eval "
        f"has no list of images. Name one with -o Infer.infer_imgs=PATH"
    )


def datasets(config: Config) -> Iterator[tuple[str, Config]]:
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


def _parts_read(config: Config, mode: str) -> tuple[str, ...]:
    """The parts of ``DataLoader`` that a run in ``mode`` reads."""
    if mode == "train" and not config["Global"].get("eval_during_train", True):
        return ("Train", "UnLabelTrain")
    return {"train": ("Train", "UnLabelTrain", "Eval"), "eval": ("Eval",)}.get(mode, ())


def read_datasets(config: Config, mode: str) -> Iterator[tuple[str, Config]]:
    """(key, section) of the datasets that a run in ``mode`` reads."""
    for place, dataset in datasets(config):
        if place.split(".")[1] in _parts_read(config, mode):
            yield place, dataset


def _data_paths(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    for place, dataset in read_datasets(config, mode):
        for key in ("image_root", "cls_label_path") if _reads_list(ppcls, dataset) else ():
            path = dataset.get(key)
            if isinstance(path, str) and not os.path.exists(path):
                yield error(
                    f"{place}.{key}",
                    f"{path} does not exist (working directory: {os.getcwd()}). "
                    f"Prepare the data, or set it with -o {place}.{key}=PATH",
                )


def _checkpoint_files(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    checkpoint = config["Global"].get("checkpoints")
    if mode == "train" and checkpoint and checkpoint != AUTO and not is_half_saved(checkpoint):
        require_checkpoint_files(ppcls, config, checkpoint)
    yield from ()


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


def _weights(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    named = config["Global"].get("pretrained_model") or _names_weights(config["Arch"])
    if mode != "train" and not named:
        yield warning(
            "Global.pretrained_model",
            f"no weights are given, so this is {mode} of an untrained model. Name them with "
            f"-o Global.pretrained_model=PATH, without .pdparams",
        )


def _profiler(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    config.setdefault("profiler_options", None)
    yield from ()


def _slim(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    for key in ("prune", "quant"):
        if _section(config, "Slim", key):
            yield error(
                f"Slim.{key}",
                "paddleslim does not work with Paddle 3, so pruning and quantization are not "
                "available. Remove the Slim section.",
            )


def _update_freq(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if config["Global"].get("update_freq") not in (None, 1):
        yield error(
            "Global.update_freq",
            "this PaddleClas cannot accumulate gradients and would ignore it. Use a checkout of "
            "release/2.5 or develop, or a larger batch_size.",
        )


def _pretrained_list(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if config["Arch"].get("pretrained_list"):
        yield error(
            "Arch.pretrained_list",
            "PaddleClas cannot load from it (it gives the weights to a name instead of a model). "
            "Put `pretrained: PATH` inside each entry of Arch.models.",
        )


def _amp_switch(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    amp = config.get("AMP")
    if "AMP" in config and not (amp and amp.get("use_amp", True)):
        config["AMP"] = None
    yield from ()


def _amp_evaluation(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    amp = config.get("AMP")
    if mode != "train" and amp and amp.get("use_fp16_test"):
        amp["use_fp16_test"] = False
        yield warning(
            "AMP.use_fp16_test", "this PaddleClas cannot do it outside training; using float32"
        )


def _ema(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    ema = config.get("EMA")
    if not isinstance(ema, dict):
        config.pop("EMA", None)
        return
    decay = ema.get("decay", 0.9999)
    if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
        yield error("EMA.decay", f"{decay!r} is not a number from 0 to below 1, such as 0.9999")


def operators(config: Config) -> Iterator[tuple[str, str, Any]]:
    """(key, name, settings) of every image or batch operator in a config.

    Raises:
        UserError: they are no lists of one name each.
    """
    places = [
        (f"{place}.{key}", dataset.get(key))
        for place, dataset in datasets(config)
        for key in ("transform_ops", "batch_transform_ops")
    ]
    places.append(("Infer.transforms", _section(config, "Infer", "transforms")))
    for place, listed in places:
        if not isinstance(listed or [], list):
            raise UserError(f"{place}: {listed!r} is not a list of operators")
        for key, name, settings in _entries(place, listed):
            yield key, name, settings
            if name == "OpSampler":
                if not isinstance(settings or {}, dict):
                    raise UserError(f"{key}.OpSampler: {settings!r} is not a section of operators")
                for inner, options in (settings or {}).items():
                    yield f"{key}.OpSampler", inner, options


def _operator_names(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    preprocess = ppcls.module("data.preprocess")
    for key, name, _ in operators(config):
        if not callable(getattr(preprocess, str(name), None)):
            valid = [n for n, v in vars(preprocess).items() if callable(v) and n[0].isupper()]
            yield error(
                key, f"this PaddleClas has no operator {name!r}{suggestion(str(name), valid)}"
            )


@dataclass(frozen=True)
class Component:
    """Something that PaddleClas builds from a section of a config, by name.

    Attributes:
        key: of the config, where the name stands.
        name: as the config has it.
        module: of PaddleClas, that has what the name stands for.
        kind: what it is, for people.
        settings: what it is built with; None where there are none.
    """

    key: str
    name: Any
    module: str
    kind: str
    settings: Any


def components(config: Config, mode: str) -> Iterator[Component]:
    """The datasets, samplers, losses, metrics, optimizers and schedules of a config.

    Raises:
        UserError: losses, metrics or optimizers are no lists of one name each.
    """
    for place, dataset in datasets(config):
        yield Component(f"{place}.name", dataset.get("name"), "data", "dataset", dataset)
        loader = place.rpartition(".")[0]
        sampler = _section(config, *loader.split("."), "sampler")
        if isinstance(sampler, dict):
            key = f"{loader}.sampler.name"
            yield Component(key, sampler.get("name"), "data", "sampler", sampler)
    for section, module in (("Loss", "loss"), ("Metric", "metric"), ("UnLabelLoss", "loss")):
        for part in ("Train", "Eval"):
            if part == "Train" and mode != "train":
                continue
            key = f"{section}.{part}"
            for place, name, settings in _entries(key, _section(config, section, part)):
                yield Component(place, name, module, module, settings)
    if mode == "train":
        optimizers = config.get("Optimizer")
        named = [("Optimizer.name", _section(optimizers, "name"), optimizers)]
        if isinstance(optimizers, list):
            named = list(_entries("Optimizer", optimizers))
        for key, name, settings in named:
            place = key.removesuffix(".name")
            yield Component(key, name, "optimizer.optimizer", "optimizer", settings)
            schedule = _section(settings, "lr")
            if isinstance(schedule, dict):
                yield Component(
                    f"{place}.lr.name",
                    schedule.get("name"),
                    "optimizer.learning_rate",
                    "schedule",
                    schedule,
                )


def _entries(key: str, listed: Any) -> Iterator[tuple[str, str, Any]]:
    """(key, name, settings) of the entries of a list of names with their settings."""
    if not isinstance(listed or [], list):
        raise UserError(f"{key}: {listed!r} is not a list of `- Name:`, with its settings below")
    for index, entry in enumerate(listed or []):
        for name, settings in _single_entry(f"{key}.{index}", entry).items():
            yield f"{key}.{index}", name, settings


def _component_names(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    for component in components(config, mode):
        name = component.name
        names = [n for n, v in vars(ppcls.module(component.module)).items() if _is_component(v)]
        if name is not None and name not in names:
            yield error(
                component.key,
                f"this PaddleClas has no {component.kind} {name!r}{suggestion(str(name), names)}",
            )


def _is_component(value: Any) -> bool:
    return isinstance(value, type)


def _piecewise_ignores_rate(ppcls: PaddleClas) -> bool:
    schedule = ppcls.module("optimizer.learning_rate").Piecewise
    return "learning_rate" not in inspect.signature(schedule.__init__).parameters


def _piecewise_rate(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    schedule = _section(config, "Optimizer", "lr")
    if mode != "train" or _section(config, "Optimizer", "lr", "name") != "Piecewise":
        return
    rate, values = schedule.get("learning_rate"), schedule.get("values") or [None]
    if rate is not None and rate != values[0]:
        yield error(
            "Optimizer.lr.learning_rate",
            f"Piecewise of this PaddleClas takes its rates from Optimizer.lr.values, "
            f"{schedule.get('values')}, and would ignore {rate!r}. Set them all, such as "
            f"-o 'Optimizer.lr.values=[0.2, 0.02, 0.002, 0.0002]'",
        )


def _one_exporter(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    import paddle

    if mode == "export" and paddle.distributed.get_world_size() > 1:
        yield error("", "a model is exported by one process: run this without the launcher")


def _export_layout(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if mode != "export":
        return
    arch = network_section(config)
    if arch.get("data_format") == "NHWC":
        arch["data_format"] = "NCHW"
        yield warning(
            "Arch.data_format",
            "the model is exported as NCHW, which has the same weights and gives the same; "
            "oneDNN and ONNX have no NHWC",
        )


def _static_onednn(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    settings = config["Global"]
    if mode != "export" and settings.get("device") == "cpu" and settings.get("to_static"):
        wanted = [flag for flag in ONEDNN_FLAGS if os.environ.get(flag) in ("1", "true", "True")]
        if wanted:
            yield error(
                "Global.to_static",
                f"Paddle crashes on it with oneDNN on a CPU. Unset {wanted[0]}, or use "
                f"-o Global.to_static=False",
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
        "NameError or AttributeError for a dataset, sampler, loss, metric, optimizer or schedule "
        "that is not there",
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
        "export-layout",
        "all",
        "an exported model of channels last: InvalidArgumentError with oneDNN, no ONNX",
        _always,
        _export_layout,
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
