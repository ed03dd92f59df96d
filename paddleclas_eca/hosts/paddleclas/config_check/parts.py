"""The parts that PaddleClas builds from a config, and whether it knows their names.

PaddleClas finds most of them with ``eval(name)``, so nothing is built before all names are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ....checks.findings import Finding, error
from ....configs import Config, section
from ....errors import UserError, suggestion
from ..locate import PaddleClas
from ..registry import find_network

# Networks that contain another one, and the key of that one.
INNER_NETWORKS = {"RecModel": "Backbone", "ECA_Backbone": "backbone"}


@dataclass(frozen=True)
class Part:
    """Something that PaddleClas builds from a section of a config, by name.

    Attributes:
        key: config key of the name.
        place: config key of the settings.
        name: its name in the config.
        module: module of PaddleClas that defines the name.
        kind: what it is, for messages.
        settings: its options; None if there are none.
    """

    key: str
    place: str
    name: Any
    module: str
    kind: str
    settings: Any

    def find(self, ppcls: PaddleClas) -> Any:
        """The class that it is built with; None where this PaddleClas has none of that name."""
        if not isinstance(self.name, str):
            return None
        found = vars(ppcls.module(self.module)).get(self.name)
        return found if isinstance(found, type) else None


def loaders_read(config: Config, mode: str) -> Iterator[str]:
    """The keys of the loaders that a run in ``mode`` reads, such as ``DataLoader.Train``."""
    settings = config["Global"]
    parts = {"train": ("Train", "UnLabelTrain", "Eval"), "eval": ("Eval",)}.get(mode, ())
    if mode == "train" and not settings.get("eval_during_train", True):
        parts = ("Train", "UnLabelTrain")
    for part in parts:
        loader = section(config, "DataLoader", part)
        if part == "Eval" and settings.get("eval_mode") == "retrieval" and isinstance(loader, dict):
            keys = loader if len(loader) == 1 else ("Gallery", "Query")
            yield from (f"DataLoader.Eval.{key}" for key in keys)
        elif part != "UnLabelTrain" or loader:
            yield f"DataLoader.{part}"


def datasets(config: Config) -> Iterator[tuple[str, Config]]:
    """(key, section) of every data set of the loaders."""

    def walk(key: str, part: Any) -> Iterator[tuple[str, Config]]:
        for name, value in part.items() if isinstance(part, dict) else ():
            if name == "dataset" and isinstance(value, dict):
                yield f"{key}.{name}", value
            else:
                yield from walk(f"{key}.{name}", value)

    return walk("DataLoader", config.get("DataLoader"))


def datasets_read(config: Config, mode: str) -> Iterator[tuple[str, Config]]:
    """(key, section) of the data sets that a run in ``mode`` reads."""
    read = set(loaders_read(config, mode))
    return (found for found in datasets(config) if found[0].rpartition(".")[0] in read)


def entries(key: str, listed: Any) -> Iterator[tuple[str, str, Any]]:
    """(key, name, settings) of a list of names with their settings.

    Raises:
        UserError: it is not a list, or an entry is not one name.
    """
    if not isinstance(listed or [], list):
        raise UserError(f"{key}: {listed!r} is not a list of `- Name:`, with its settings below")
    for index, entry in enumerate(listed or []):
        for name, settings in _single_entry(f"{key}.{index}", entry).items():
            yield f"{key}.{index}", name, settings


def _single_entry(key: str, entry: Any) -> Config:
    if not isinstance(entry, dict) or [type(name) for name in entry] != [str]:
        raise UserError(f"{key}: {entry!r} should be one `- Name:` with its settings below it")
    return entry


def networks(config: Config) -> Iterator[tuple[str, Config]]:
    """(key, section) of every network in ``Arch``, those that others are made of included.

    Raises:
        UserError: ``Arch.models`` is not a list of networks.
    """
    arch = config["Arch"]
    yield from _with_inner("Arch", arch)
    for key, role, network in entries("Arch.models", arch.get("models")):
        if not isinstance(network, dict):
            raise UserError(f"{key}.{role}: {network!r} is not the section of a network")
        yield from _with_inner(f"{key}.{role}", network)


def _with_inner(key: str, network: Config) -> Iterator[tuple[str, Config]]:
    yield key, network
    name = network.get("name")
    part = INNER_NETWORKS.get(name) if isinstance(name, str) else None
    if part:
        inner = network.get(part)
        yield from _with_inner(f"{key}.{part}", inner if isinstance(inner, dict) else {})


def network_section(config: Config) -> Config:
    """The section of the network that is exported: of a distillation, one of several."""
    arch = config["Arch"]
    for entry in arch.get("models") or []:
        if isinstance(entry, dict) and isinstance(entry.get(arch.get("infer_model_name")), dict):
            return entry[arch["infer_model_name"]]
    return arch


def class_count(arch: Config, settings: Config) -> tuple[str, int | None]:
    """The key that has the number of classes, and that number; None where no key has it.

    Args:
        arch: the section of a network.
        settings: the section ``Global``.
    """
    for key, number in (
        ("Arch.class_num", arch.get("class_num")),
        ("Global.class_num", settings.get("class_num")),
        ("Arch.Head.class_num", section(arch, "Head", "class_num")),
    ):
        if number is not None:
            return key, number
    return "Arch.class_num", None


def transforms(place: str, listed: Any) -> Iterator[Part]:
    """The transforms of a list of them, and those that they choose from.

    Raises:
        UserError: it is not a list of one name each.
    """
    module = "data.preprocess"
    for key, name, settings in entries(place, listed):
        where = f"{key}.{name}"
        yield Part(key, where, name, module, "operator", settings)
        if name == "OpSampler":
            if not isinstance(settings or {}, dict):
                raise UserError(f"{where}: {settings!r} is not a section of operators")
            for inner, options in (settings or {}).items():
                where = f"{key}.OpSampler.{inner}"
                yield Part(f"{key}.OpSampler", where, inner, module, "operator", options)
        if name == "RandomApply" and isinstance(settings, dict):
            module_of = f"{module}.ops.randaugment"
            for inner, name, options in entries(f"{where}.transforms", settings.get("transforms")):
                yield Part(inner, f"{inner}.{name}", name, module_of, "operator", options)


def transform_lists(config: Config) -> Iterator[tuple[str, Any]]:
    """(key, list) of all transforms of images and batches in a config."""
    for place, dataset in datasets(config):
        for key in ("transform_ops", "batch_transform_ops"):
            yield f"{place}.{key}", dataset.get(key)
    yield "Infer.transforms", section(config, "Infer", "transforms")


def losses_and_metrics(config: Config, mode: str) -> Iterator[Part]:
    """The losses and metrics of a config.

    Raises:
        UserError: they are not lists of one name each.
    """
    for name, module in (("Loss", "loss"), ("Metric", "metric"), ("UnLabelLoss", "loss")):
        for part in ("Train", "Eval") if mode == "train" else ("Eval",):
            key = f"{name}.{part}"
            for where, entry, settings in entries(key, section(config, name, part)):
                yield Part(where, f"{where}.{entry}", entry, module, module, settings)


def optimizers(config: Config) -> Iterator[Part]:
    """The optimizers of a config and their schedules."""
    given = config.get("Optimizer")
    listed = [("Optimizer.name", "Optimizer", section(given, "name"), given)]
    if isinstance(given, list):
        listed = [
            (key, f"{key}.{name}", name, settings)
            for key, name, settings in entries("Optimizer", given)
        ]
    for key, place, name, settings in listed:
        yield Part(key, place, name, "optimizer.optimizer", "optimizer", settings)
        lr = section(settings, "lr")
        if isinstance(lr, dict):
            place = f"{place}.lr"
            module = "optimizer.learning_rate"
            yield Part(f"{place}.name", place, lr.get("name"), module, "schedule", lr)


def named_parts(config: Config, mode: str) -> Iterator[Part]:
    """All parts of a config but its networks.

    Raises:
        UserError: a list is not one of one name each.
    """
    for place, dataset in datasets(config):
        yield Part(f"{place}.name", place, dataset.get("name"), "data", "dataset", dataset)
        mixed = dataset.get("datasets_config")
        for index, one in enumerate(mixed if isinstance(mixed, list) else ()):
            inner = f"{place}.datasets_config.{index}"
            name = section(one, "name")
            yield Part(f"{inner}.name", inner, name, "data.dataloader", "dataset", one)
        loader = place.rpartition(".")[0]
        sampler = section(config, *loader.split("."), "sampler")
        if isinstance(sampler, dict):
            place = f"{loader}.sampler"
            yield Part(f"{place}.name", place, sampler.get("name"), "data", "sampler", sampler)
    for place, listed in transform_lists(config):
        yield from transforms(place, listed)
    for part in losses_and_metrics(config, mode):
        yield part
        # The loss inside a distillation loss.
        inner = section(part.settings, "base_loss_name")
        if inner is not None:
            key = f"{part.place}.base_loss_name"
            yield Part(key, part.place, inner, "loss.distillationloss", "loss", None)
    if mode == "train":
        yield from optimizers(config)
    post = section(config, "Infer", "PostProcess")
    if isinstance(post, dict):
        place = "Infer.PostProcess"
        for key in ("name", "func"):
            if key in post:
                yield Part(f"{place}.{key}", place, post[key], "data.postprocess", "step", post)


def unknown_names(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """An error for each part that this PaddleClas does not have."""
    for key, network in networks(config):
        name = network.get("name")
        if key == "Arch" and name is None:
            continue  # reported already
        try:
            find_network(ppcls, name, f"{key}.name")
        except UserError as found:
            yield Finding.of(found, key)
    for part in named_parts(config, mode):
        if part.name is not None and part.find(ppcls) is None:
            valid = [n for n, v in vars(ppcls.module(part.module)).items() if isinstance(v, type)]
            yield error(
                part.key,
                f"this PaddleClas has no {part.kind} {part.name!r}"
                f"{suggestion(str(part.name), valid)}",
            )
