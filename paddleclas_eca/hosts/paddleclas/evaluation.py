"""A network and its transforms as evaluation has them, without the Engine and its data sets.

An Engine in mode ``eval`` reads the label lists of the config, and in mode ``infer`` prints
predictions; neither gives what happens inside the network.
"""

from __future__ import annotations

from typing import Any

from paddle import nn

from ...deploy.preprocess import Preprocess
from ...errors import UserError
from .config_check.rules import check_config
from .inference_config import inference_transforms
from .locate import PaddleClas

_SHIPPED_IMAGE = "ppcls_configs/images/flower.jpg"


def load_network(ppcls: PaddleClas, config: dict[str, Any]) -> nn.Layer:
    """The network of a config with its weights, in evaluation mode.

    Args:
        ppcls: a PaddleClas with a trainer.
        config: a complete config, as ``infer`` takes it; the rules for configs are applied to it.

    Raises:
        UserError: the config is invalid, or the weights cannot be loaded.
    """
    if not config.get("Infer"):
        config["Infer"] = {}
    if isinstance(config["Infer"], dict):
        # The images are the caller's, whatever the config says; `infer` must find some.
        config["Infer"]["infer_imgs"] = _SHIPPED_IMAGE
    check_config(ppcls, config, "infer")
    network = ppcls.module("arch").build_model(config, "infer")
    weights = config["Global"].get("pretrained_model")
    if weights:
        ppcls.module("utils.save_load").load_dygraph_pretrain([network], weights)
    # Of a distillation, the network that is exported, or the one that is trained.
    network = getattr(network, config["Arch"].get("infer_model_name") or "Student", network)
    network.eval()
    return network


def config_preprocess(ppcls: PaddleClas, config: dict[str, Any]) -> Preprocess:
    """The transforms that a config has for inference, as PaddleClas's operators.

    Raises:
        UserError: the config has none, or they cannot be built.
    """
    transforms = inference_transforms(config)
    try:
        operators = ppcls.module("data").create_operators(transforms)
    except Exception as error:
        raise UserError(
            f"the config's transforms cannot be built: {type(error).__name__}: {error}"
        ) from error
    return Preprocess(operators, "the config's transforms")
