"""Keys of a config that nothing reads.

PaddleClas ignores a misspelt key of ``Global`` without a word, and so do its schedules. Which
keys mean something follows from the PaddleClas at hand as far as its code shows it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....errors import suggestion
from ..locate import PaddleClas
from .findings import WARNING, Finding, error, warning
from .options import keys_read, options_of
from .rules import INNER_NETWORKS, Component, Config, components, operators

# Keys that are read in ways that code does not show, are read by other versions or by tools, or
# that PaddleClas's own configs have although nothing reads them.
_ALSO = {
    "": {
        *("Global", "Arch", "AMP", "EMA", "Loss", "UnLabelLoss", "Optimizer", "DataLoader"),
        *("Metric", "Infer", "Slim", "SSL", "MLDecoder", "IndexProcess", "profiler_options"),
    },
    "Global": {
        *("checkpoints", "pretrained_model", "device", "output_dir", "save_inference_dir"),
        *("image_shape", "image_channel", "infer_imgs", "seed", "preflight", "max_broken_images"),
        *(
            "use_gpu",
            "eval_mode",
            "distributed",
            "peer_timeout",
            "export_onnx",
            "peer_timeout",
            "progress",
        ),
    },
    "AMP": {
        *("use_amp", "use_fp16_test", "use_promote", "use_dynamic_loss_scaling", "level"),
        "scale_loss",
    },
    "EMA": {"decay"},
    "Infer": {"infer_imgs", "batch_size", "transforms", "PostProcess", "save_dir"},
    "DataLoader": {"Train", "Eval", "UnLabelTrain", "class_num", "epochs", "mean", "std"},
    "Loss": {"Train", "Eval"},
    "UnLabelLoss": {"Train"},
    "Metric": {"Train", "Eval"},
    "Slim": {"prune", "quant"},
}
# Keys of an Arch section that are not the network's.
_OF_ANY_ARCH = {"name", "use_sync_bn", "use_ml_decoder", "is_rec", "class_num"}
_OF_ANY_ARCH |= {"infer_output_key", "infer_add_softmax", "infer_model_name"}
_OF_REC_MODEL = {"Backbone", "BackboneStopLayer", "Neck", "Head", "head_feature_from"}
_LOADER = {"dataset", "sampler", "loader"}
_LOADER_SETTINGS = {"num_workers", "use_shared_memory"}
_SAMPLER_WITHOUT_NAME = {"batch_size", "drop_last", "shuffle"}
# What PaddleClas itself takes out of a section before it builds the thing, ...
_TAKEN_OUT = {
    "dataset": {"name", "batch_transform_ops"},
    "sampler": {"name", "shuffle"},
    "loss": {"weight"},
    "metric": set(),
    "optimizer": {"name", "scope", "lr", "regularizer", "clip_norm"},
    # A learning_rate beside the values of Piecewise is the matter of a rule.
    "schedule": {"name", "learning_rate", "verbose"},
}
# ... and what it adds.
_ADDED = {
    "sampler": {"dataset", "data_source"},
    "optimizer": {"learning_rate"},
    "schedule": {"epochs", "step_each_epoch"},
    "operator": {"class_num"},
}


def unknown_keys(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """Keys that PaddleClas ignores (warnings) or refuses where it builds a thing (errors)."""
    read = _keys_of_sections(ppcls)
    yield from _ignored("", config, _ALSO[""])
    for section in _ALSO:
        if section and section != "Arch":
            given = config.get(section)
            yield from _ignored(section, given, {*_ALSO[section], *read.get(section, ())})
    yield from _of_loaders("DataLoader", config.get("DataLoader"))
    for component in components(config, mode):
        yield from _of_component(ppcls, component)
    for key, name, settings in operators(config):
        built = getattr(ppcls.module("data.preprocess"), name, None)
        taken = {"prob"} if key.endswith(".OpSampler") else set()
        if name != "OpSampler":  # its keys are the operators that it chooses from
            found = _of_call(f"{key}.{name}", settings, built, taken, _ADDED["operator"])
            yield from _told_for(key, found)
    yield from _of_network(ppcls, "Arch", config.get("Arch"))
    infer = config.get("Infer")
    post = infer.get("PostProcess") if isinstance(infer, dict) else None
    if isinstance(post, dict) and isinstance(post.get("name"), str):
        built = getattr(ppcls.module("data.postprocess"), post["name"], None)
        yield from _told_for("Infer", _of_call("Infer.PostProcess", post, built, {"name"}))


@functools.cache
def _keys_of_sections(ppcls: PaddleClas) -> dict[str, set[str]]:
    """The keys that PaddleClas's code reads from a section."""
    read: dict[str, set[str]] = {}
    for file in _sources(ppcls.folder):
        for section, key in keys_read(ast.parse(file.read_text(encoding="utf-8"))):
            if section in _ALSO:
                read.setdefault(section, set()).add(key)
    return read


def _sources(folder: Path) -> Iterator[Path]:
    for part in ("engine", "utils", "optimizer", "data"):
        yield from (folder / part).rglob("*.py")
    yield folder / "arch" / "__init__.py"


def _ignored(place: str, given: Any, valid: Collection[str]) -> Iterator[Finding]:
    for key in given if isinstance(given, dict) else ():
        if key not in valid:
            yield warning(
                f"{place}.{key}".lstrip("."),
                f"PaddleClas does not know this key and ignores it{suggestion(str(key), valid)}",
            )


def _of_loaders(place: str, section: Any) -> Iterator[Finding]:
    if not isinstance(section, dict):
        return
    if "dataset" not in section:
        for key, value in section.items():
            yield from _of_loaders(f"{place}.{key}", value)
        return
    yield from _ignored(place, section, _LOADER)
    yield from _ignored(f"{place}.loader", section.get("loader"), _LOADER_SETTINGS)
    sampler = section.get("sampler")
    if isinstance(sampler, dict) and "name" not in sampler:
        yield from _ignored(f"{place}.sampler", sampler, _SAMPLER_WITHOUT_NAME)


def _of_component(ppcls: PaddleClas, component: Component) -> Iterator[Finding]:
    if component.name is None:
        return
    built = getattr(ppcls.module(component.module), str(component.name), None)
    place = component.key.removesuffix(".name")
    if place == component.key:
        place = f"{place}.{component.name}"
    taken, added = _TAKEN_OUT[component.kind], _ADDED.get(component.kind, ())
    yield from _of_call(place, component.settings, built, taken, added)
    if component.kind == "optimizer" and isinstance(component.settings, dict):
        yield from _of_regularizer(f"{place}.regularizer", component.settings.get("regularizer"))


def _of_regularizer(place: str, given: Any) -> Iterator[Finding]:
    import paddle

    if given is None:
        return
    name = given.get("name") if isinstance(given, dict) else None
    built = getattr(paddle.regularizer, f"{name}Decay", None)
    if built:
        yield from _of_call(place, given, built, {"name"})
    else:
        yield error(f"{place}.name", f"Paddle has no regularizer {name!r}: it is L1 or L2")


def _told_for(place: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """Findings, without errors where they are of ``Infer``, which training does not look at."""
    for finding in found:
        yield replace(finding, severity=WARNING) if place.startswith("Infer") else finding


def _of_call(
    place: str, given: Any, built: Any, taken: Collection[str], added: Collection[str] = ()
) -> Iterator[Finding]:
    """Keys of a section that what is built from it cannot be given, and those that it lacks.

    Args:
        place: the key of the section.
        given: the section; None is an empty one.
        built: the class or function.
        taken: keys that it is not given.
        added: what it is given besides.
    """
    if not callable(built):
        return
    given = {} if given is None else given
    if not isinstance(given, dict):
        yield error(place, f"{given!r} is not a section; it takes `key: value` lines, indented")
        return
    options = options_of(built)
    for key in sorted(options.required.difference(given, added)):
        yield error(f"{place}.{key}", f"{built.__name__} does not go without {key!r}. Set it")
    if options.others == "unknown":
        return
    valid = {*options.names, *taken} - {"self"}
    if options.others == "ignored":
        yield from _ignored(place, given, valid)
        return
    for key in given:
        if key not in valid:
            meant = suggestion(str(key), valid)
            yield error(f"{place}.{key}", f"{built.__name__} has no option {key!r}{meant}")


def _of_network(ppcls: PaddleClas, place: str, section: Any) -> Iterator[Finding]:
    """Unknown keys of a network, and of the networks that it is made of."""
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        return
    name = section["name"]
    built = getattr(ppcls.module("arch"), name, None)
    taken = _OF_ANY_ARCH - {"class_num"} if place == "Arch" else {"name"}
    if name == "RecModel":
        yield from _ignored(place, section, _OF_ANY_ARCH | _OF_REC_MODEL)
        for part in ("Neck", "Head"):
            gear = section.get(part)
            if isinstance(gear, dict) and isinstance(gear.get("name"), str):
                kind = getattr(ppcls.module("arch.gears"), gear["name"], None)
                yield from _of_call(f"{place}.{part}", gear, kind, {"name"})
    elif isinstance(section.get("models"), list):
        # It drops what it does not know, and PaddleClas's configs have these there.
        yield from _of_call(place, section, built, taken | {"class_num", "use_ssld"})
        for index, entry in enumerate(section["models"]):
            for role, network in entry.items() if isinstance(entry, dict) else ():
                yield from _of_network(ppcls, f"{place}.models.{index}.{role}", network)
    else:
        yield from _of_call(place, section, built, taken)
    inner = INNER_NETWORKS.get(name)
    if inner:
        yield from _of_network(ppcls, f"{place}.{inner}", section.get(inner))
