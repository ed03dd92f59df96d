"""PaddleClas's own predictor, ``paddleclas.PaddleClas``, on models that Paddle 3 exported.

The wheels come with it; it reads images, predicts and names classes, on the command line too. It
was written for Paddle 2:

- it looks for ``inference.pdmodel``, while Paddle 3 writes ``inference.json``
  (``InputModelError: There is no model file or params file in this directory``);
- it turns on the optimization of memory without the representation that Paddle 3 has it for
  (``InvalidArgument: Not find predictor_id 1 and pass_name memory_optimize_pass``);
- it prepares images and names classes as for ImageNet, whatever the model was trained on.

Unlike the patches of the trainer, this is put in force on request alone: the wheel's predictor is
of no use to training, and importing it takes packages that nothing else needs.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import yaml

from ...deploy.format import DESCRIPTION, PROGRAM, WEIGHTS
from ...errors import UserError
from ...runtime import check_paddle
from .monkeypatch import MonkeyPatch
from .source import source_has

PACKAGE = "paddleclas"
# PaddleX's names of interpolations that PaddleClas calls otherwise.
_INTERPOLATIONS = {"linear": "bilinear", "lanczos4": "lanczos"}

_in_force: MonkeyPatch | None = None


def patch_predictor() -> ModuleType:
    """Have ``paddleclas.PaddleClas`` take the folders that Paddle 3 exports; once.

    How images are prepared and what the classes are called comes from ``inference.yml`` in the
    folder, where it is; arguments of the caller go first. Models in the form of Paddle 2, and
    those that PaddleClas downloads, are run as before.

    Returns:
        The module of the predictor, with ``PaddleClas`` and ``main``.

    Raises:
        UserError: there is no Paddle, no wheel of PaddleClas, or it cannot be imported.
    """
    global _in_force
    check_paddle()
    module = _import_predictor()
    if _in_force is None:
        edits = MonkeyPatch()
        if source_has(module.PaddleClas._check_input_model, "inference.pdmodel"):
            _accept_new_models(module, edits)
        _run_new_models(_module_of(module.ClsPredictor.__mro__[1]), edits)
        _take_names(_module_of(_module_of(module.ClsPredictor).build_postprocess), edits)
        edits.wrap(module, "init_config", _with_description)
        _in_force = edits
    return module


def _import_predictor() -> ModuleType:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise UserError(
            "PaddleClas's predictor comes with its wheel, which is not installed: "
            "pip install --no-deps paddleclas"
        )
    try:
        return importlib.import_module(f"{PACKAGE}.paddleclas")
    except ImportError as error:
        raise UserError(
            f"PaddleClas's predictor in {spec.origin} cannot be imported: {error}. It needs more "
            f"packages than its trainer: install that one, too"
        ) from error


def _module_of(thing: Any) -> ModuleType:
    return sys.modules[thing.__module__]


def _is_new(folder: str | Path | None) -> bool:
    return bool(folder) and all((Path(folder) / name).is_file() for name in (PROGRAM, WEIGHTS))


def _accept_new_models(module: ModuleType, edits: MonkeyPatch) -> None:
    def check(original: Callable, self: Any, model_name: str | None, folder: str | None) -> tuple:
        if not model_name and _is_new(folder):
            return "custom", folder
        return original(self, model_name, folder)

    edits.wrap(module.PaddleClas, "_check_input_model", check)


def _run_new_models(module: ModuleType, edits: MonkeyPatch) -> None:
    original = module.Config

    class Config(original):
        """Paddle Inference's, given a model of either representation."""

        def __init__(self, model: str, weights: str) -> None:
            # Some wheels give the two files, others the folder and the stem of their names.
            folder = Path(model) if Path(model).is_dir() else Path(model).parent
            is_new = _is_new(folder) and Path(weights).stem == Path(PROGRAM).stem
            if is_new:
                model, weights = str(folder / PROGRAM), str(folder / WEIGHTS)
            super().__init__(model, weights)
            if is_new:
                self.enable_new_ir(True)
                self.enable_new_executor(True)

    edits.set(module, "Config", Config)


def _take_names(module: ModuleType, edits: MonkeyPatch) -> None:
    original = module.Topk
    if "label_list" in inspect.signature(original).parameters:
        return

    class Topk(original):
        """With names of classes as a list; until 2.4.2 they can only be in a file."""

        def __init__(self, label_list: list[str] | None = None, **words: Any) -> None:
            super().__init__(**words)
            if label_list:
                self.class_id_map = dict(enumerate(label_list))

    edits.set(module, "Topk", Topk)


def _with_description(
    original: Callable, model_type: str, model_name: str | None, folder: str, **given: Any
) -> Any:
    """The predictor's config, with what ``inference.yml`` says in place of ImageNet's."""
    config = original(model_type, model_name, folder, **given)
    path = Path(folder) / DESCRIPTION
    if model_type != "custom" or not path.is_file():
        return config
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = [_step(step) for step in described["PreProcess"]["transform_ops"]]
        ((name, settings),) = described["PostProcess"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} does not describe a model: {error!r}. Export the model anew, or remove the "
            f"file to have ImageNet's preprocessing and class names"
        ) from error
    config.PreProcess.transform_ops = _with_sizes(steps, given)
    postprocess = {"main_indicator": name, name: dict(settings or {})}
    if name == "Topk":
        if given.get("topk"):
            postprocess[name]["topk"] = given["topk"]
        if given.get("class_id_map_file"):
            postprocess[name].pop("label_list", None)
            postprocess[name]["class_id_map_file"] = given["class_id_map_file"]
    else:
        # The other kinds know no lists of names.
        postprocess[name].pop("label_list", None)
        if name == "ThreshOutput" and given.get("thresh"):
            postprocess[name]["threshold"] = given["thresh"]
    if given.get("save_dir"):
        postprocess["SavePreLabel"] = {"save_dir": given["save_dir"]}
    files = sys.modules[f"{PACKAGE}.paddleclas"].config
    config.PostProcess = type(config)(postprocess)
    files.create_attr_dict(config.PostProcess)
    # Later wheels take overrides of the config; they go before the file, too.
    return files.override_config(config, given.get("override"))


def _step(step: dict[str, Any]) -> dict[str, Any]:
    ((name, settings),) = step.items()
    settings = dict(settings or {})
    if settings.get("interpolation"):
        word = settings["interpolation"].lower()
        settings["interpolation"] = _INTERPOLATIONS.get(word, word)
    return {name: settings}


def _with_sizes(steps: list[dict[str, Any]], given: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps with the sizes that the caller of the predictor asks for."""
    wanted = {
        "ResizeImage": ("resize_short", given.get("resize_short")),
        "CropImage": ("size", given.get("crop_size")),
    }
    before = 0
    for name, (key, size) in wanted.items():
        names = [next(iter(step)) for step in steps]
        if size:
            if name not in names:
                steps.insert(before, {name: {}})
                names.insert(before, name)
            settings = steps[names.index(name)][name]
            settings.pop("size", None)
            settings[key] = size
        if name in names:
            before = names.index(name) + 1
    return steps
