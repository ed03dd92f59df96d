"""``export_model``: the directory of an exported model, from PaddleClas's Engine."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ....deploy.format import ONNX, staged_folder, write_descriptions
from ....deploy.onnx import OPSET, check_converter, compare_onnx, convert_to_onnx
from ....deploy.runtimes import open_session
from ....files import sha256
from ..config_check.rules import example_image, network_section
from ..evaluation import config_preprocess
from ..inference_config import inference_transforms, postprocess
from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch
from ..source import source_has
from .run import plain

EXPORT_ONNX = "export_onnx"


def export_folder(ppcls: PaddleClas, engine: Any, export: Callable[[], None]) -> None:
    """Export the network of an Engine to ``Global.save_inference_dir``, whole or not at all.

    Args:
        ppcls: the PaddleClas in use.
        engine: its Engine, in mode ``export``.
        export: that Engine's own method, which writes the network.

    Raises:
        UserError: the directory cannot be written, the config does not define prediction, or the
            ONNX file that ``Global.export_onnx`` asks for cannot be made.
    """
    settings = engine.config["Global"]
    folder = Path(settings["save_inference_dir"])
    logger = ppcls.module("utils.logger")
    if settings.get("hpi_config_path"):
        logger.warning("Global.hpi_config_path: inference.yml is written without its Hpi section")
    if settings.get(EXPORT_ONNX):
        check_converter()
    messages: list[str] = []
    activations: list[str | None] = []

    def build(original: Any, exported: Any, *args: Any, **kwargs: Any) -> None:
        original(exported, *args, **kwargs)
        act = exported.out_act
        activations.append(None if act is None else type(act).__name__.lower())

    changes = MonkeyPatch()
    with staged_folder(folder, "Global.save_inference_dir") as stage:
        # develop's own inference.yml fails on what ours admits, such as no class names.
        settings.update(save_inference_dir=str(stage), export_for_fd=False)
        changes.wrap(ppcls.module("engine.engine").ExportModel, "__init__", build)
        changes.set(logger, "info", messages.append)
        try:
            export()
        finally:
            changes.undo()
            settings["save_inference_dir"] = str(folder)
        config = plain(engine.config)
        if settings.get(EXPORT_ONNX):
            messages.append(_add_onnx(ppcls, stage, config))
        _describe(ppcls, stage, config, activations[-1])
    for message in messages:
        logger.info(message.replace(str(stage), str(folder)))


def _describe(ppcls: PaddleClas, stage: Path, config: dict, activation: str | None) -> None:
    # The output for an image of zeros shows the number of classes. Without oneDNN, which crashes
    # on some networks.
    session = open_session(stage, onednn=False)
    shape = config["Global"]["image_shape"]
    output = session.run(np.zeros([1, *shape], "float32")).shape[1:]
    network = network_section(config)
    write_descriptions(
        stage,
        model=network["name"],
        input=(session.input, shape),
        output=(session.output, output),
        activation=activation,
        steps=_transforms(ppcls, config),
        postprocess=postprocess(config, output[-1]),
        weights=_weights(config, network),
        versions={"paddleclas": ppcls.version},  # None for a checkout
        paddlex_model=config["Global"].get("pdx_model_name"),
    )


def _transforms(ppcls: PaddleClas, config: dict) -> list[dict[str, Any]]:
    """The transforms of a config, with the defaults of this version of PaddleClas filled in."""
    transforms = inference_transforms(config, ppcls.module("utils.logger").warning)
    operators = ppcls.module("data.preprocess.ops.operators")
    # 2.4 and 2.5 leave it to Pillow.
    is_bilinear = source_has(operators.UnifiedResize, "interpolation = Image.BILINEAR")
    # 2.4 has the option and does not read it.
    reads_to_np = "backend" in inspect.signature(operators.DecodeImage).parameters
    for step in transforms:
        resize, decode = step.get("ResizeImage") or {}, step.get("DecodeImage") or {}
        if str(resize.get("backend")).lower() == "pil" and not resize.get("interpolation"):
            resize["interpolation"] = "bilinear" if is_bilinear else "bicubic"
        if not reads_to_np:
            decode.pop("to_np", None)
    return transforms


def _weights(config: dict, network: dict) -> dict[str, str] | None:
    """Where the weights came from; None for an untrained network."""
    given = config["Global"].get("pretrained_model") or network.get("pretrained")
    if not isinstance(given, str):
        return {"file": "downloaded by PaddleClas"} if given else None
    file = Path(f"{given.removesuffix('.pdparams')}.pdparams")
    return {"file": str(file), "sha256": sha256(file)} if file.is_file() else {"file": given}


def _add_onnx(ppcls: PaddleClas, stage: Path, config: dict) -> str:
    """Write ``inference.onnx`` and compare it; returns what to log."""
    image, origin = example_image(ppcls, config)
    preprocessed = config_preprocess(ppcls, config)(image)
    convert_to_onnx(stage)
    largest = compare_onnx(stage, preprocessed, f"{image} ({origin})")
    return (
        f"{ONNX} (opset {OPSET}) gives what the Paddle model gives on {image} ({origin}), in "
        f"batches of 1 and 3: the largest difference is {largest:.1e}"
    )
