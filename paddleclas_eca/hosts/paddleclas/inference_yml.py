"""What a config says about predicting, as PaddleX reads it from ``inference.yml``.

PaddleClas's develop writes this form (with ``Global.export_for_fd``), and PaddleX 3 reads it;
2.4.2 and release/2.5 write none. It has three sections: ``Global.model_name``, a model of PaddleX
that is run alike; ``PreProcess.transform_ops``, the steps that make an input of a decoded RGB
image; and ``PostProcess``, what becomes of the output, with the names of the classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

from ...errors import UserError
from .config_check.rules import network_section

Config = dict[str, Any]
Steps = list[dict[str, Any]]

_CLASS_MAP = "Infer.PostProcess.class_id_map_file"
_TOPK = 5
# What NormalizeImage takes where a config says nothing.
_NORMALIZE = {
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "order": "chw",
    "channel_num": 3,
}
_PADDLEX_NAMES = {
    *(f"ResNet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"ResNet{depth}_vd" for depth in (18, 34, 50, 101, 152, 200)),
    *(f"MobileNetV2_x{width}" for width in ("0_25", "0_5", "1_0", "1_5", "2_0")),
}
# Where the names of PaddleClas and PaddleX differ.
PADDLEX_INTERPOLATION = {"lanczos": "LANCZOS4"}
_TO_CHW = {"ToCHWImage": None}


def describe(config: Config, classes: int, warn: Callable[[str], None]) -> Config:
    """The content of ``inference.yml`` for a config.

    Args:
        config: a PaddleClas config that the rules of this package have seen, of plain values.
        classes: how many values the exported model returns for an image.
        warn: is told where predictions will differ from evaluation.

    Raises:
        UserError: the config does not say how images are prepared, or its list of class names
            cannot be read.
    """
    steps = [step for step in transforms(config, warn) if _name(step) != "DecodeImage"]
    return {
        "Global": {"model_name": _paddlex_name(config)},
        "PreProcess": {"transform_ops": _for_paddlex(steps, config["Global"]["image_shape"])},
        "PostProcess": _postprocess(config, classes),
    }


def decoding(config: Config) -> dict[str, Any]:
    """The settings of DecodeImage, which ``inference.yml`` leaves out."""
    settings = [step["DecodeImage"] or {} for step in transforms(config) if "DecodeImage" in step]
    return settings[0] if settings else {}


def transforms(config: Config, warn: Callable[[str], None] = lambda message: None) -> Steps:
    """The steps that make an input ``[C, H, W]`` of an image file.

    They are those of ``Infer``; without it, those of the evaluation.
    """
    place, evaluated = _evaluation(config)
    given = (config.get("Infer") or {}).get("transforms")
    if not given:
        if not evaluated:
            raise UserError(
                "the config does not say how images are prepared for predictions: it has neither "
                "Infer.transforms nor transform_ops in DataLoader.Eval"
            )
        # The data loaders move the channels to the front themselves.
        return [*evaluated, _TO_CHW]
    differences = _differences(given, [*evaluated, _TO_CHW]) if evaluated else []
    if differences:
        warn(
            f"Infer.transforms and {place} differ: {'; '.join(differences)}. The exported model "
            f"has those of Infer, so its accuracy may be another than that of the evaluation"
        )
    return given


def _evaluation(config: Config) -> tuple[str, Steps]:
    """(key, value) of the evaluation's steps."""
    section = (config.get("DataLoader") or {}).get("Eval") or {}
    for key in ("", ".Query", ".Gallery"):
        part = section.get(key[1:]) if key else section
        steps = ((part or {}).get("dataset") or {}).get("transform_ops")
        if steps:
            return f"DataLoader.Eval{key}.dataset.transform_ops", steps
    return "", []


def _differences(given: Steps, evaluated: Steps) -> list[str]:
    ours, theirs = ({_name(s): _settings(s) for s in steps} for steps in (given, evaluated))
    found = [
        f"{name}: {ours.get(name, 'no such step')} and {theirs.get(name, 'no such step')}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if not found and list(ours) != list(theirs):
        found.append(f"the order {', '.join(ours)} and {', '.join(theirs)}")
    return found


def _name(step: dict[str, Any]) -> str:
    return next(iter(step))


def _settings(step: dict[str, Any]) -> dict[str, Any]:
    """The settings of a step without what makes no difference, for comparing and for PaddleX."""
    settings = {key: value for key, value in (step[_name(step)] or {}).items() if value is not None}
    if _name(step) == "ResizeImage":
        return _resizing(settings)
    if _name(step) == "NormalizeImage":
        complete = {**_NORMALIZE, **settings}
        # PaddleClas tells "chw" from all others, null among them; PaddleX takes none but "".
        order = "chw" if (step["NormalizeImage"] or {}).get("order", "chw") == "chw" else ""
        known = {key: complete[key] for key in _NORMALIZE}
        return {**known, "scale": _scale(complete["scale"]), "order": order}
    return settings


def _resizing(settings: dict[str, Any]) -> dict[str, Any]:
    wanted = "resize_short" if (settings.get("resize_short") or 0) > 0 else "size"
    size = settings.get(wanted)
    if wanted == "size" and isinstance(size, int):
        size = [size, size]
    result = {wanted: size}
    backend = str(settings.get("backend", "cv2")).lower()
    interpolation = str(settings.get("interpolation", "bilinear")).lower()
    if backend != "cv2":
        result["backend"] = backend
    if interpolation != "bilinear":
        result["interpolation"] = PADDLEX_INTERPOLATION.get(interpolation, interpolation.upper())
    return result


def _for_paddlex(steps: Steps, image_shape: list[int]) -> Steps:
    """The same steps as PaddleX can run them, which prepares images in one order alone."""
    names = [_name(step) for step in steps]
    plain = [{name: _settings(step) or None} for name, step in zip(names, steps)]
    for place in range(1, len(plain)):
        if names[place - 1 : place + 1] == ["ToCHWImage", "NormalizeImage"]:
            # The same arithmetic in the order that PaddleX has.
            plain[place]["NormalizeImage"]["order"] = ""
            plain[place - 1 : place + 1] = plain[place], plain[place - 1]
    if not {"ResizeImage", "CropImage"} & set(names):
        # Images of the data set have the right size, and stay as they are.
        plain.insert(0, {"ResizeImage": {"size": [image_shape[2], image_shape[1]]}})
    return plain


def _scale(given: Any) -> float:
    """The number that PaddleClas makes of a text such as ``1.0/255.0`` by executing it."""
    numbers = re.fullmatch(r"\s*([\d.eE+-]+)\s*(?:/\s*([\d.eE+-]+)\s*)?", str(given))
    try:
        return float(numbers[1]) / float(numbers[2] or 1)
    except (TypeError, ValueError, ZeroDivisionError):
        raise UserError(
            f"NormalizeImage.scale: {given!r} is neither a number nor a fraction such as 1.0/255.0"
        ) from None


def _paddlex_name(config: Config) -> str:
    """A name that PaddleX takes: the network without attention, or one that it runs alike."""
    given = config["Global"].get("pdx_model_name")
    name = str(network_section(config)["name"]).removeprefix("ECA_")
    if given or name in _PADDLEX_NAMES:
        return given or name
    return "MobileNetV2_x1_0" if name.startswith("MobileNetV2") else "ResNet50"


def _postprocess(config: Config, classes: int) -> Config:
    settings = _postprocess_section(config)
    name = settings.pop("name", "Topk")
    if config["Arch"].get("infer_output_key") == "features":
        return {"NormalizeFeatures": None}
    if name == "DistillationPostProcess":
        # The exported network is the one that it would pick.
        name = settings.pop("func", "Topk")
        for key in ("model_name", "key"):
            settings.pop(key, None)
    names = class_names(config)
    for key in ("class_id_map_file", "delimiter"):
        settings.pop(key, None)
    if name == "Topk":
        settings.setdefault("topk", min(_TOPK, classes))
    settings["label_list"] = [names.get(number, str(number)) for number in range(classes)]
    return {name: settings}


def _postprocess_section(config: Config) -> Config:
    given = (config.get("Infer") or {}).get("PostProcess") or {}
    if not isinstance(given, dict):
        raise UserError(f"Infer.PostProcess is {given!r}; it must be a section with a name")
    return dict(given)


def class_names(config: Config) -> dict[int, str]:
    """The names of the classes, from ``Infer.PostProcess.class_id_map_file``; may be empty.

    Args:
        config: a PaddleClas config that the rules of this package have seen.

    Raises:
        UserError: the file cannot be read, or a line is not ``ID NAME``.
    """
    settings = _postprocess_section(config)
    file, delimiter = settings.get("class_id_map_file"), settings.get("delimiter")
    if not file:
        return {}
    names: dict[int, str] = {}
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{_CLASS_MAP}: {file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        identity, _, name = line.strip().partition(delimiter or " ")
        if not line.strip():
            continue
        if not (identity.isascii() and identity.isdigit()):
            raise UserError(
                f"{_CLASS_MAP}: {file}, line {number} is {line!r}; it should be `ID NAME`, such as "
                f"`3 rose`"
            )
        if int(identity) in names:
            raise UserError(
                f"{_CLASS_MAP}: {file}, line {number}: class {identity} has a name already"
            )
        names[int(identity)] = name.strip() or identity
    return names
