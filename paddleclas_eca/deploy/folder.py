"""Read the folder of an exported model (:mod:`paddleclas_eca.deploy.format` has what is in it)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..hosts.paddleclas.inference_yml import PADDLEX_INTERPOLATION
from .format import DESCRIPTION, FORMAT, METADATA, OLD_PROGRAM, PROGRAM, WEIGHTS

_EXPORT = "paddleclas-eca export_model -c CONFIG -o Global.pretrained_model=WEIGHTS"
# Steps that do the same to an image every time. Others would not predict, and some of PaddleClas's
# execute the text of their settings.
_STEPS = {
    "ResizeImage",
    "CropImage",
    "CropImageAtRatio",
    "Pad",
    "Padv2",
    "NormalizeImage",
    "Normalize",
    "ToTensor",
    "ToCHWImage",
}


@dataclass(frozen=True)
class ExportedModel:
    """A classifier in an exported folder.

    Attributes:
        folder: where it is.
        name: the model's name, such as ``ECA_ResNet50``.
        input_shape: channels, height and width of an image, ``(C, H, W)``.
        has_softmax: whether its output are probabilities; else the values before the softmax.
        steps: what makes an input of an image file, as PaddleClas's ``transform_ops``.
        names: of the classes, by their number.
        topk: how many classes a prediction has by default.
    """

    folder: Path
    name: str
    input_shape: tuple[int, int, int]
    has_softmax: bool
    steps: list[dict[str, Any]]
    names: list[str]
    topk: int


def read(folder: Path) -> ExportedModel:
    """Read what an exported folder says of its model.

    Raises:
        UserError: it is no such folder, or is damaged; or its model is no classifier, which
            is all that can be predicted from.
    """
    _require_files(folder)
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        description = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if metadata["format"] != FORMAT:
            raise UserError(
                f"{folder} was exported by another version of paddleclas_eca (format "
                f"{metadata['format']!r}; this one reads {FORMAT}): use that one, or export again"
            )
        (post, settings), *_ = description["PostProcess"].items()
        activation = metadata["output"]["activation"]
        if post != "Topk" or activation not in ("softmax", None):
            raise UserError(_cannot_predict(folder, metadata["model"], post, activation))
        model = ExportedModel(
            folder=folder,
            name=metadata["model"],
            input_shape=tuple(map(int, metadata["input"]["shape"][1:])),
            has_softmax=activation == "softmax",
            steps=[
                {"DecodeImage": dict(metadata["decode"])},
                *_steps(folder, description["PreProcess"]["transform_ops"]),
            ],
            names=list(map(str, settings["label_list"])),
            topk=min(int(settings["topk"]), metadata["classes"]),
        )
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"{folder}: {METADATA} and {DESCRIPTION} do not have the form that export_model "
            f"writes ({type(error).__name__}: {error}). Export the model again: {_EXPORT}"
        ) from error
    if len(model.names) != metadata["classes"]:
        raise UserError(
            f"{folder / DESCRIPTION} names {len(model.names)} classes in PostProcess.Topk."
            f"label_list, and the model has {metadata['classes']}. Give each of them a name"
        )
    return model


def _require_files(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. Give that of an exported model: {_EXPORT}")
    missing = [n for n in (PROGRAM, WEIGHTS, DESCRIPTION, METADATA) if not (folder / n).is_file()]
    if not missing:
        return
    inside = next((p.parent for p in folder.glob(f"*/{METADATA}")), None)
    if inside:
        hint = f"Did you mean {inside}?"
    elif (folder / OLD_PROGRAM).is_file() and PROGRAM in missing:
        hint = (
            f"{OLD_PROGRAM} is of Paddle 2, which says neither how images are prepared nor what "
            f"the classes are called. Export the model again from its weights: {_EXPORT}"
        )
    else:
        hint = f"Export the model, again if that was interrupted: {_EXPORT}"
    raise UserError(f"{folder} holds no exported model: {', '.join(missing)} missing. {hint}")


def _cannot_predict(folder: Path, model: str, post: str, activation: str | None) -> str:
    if post == "NormalizeFeatures":
        what = "returns features for retrieval, not classes"
    elif post == "Topk":
        what = f"has {activation} scores, of several classes at once"
    else:
        what = f"needs PaddleClas's {post} to read its output"
    return (
        f"{folder}: {model} {what}, and predict ranks the classes of classifiers alone. Run it "
        f"with Paddle Inference, or with PaddleClas's deploy/python"
    )


def _steps(folder: Path, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps with the names that PaddleClas has for ways to interpolate."""
    _require_known(folder, given)
    own = {theirs: ours for ours, theirs in PADDLEX_INTERPOLATION.items()}
    for step in given:
        resizing = step.get("ResizeImage") or {}
        if "interpolation" in resizing:
            resizing["interpolation"] = own.get(
                resizing["interpolation"], resizing["interpolation"]
            )
    return given


def _require_known(folder: Path, steps: list[dict[str, Any]]) -> None:
    for step in steps:
        (name, settings), *others = step.items()
        if name not in _STEPS or others:
            raise UserError(
                f"{folder / DESCRIPTION}: PreProcess.transform_ops has {', '.join(step)}; predict "
                f"has {', '.join(sorted(_STEPS))}, one in each entry"
            )
        if isinstance((settings or {}).get("scale"), str):
            # PaddleClas would execute it.
            raise UserError(
                f"{folder / DESCRIPTION}: {name}.scale is {settings['scale']!r}; it must be a "
                f"number"
            )
