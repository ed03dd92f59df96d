"""PyTorch's names of the parameters, spelled out layer by layer, without the tables."""

from __future__ import annotations

import numpy as np

from paddleclas_eca.models import MODELS


def pytorch_names(model: str, attention: bool = True) -> dict[str, str]:
    """Names of ECA-Net's authors, or timm's for its relatives, to ours."""
    names: dict[str, str] = {}

    def conv_bn(conv: str, bn: str, ours: str) -> None:
        names[f"{conv}.weight"] = f"{ours}.conv.weight"
        for theirs, mine in (
            ("weight", "weight"),
            ("bias", "bias"),
            ("running_mean", "_mean"),
            ("running_var", "_variance"),
        ):
            names[f"{bn}.{theirs}"] = f"{ours}.bn.{mine}"

    def eca(theirs: str, ours: str) -> None:
        if attention:
            names[f"{theirs}.conv.weight"] = f"{ours}.attention.conv.weight"

    if "MobileNetV2" in model:
        conv_bn("features.0.0", "features.0.1", "stem")
        conv_bn("features.18.0", "features.18.1", "last_conv")
        for i in range(17):
            theirs, ours = f"features.{i + 1}.conv", f"blocks.{i}"
            at = 0
            for layer in ["expand", "depthwise"][i == 0 :]:
                conv_bn(f"{theirs}.{at}.0", f"{theirs}.{at}.1", f"{ours}.{layer}")
                at += 1
            conv_bn(f"{theirs}.{at}", f"{theirs}.{at + 1}", f"{ours}.project")
            eca(f"{theirs}.{at + 2}", ours)
        classifier = "classifier.1"
    else:
        timm = not model[len("ECA_ResNet") :].isdigit()
        if timm and "light" not in model:
            conv_bn("conv1.0", "conv1.1", "stem.0")
            conv_bn("conv1.3", "conv1.4", "stem.1")
            conv_bn("conv1.6", "bn1", "stem.2")
        else:
            conv_bn("conv1", "bn1", "stem.0")
        deep = int("".join(filter(str.isdigit, model))) not in (18, 34)
        block = 0
        for stage, depth in enumerate(MODELS[model].architecture["depths"], 1):
            for i in range(depth):
                theirs, ours = f"layer{stage}.{i}", f"blocks.{block}"
                for j in range(3 if deep else 2):
                    conv_bn(f"{theirs}.conv{j + 1}", f"{theirs}.bn{j + 1}", f"{ours}.conv{j}")
                if i == 0 and (deep or stage > 1):
                    places = (1, 2) if timm else (0, 1)
                    shortcut = [f"{theirs}.downsample.{place}" for place in places]
                    conv_bn(*shortcut, f"{ours}.short")
                eca(f"{theirs}.{'se' if timm else 'eca'}", ours)
                block += 1
        classifier = "fc"
    names[f"{classifier}.weight"], names[f"{classifier}.bias"] = "fc.weight", "fc.bias"
    return names


def random_state(net, seed: int = 0) -> dict[str, np.ndarray]:
    """Random arrays for the parameters and buffers of one of our networks."""
    draw = np.random.default_rng(seed).standard_normal
    return {name: draw(tensor.shape, dtype=np.float32) for name, tensor in net.state_dict().items()}


def in_pytorch(state: dict[str, np.ndarray], model: str, attention: bool = True) -> dict:
    """A state of ours in PyTorch's names and layout, with the counters of its BatchNorms."""
    theirs = {}
    for name, ours in pytorch_names(model, attention).items():
        theirs[name] = state[ours].T.copy() if ours == "fc.weight" else state[ours]
        if name.endswith(".running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            theirs[counter] = np.array(7, np.int64)
    return theirs
