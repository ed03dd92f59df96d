"""Write exported models whole, with what is needed to predict from them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml

from .... import __version__
from ....deploy import format as exports
from ....deploy.runtimes import open_session
from ....files import sha256
from .. import inference_yml
from ..config_check.rules import network_section
from ..engine.run import plain
from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch
from .base import Patch


def _install_whole_folder(ppcls: PaddleClas, edits: MonkeyPatch) -> None:
    engine = ppcls.module("engine.engine")
    logger = engine.logger
    activation: str | None = None

    def build(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal activation
        original(self, *args, **kwargs)
        activation = type(self.out_act).__name__.lower() if self.out_act is not None else None

    def export(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            # Of develop's uniform output, in the midst of training: the folder is PaddleClas's.
            return original(self, *args, **kwargs)
        settings = self.config["Global"]
        folder = Path(settings["save_inference_dir"])
        if settings.get("hpi_config_path"):
            logger.warning(
                "Global.hpi_config_path: inference.yml is written without its Hpi section"
            )
        said: list[str] = []
        engine.logger = ModuleView(logger, info=said.append)
        try:
            with exports.staged(folder) as stage:
                # develop's own inference.yml fails on what ours admits, such as no class names.
                settings.update(save_inference_dir=str(stage), export_for_fd=False)
                original(self)
                config = plain(self.config)
                config["Global"]["save_inference_dir"] = str(folder)
                _complete(ppcls, stage, config, activation)
                for add in exports.ADDITIONS:
                    add(stage, config)
        finally:
            settings["save_inference_dir"] = str(folder)
            engine.logger = logger
        for message in said:
            logger.info(message.replace(str(stage), str(folder)))

    edits.wrap(engine.ExportModel, "__init__", build)
    edits.wrap(engine.Engine, "export", export)


def _complete(ppcls: PaddleClas, stage: Path, config: dict, activation: str | None) -> None:
    """Write ``inference.yml`` and ``metadata.json`` beside a network that was just exported."""
    # One image of zeros: what comes out says how many classes there are. Without oneDNN, which
    # some networks crash on.
    session = open_session(stage, onednn=False)
    shape = config["Global"]["image_shape"]
    output = session.run(np.zeros([1, *shape], "float32")).shape
    warn = ppcls.module("utils.logger").warning
    description = inference_yml.describe(config, output[-1], warn)
    network = network_section(config)
    features = "NormalizeFeatures" in description["PostProcess"]
    metadata = {
        "format": exports.FORMAT,
        "model": network["name"],
        "classes": None if features else output[-1],
        "input": {"name": session.input, "shape": [None, *shape], "dtype": "float32"},
        "output": {
            "name": session.output,
            "shape": [None, *output[1:]],
            "activation": activation,
        },
        "decode": inference_yml.decoding(config),
        "weights": _weights(config, network),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "paddleclas_eca": __version__,
            # A checkout does not say.
            "paddleclas": ppcls.version,
            "paddlepaddle": paddle.__version__,
        },
    }
    with open(stage / exports.DESCRIPTION, "w", encoding="utf-8") as file:
        yaml.safe_dump(description, file, sort_keys=False, allow_unicode=True)
    (stage / exports.METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _weights(config: dict, network: dict) -> dict[str, str] | None:
    """Where the weights came from; None for an untrained network."""
    given = config["Global"].get("pretrained_model") or network.get("pretrained")
    if not isinstance(given, str):
        return {"file": "downloaded by PaddleClas"} if given else None
    file = Path(f"{given.removesuffix('.pdparams')}.pdparams")
    return {"file": str(file), "sha256": sha256(file)} if file.is_file() else {"file": given}


PATCHES = [
    Patch(
        name="whole-exports",
        versions="all",
        symptom="an exported folder does not say how images are prepared nor what the classes are "
        "called (2.4.2 and release/2.5), and a failed export leaves the former one damaged",
        needed=lambda ppcls: True,
        install=_install_whole_folder,
    ),
]
