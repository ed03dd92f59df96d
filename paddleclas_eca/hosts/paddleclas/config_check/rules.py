"""What building a config's parts does not show: sections, files, and limits of versions.

A rule rewrites a config so that it means the same on every version of PaddleClas, or yields what
is wrong with it. It looks at the code at hand, never at a version number.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import inspect
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable

import paddle

from ....checks.findings import ERROR, Finding, error, warning
from ....configs import Config, resource_root, section
from ....data.class_names import read_class_names
from ....data.label_lists import read_list
from ....errors import UserError, numbers_without, suggestion
from ....runtime import ONEDNN_FLAGS, check_device
from ....training.checkpoints import AUTO, is_half_saved
from ..locate import PaddleClas
from ..source import source_has
from .literals import replace_expressions
from .parts import (
    class_count,
    datasets,
    datasets_read,
    entries,
    loaders_read,
    network_section,
    unknown_names,
)
from .schema import check_schema

# Takes PaddleClas, the config, which it may change in place, and the mode of the Engine. It may
# raise a UserError that it cannot continue after.
Rule = Callable[[PaddleClas, Config, str], Iterator[Finding]]


def check_config(ppcls: PaddleClas, config: Config, mode: str) -> None:
    """Apply all rules to ``config``, in place; warnings are logged by PaddleClas's logger.

    Args:
        ppcls: the PaddleClas that is to run it.
        config: a complete PaddleClas config.
        mode: ``"train"``, ``"eval"``, ``"infer"`` or ``"export"``.

    Raises:
        UserError: the first error in the config.
    """
    for finding in apply_rules(ppcls, config, mode):
        if finding.severity == ERROR:
            raise UserError(str(finding))
        ppcls.module("utils.logger").warning(str(finding))


def attr_dict(ppcls: PaddleClas, config: Config) -> Config:
    """A config of plain values as PaddleClas reads it: an ``AttrDict`` with literals for text."""
    utils = ppcls.module("utils.config")
    converted = utils.AttrDict(copy.deepcopy(config))
    utils.create_attr_dict(converted)
    return converted


def apply_rules(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """What the rules find in ``config``, which they change in place.

    After an error, a rule leaves a config that the later ones can read: it empties wrong
    sections and removes wrong values.
    """
    for rule in RULES:
        try:
            yield from rule(ppcls, config, mode)
        except UserError as found:
            yield Finding.of(found, "config")


# Sections and values that PaddleClas requires without checking.

_MAPPINGS = ("Global", "Arch", "DataLoader", "Loss", "Metric", "Infer", "AMP", "EMA", "Slim")
# What each mode needs besides _ALWAYS.
_ALWAYS = ["Global.device", "Global.output_dir", "Arch.name"]
_NEEDED = {
    "train": [
        *("Global.epochs", "Global.save_interval", "Global.print_batch_step"),
        *("Global.eval_during_train", "Loss.Train"),
    ],
    "eval": ["Global.print_batch_step"],
    "infer": ["Infer.infer_imgs"],
    "export": ["Global.image_shape"],
}
# What PaddleClas reads without a default of its own.
_DEFAULTS = {
    "Global": {
        **{"checkpoints": None, "pretrained_model": None, "use_visualdl": False},
        **{"eval_interval": 1, "save_inference_dir": "./inference"},
    },
    "Infer": {"batch_size": 1},
}
_FOR_LOADING = ["dataset.name", "loader.num_workers", "loader.use_shared_memory"]
# PaddleClas then leaves it to Paddle to sample.
_WITHOUT_SAMPLER = ["sampler.batch_size", "sampler.drop_last", "sampler.shuffle"]


def _sections(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    reported = set()
    for key in _MAPPINGS:
        if config.get(key) and not isinstance(config[key], dict):
            yield _not_a_section(key, config[key])
            config[key] = {}
            reported.add(key)
    if mode == "train" and not isinstance(config.get("Optimizer") or {}, (dict, list)):
        yield error("Optimizer", f"{config['Optimizer']!r} is neither a section nor a list of them")
        config["Optimizer"] = {}
        reported.add("Optimizer")
    required = ["Global", "Arch", "DataLoader"]
    for key in required + (["Loss", "Optimizer"] if mode == "train" else []):
        if not config.get(key):
            if key not in reported:
                yield error(key, f"the config has no section {key}")
            config[key] = {}
    for key in [*_ALWAYS, *_NEEDED[mode]]:
        if config.get(key.split(".")[0]) or key.startswith("Infer"):
            yield from _missing_value(config, key)
    for name, defaults in _DEFAULTS.items():
        for key, value in defaults.items() if config.get(name) else ():
            if config[name].get(key) is None:
                config[name][key] = value
    for place in loaders_read(config, mode) if config["DataLoader"] else ():
        yield from _incomplete_loader(config, place)
    yield from _without_metrics(config, mode)
    # PaddleClas reads the decay of the section whenever the key exists.
    if not isinstance(config.get("EMA"), dict):
        config.pop("EMA", None)
    if mode == "train" and config["Optimizer"]:
        yield from _incomplete_optimizers(config)
    # Its scripts set this; the first step of training needs it.
    config.setdefault("profiler_options", None)


def _not_a_section(key: str, value: Any) -> Finding:
    return error(key, f"{value!r} is not a section; it takes `key: value` lines, indented")


def _missing_value(config: Config, key: str) -> Iterator[Finding]:
    if section(config, *key.split(".")) is None:
        yield error(key, f"the config has no value for {key}")


def _missing_section(config: Config, key: str) -> Iterator[Finding]:
    value = section(config, *key.split("."))
    if value in (None, "", [], {}):
        yield error(key, f"the config has no section {key}")
    elif not isinstance(value, dict):
        yield _not_a_section(key, value)


def _incomplete_loader(config: Config, place: str) -> Iterator[Finding]:
    wrong = list(_missing_section(config, place))
    for part in () if wrong else ("dataset", "sampler", "loader"):
        wrong += _missing_section(config, f"{place}.{part}")
    yield from wrong
    if not wrong:
        sampler = section(config, *place.split("."), "sampler")
        named = sampler.get("name") is not None
        if not named:
            sampler.pop("name", None)
        for key in [*_FOR_LOADING, *(() if named else _WITHOUT_SAMPLER)]:
            yield from _missing_value(config, f"{place}.{key}")


def _without_metrics(config: Config, mode: str) -> Iterator[Finding]:
    """PaddleClas needs a metric to evaluate, and to export."""
    if not config.get("Metric"):
        config["Metric"] = type(config)()
    for name in ("Loss", "Metric"):
        # It stumbles over empty lists, not over absent ones.
        given = config.get(name) or {}
        for part in ("Train", "Eval"):
            if part in given and not given[part] and (name, part) != ("Loss", "Train"):
                del given[part]
    settings = config["Global"]
    kind = settings.get("eval_mode", "classification")
    evaluates = mode == "eval" or (mode == "train" and settings.get("eval_during_train", True))
    if "Eval" in config["Metric"]:
        return
    if evaluates and (settings.get("use_multilabel") or kind == "retrieval"):
        yield error("Metric.Eval", "the evaluation needs it. List metrics, such as MultiLabelMAP")
        return
    config["Metric"]["Eval"] = [{"TopkAcc": {"topk": 1}}]
    if evaluates and kind == "classification":
        yield warning(
            "Metric.Eval", "the config has none, so the evaluation reports top-1 accuracy"
        )


def _incomplete_optimizers(config: Config) -> Iterator[Finding]:
    if isinstance(config["Optimizer"], dict):
        yield from _missing_value(config, "Optimizer.name")
        wrong = list(_missing_section(config, "Optimizer.lr"))
        yield from wrong or _missing_value(config, "Optimizer.lr.name")
        return
    for key, name, settings in entries("Optimizer", config["Optimizer"]):
        if not isinstance(settings, dict) or not {"scope", "lr"} <= {*settings}:
            yield error(f"{key}.{name}", "each optimizer of a list needs a scope and an lr")


def _schema(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    yield from check_schema(config, mode)
    yield from replace_expressions(config)


def _device(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    device = config["Global"].get("device")
    if device is not None:
        check_device(str(device))
    yield from ()


# Learning rates.


def _piecewise(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    schedule = section(config, "Optimizer", "lr")
    if mode != "train" or section(schedule, "name") != "Piecewise":
        return
    values = schedule.get("values")
    kind = ppcls.module("optimizer.learning_rate").Piecewise
    rate = schedule.get("learning_rate")
    ignored = "learning_rate" not in inspect.signature(kind.__init__).parameters
    if ignored and rate is not None and rate != (values or [None])[0]:
        yield error(
            "Optimizer.lr.learning_rate",
            f"Piecewise of this PaddleClas takes its rates from Optimizer.lr.values, {values}, and "
            f"would ignore {rate!r}. Set them all, such as "
            f"-o 'Optimizer.lr.values=[0.2, 0.02, 0.002, 0.0002]'",
        )


# Files.


def _unwritable_output(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """Whether the log and the checkpoints can be written; every mode writes a log."""
    given = config["Global"].get("output_dir")
    if given is None:
        return  # reported already
    directory = Path(given).absolute()
    try:
        with contextlib.suppress(FileNotFoundError):
            os.stat(directory)  # names too long, files in the place of directories
        while not os.path.exists(directory) and directory != directory.parent:
            directory = directory.parent
        # Root may write where the permissions say no, and nobody where the disk is read-only.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as failure:
        yield error(
            "Global.output_dir",
            f"{given} cannot be written to: {failure.strerror}. Set another with "
            f"-o Global.output_dir=PATH",
        )


def _data_paths(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    base = ppcls.module("data.dataloader.common_dataset").CommonDataset
    for place, dataset in datasets_read(config, mode):
        kind = getattr(ppcls.module("data"), str(dataset.get("name")), None)
        # For data sets without a list of images, the same keys mean other things.
        if not (isinstance(kind, type) and issubclass(kind, base)):
            continue
        for key in ("image_root", "cls_label_path"):
            path = dataset.get(key)
            if isinstance(path, str) and not os.path.exists(path):
                yield error(
                    f"{place}.{key}",
                    f"{path} does not exist (working directory: {os.getcwd()}). Prepare the data, "
                    f"or set it with -o {place}.{key}=PATH",
                )


def check_class_names(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """Whether ``class_id_map_file`` names the classes; replaces its path by that of the file."""
    if mode not in ("infer", "export"):
        return
    given = section(config, "Infer", "PostProcess", "class_id_map_file")
    if not isinstance(given, str) or not given:
        return
    key = "Infer.PostProcess.class_id_map_file"
    how = "Give a file with a line `ID NAME` per class, or null for numbers without names"
    file = find_resource(given, ppcls.folder.parent)
    if file is None or not os.path.isfile(file):
        yield error(key, f"{given} is not a file. {how}")
        return
    post = config["Infer"]["PostProcess"]
    post["class_id_map_file"] = str(file)
    try:
        names = read_class_names(file, post.get("delimiter"))
    except UserError as found:
        post["class_id_map_file"] = None
        yield error(key, f"{found}. {how}")
        return
    key_of, classes = class_count(network_section(config), config["Global"])
    unnamed, numbers = numbers_without(classes or 0, names)
    if unnamed:
        # PaddleClas fails when it predicts one of them; exported models name them by number.
        yield (warning if mode == "export" else error)(
            key,
            f"{given} has no name for {unnamed:,} of {classes:,} classes ({key_of}): {numbers}. "
            f"{how}",
        )
    elif classes is not None and len(names) > classes:
        yield warning(
            key,
            f"{given} names {len(names):,} classes and the model has {classes:,}, so the names of "
            f"predictions may be wrong. {how}",
        )


def _infer_images(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if mode != "infer":
        return
    key = "Infer.infer_imgs"
    given = section(config, "Infer", "infer_imgs")
    if given is None:
        return  # reported already
    if config["Global"].get("eval_mode", "classification") != "classification":
        yield error("Global.eval_mode", "PaddleClas predicts with classification alone")
    how = "Name an image or a directory of images with -o Infer.infer_imgs=PATH"
    path = find_resource(given)
    if path is None:
        yield error(key, f"{given} does not exist. {how}")
    elif not images_at(ppcls, path):
        yield error(key, f"{given} has no image. {how}")
    else:
        config["Infer"]["infer_imgs"] = str(path)


def find_resource(given: Any, *others: Path) -> Path | None:
    """The file or directory at a path in a config: in the working directory, among the files of
    this package, or in another root.
    """
    roots = (Path(), resource_root(), *others)
    paths = (root / str(given) for root in roots)
    return next((path for path in paths if os.path.exists(path)), None)


def images_at(ppcls: PaddleClas, path: Path) -> list[str]:
    """The images that PaddleClas finds at a path; none where it finds none."""
    try:
        return ppcls.module("data.utils.get_image_list").get_image_list(str(path))
    except Exception:  # PaddleClas raises one for a directory without images
        return []


def example_image(ppcls: PaddleClas, config: Config) -> tuple[Path, str]:
    """An image that a config names, and where it is named.

    It is the first one of ``Infer.infer_imgs``, or of the evaluation's list.

    Raises:
        UserError: there is none.
    """
    given = section(config, "Infer", "infer_imgs")
    path = find_resource(given) if given else None
    if path is not None:
        for image in images_at(ppcls, path)[:1]:
            return Path(image), "Infer.infer_imgs"
    for place, dataset in datasets(config):
        file, root = dataset.get("cls_label_path"), str(dataset.get("image_root"))
        if place.startswith("DataLoader.Eval") and file and os.path.isfile(file):
            for entry in read_list(file, exists=partial(_is_file_in, root), reuse=False)[:1]:
                return Path(root, entry.name), f"the first of {file}"
    raise UserError(
        f"there is no image to try the model on: Infer.infer_imgs is {given}, and DataLoader.Eval "
        f"has no list of images. Name one with -o Infer.infer_imgs=PATH"
    )


def _is_file_in(root: str, name: str) -> bool:
    return os.path.isfile(os.path.join(root, name))


def _checkpoint_files(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    checkpoint = config["Global"].get("checkpoints")
    if mode == "train" and checkpoint and checkpoint != AUTO and not is_half_saved(checkpoint):
        check_checkpoint_files(ppcls, config, checkpoint)
    yield from ()


def check_checkpoint_files(ppcls: PaddleClas, config: Config, checkpoint: str) -> None:
    """Raise UserError if ``checkpoint``, given without suffix, lacks files that a run needs."""
    for suffix in (".pdparams", ".pdopt", ".pdstates"):
        if not os.path.isfile(f"{checkpoint}{suffix}"):
            raise UserError(
                f"Global.checkpoints: {checkpoint}{suffix} does not exist. Give the path of a "
                f"checkpoint without its suffix, such as output/ECA_ResNet50/latest."
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


def _no_weights(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    named, checkpoint = (config["Global"].get(k) for k in ("pretrained_model", "checkpoints"))
    if mode != "train" and checkpoint:
        yield warning(
            "Global.checkpoints",
            f"only training reads it. For the weights of this {mode} use "
            f"-o Global.pretrained_model=PATH, such as {checkpoint}",
        )
    if (
        mode != "train"
        and not named
        and not any(part["pretrained"] for part in pretrained(config["Arch"]).values())
    ):
        yield warning(
            "Global.pretrained_model",
            f"no weights are given, so this is {mode} of an untrained model. Name them with "
            f"-o Global.pretrained_model=PATH, without .pdparams",
        )


def pretrained(part: Any, place: str = "Arch") -> dict[str, dict[str, Any]]:
    """Every section with ``pretrained`` in an Arch section, by the key of that option."""
    found = {}
    if isinstance(part, dict) and "pretrained" in part:
        found[f"{place}.pretrained"] = part
    if isinstance(part, (dict, list)):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            found.update(pretrained(value, f"{place}.{key}"))
    return found


# What this PaddleClas or Paddle cannot do.


def _unsupported(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    engine = ppcls.module("engine.engine")
    settings = config["Global"]
    for key in ("prune", "quant"):
        if section(config, "Slim", key):
            yield error(
                f"Slim.{key}",
                "paddleslim does not work with Paddle 3, so pruning and quantization are not "
                "available. Remove the Slim section.",
            )
    if settings.get("update_freq") not in (None, 1) and not source_has(engine, '"update_freq"'):
        yield error(
            "Global.update_freq",
            "this PaddleClas cannot accumulate gradients and would ignore it. Use a checkout of "
            "release/2.5 or develop, or a larger batch_size.",
        )
    if config["Arch"].get("pretrained_list"):
        yield error(
            "Arch.pretrained_list",
            "PaddleClas cannot load from it (it gives the weights to a name instead of a model). "
            "Put `pretrained: PATH` inside each entry of Arch.models.",
        )
    # develop leaves it out where Paddle has no GPU.
    optional = source_has(ppcls.module("data"), "use_dali and paddle.device.is_compiled_with_cuda")
    wanted = settings.get("use_dali") and (paddle.is_compiled_with_cuda() or not optional)
    if wanted and not _installed("nvidia.dali"):
        yield error("Global.use_dali", "NVIDIA DALI is not installed. Install it, or set False")
    trainer = settings.get("train_mode")
    if mode == "train" and trainer is not None:
        methods = vars(getattr(engine, "train_method", None) or ppcls.module("engine.train"))
        prefix = "train_epoch_"
        valid = [name.removeprefix(prefix) for name in methods if name.startswith(prefix)]
        if trainer not in valid:
            yield error(
                "Global.train_mode",
                f"this PaddleClas has no trainer {trainer!r}{suggestion(str(trainer), valid)}",
            )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _evaluations(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    settings = config["Global"]
    if mode != "train" or not settings.get("eval_during_train"):
        return
    epochs, interval = settings.get("epochs"), settings.get("eval_interval")
    first = settings.get("start_eval_epoch") or 0
    if not all(isinstance(value, int) for value in (epochs, interval, first)) or interval < 1:
        return
    if epochs // interval * interval < max(first, 1):
        key = "eval_interval" if interval > epochs else "start_eval_epoch"
        yield warning(
            f"Global.{key}",
            f"no epoch of {epochs} is evaluated, so there will be no best_model. Set a smaller "
            f"one with -o Global.{key}=N",
        )


def _mixed_precision(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    amp = config.get("AMP")
    if mode == "train" and amp and amp.get("use_amp", True):
        if str(config["Global"].get("device")) == "cpu":
            yield warning(
                "AMP", "it is inactive on a CPU: Paddle trains in float32. Remove the section"
            )
    if source_has(ppcls.module("engine.engine"), "_init_amp"):
        return
    if "AMP" in config and not (amp and amp.get("use_amp", True)):
        # The mere presence of the section switches it on.
        amp = config["AMP"] = None
    if mode != "train" and amp and amp.get("use_fp16_test"):
        amp["use_fp16_test"] = False
        yield warning(
            "AMP.use_fp16_test", "this PaddleClas cannot do it outside training; using float32"
        )


def _static_onednn(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    settings = config["Global"]
    if mode != "export" and settings.get("device") == "cpu" and settings.get("to_static"):
        wanted = [flag for flag in ONEDNN_FLAGS if os.environ.get(flag) in ("1", "true", "True")]
        if wanted:
            # Paddle 3.3: a segmentation fault in training, wrong channels in NHWC.
            yield error(
                "Global.to_static",
                f"Paddle crashes on it with oneDNN on a CPU. Unset {wanted[0]}, or use "
                f"-o Global.to_static=False",
            )


def _export(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    if mode != "export":
        return
    if paddle.distributed.get_world_size() > 1:
        yield error("", "a model is exported by one process: run this without the launcher")
    arch = network_section(config)
    if arch.get("data_format") == "NHWC":
        arch["data_format"] = "NCHW"
        yield warning(
            "Arch.data_format",
            "the model is exported as NCHW, with the same weights and outputs; oneDNN and ONNX "
            "have no NHWC",
        )


RULES: list[Rule] = [
    _sections,
    _schema,
    _device,
    unknown_names,
    _piecewise,
    _static_onednn,
    _export,
    _unwritable_output,
    _data_paths,
    check_class_names,
    _infer_images,
    _no_weights,
    _unsupported,
    _evaluations,
    _mixed_precision,
    _checkpoint_files,
]
