"""What a PaddleClas config says about inference: transforms, post-processing, class names."""

from __future__ import annotations

from typing import Any, Callable

from ...data.class_names import read_class_names
from ...deploy.format import canonical_options
from ...errors import UserError

Config = dict[str, Any]
Steps = list[dict[str, Any]]

_TOPK = 5
_TO_CHW = {"ToCHWImage": None}


def inference_transforms(
    config: Config, warn: Callable[[str], None] = lambda message: None
) -> Steps:
    """The transforms from an image file to an input ``[C, H, W]``, as ``transform_ops``.

    They are those of ``Infer``; without it, those of the evaluation.

    Args:
        config: a complete config.
        warn: gets a message if they differ from those of the evaluation.

    Raises:
        UserError: the config has neither.
    """
    place, evaluated = _evaluation(config)
    given = (config.get("Infer") or {}).get("transforms")
    if not given:
        if not evaluated:
            raise UserError(
                "the config does not say how images are preprocessed for predictions: it has "
                "neither Infer.transforms nor transform_ops in DataLoader.Eval"
            )
        # The data loaders move the channels to the front themselves.
        return [*evaluated, _TO_CHW]
    differences = _differences(given, [*evaluated, _TO_CHW]) if evaluated else []
    if differences:
        warn(
            f"Infer.transforms and {place} differ: {'; '.join(differences)}. The exported model "
            f"has those of Infer, so its accuracy may differ from that of the evaluation"
        )
    return given


def _evaluation(config: Config) -> tuple[str, Steps]:
    """(key, value) of the evaluation's transforms."""
    section = (config.get("DataLoader") or {}).get("Eval") or {}
    for key in ("", ".Query", ".Gallery"):
        part = section.get(key[1:]) if key else section
        steps = ((part or {}).get("dataset") or {}).get("transform_ops")
        if steps:
            return f"DataLoader.Eval{key}.dataset.transform_ops", steps
    return "", []


def _differences(given: Steps, evaluated: Steps) -> list[str]:
    ours, theirs = (
        {next(iter(step)): canonical_options(step) for step in steps}
        for steps in (given, evaluated)
    )
    found = [
        f"{name}: {ours.get(name, 'no such step')} and {theirs.get(name, 'no such step')}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if not found and list(ours) != list(theirs):
        found.append(f"the order {', '.join(ours)} and {', '.join(theirs)}")
    return found


def postprocess(config: Config, classes: int) -> dict[str, Any]:
    """The post-processing of an exported model, ``{NAME: OPTIONS}``.

    Args:
        config: a complete config.
        classes: how many values the model returns for an image.

    Raises:
        UserError: the names of the classes cannot be read.
    """
    options = _postprocess_section(config)
    name = options.pop("name", "Topk")
    if config["Arch"].get("infer_output_key") == "features":
        return {"NormalizeFeatures": None}
    if name == "DistillationPostProcess":
        # The exported network is the one that it would pick.
        name = options.pop("func", "Topk")
        for key in ("model_name", "key"):
            options.pop(key, None)
    names = class_names(config)
    for key in ("class_id_map_file", "delimiter"):
        options.pop(key, None)
    if name == "Topk":
        options.setdefault("topk", min(_TOPK, classes))
    options["label_list"] = [names.get(number, str(number)) for number in range(classes)]
    return {name: options}


def _postprocess_section(config: Config) -> Config:
    given = (config.get("Infer") or {}).get("PostProcess") or {}
    if not isinstance(given, dict):
        raise UserError(f"Infer.PostProcess is {given!r}; it must be a section with a name")
    return dict(given)


def class_names(config: Config) -> dict[int, str]:
    """The names of the classes, from ``Infer.PostProcess.class_id_map_file``; may be empty.

    Raises:
        UserError: the file cannot be read, or a line is not ``ID NAME``.
    """
    options = _postprocess_section(config)
    file = options.get("class_id_map_file")
    if not file:
        return {}
    try:
        return read_class_names(file, options.get("delimiter"))
    except UserError as error:
        raise UserError(f"Infer.PostProcess.class_id_map_file: {error}") from error
