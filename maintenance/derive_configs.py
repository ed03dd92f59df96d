"""Write the configs that are derived from another one.

PaddleClas's configs are whole files: none includes another. This script has what the derived ones
change, so that a change of a recipe reaches them all: edit the base config, or the lists below,
and run it. `--check` writes nothing and fails where a file is not what it would write.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CONFIGS = Path(__file__).resolve().parents[1] / "ppcls_configs"


class Derived(NamedTuple):
    """A config that is derived from another.

    Attributes:
        name: its path below ``ppcls_configs``, without suffix.
        base: name of the other one.
        changes: (text of the base, replacement); each text occurs in the base once.
    """

    name: str
    base: str
    changes: list[tuple[str, str]]


def _title(model: str) -> str:
    """``ECA-ResNet-50-vd`` for ``ECA_ResNet50_vd``, for the first line of a config."""
    return model.replace("_", "-").replace("ResNet", "ResNet-")


def _model(name: str, base: str, *changes: tuple[str, str]) -> Derived:
    """The config of another model with the recipe of ``base``, except for ``changes``."""
    renamed = [
        (f"# {_title(base)} on", f"# {_title(name)} on"),
        (f"./inference/{base}\n", f"./inference/{name}\n"),
        (f"  name: {base}\n", f"  name: {name}\n"),
    ]
    return Derived(name, base, [*renamed, *changes])


# The recipe of PaddleClas's ResNet50_vd.
_SCHEDULE = """\
    name: Piecewise
    decay_epochs: [30, 60, 90]
    values: [0.1, 0.01, 0.001, 0.0001]
"""
_SCHEDULE_VD = """\
    name: Cosine
    learning_rate: 0.1
"""
_TRAIN_LIST = "      cls_label_path: ./dataset/ILSVRC2012/train_list.txt\n"
_MIXUP = """\
      batch_transform_ops:
        - MixupOperator:
            alpha: 0.2
"""
_LOSS = "  Train:\n    - CELoss:\n        weight: 1.0\n"
_LABEL_SMOOTHING = "        # label smoothing\n        epsilon: 0.1\n"
_TRAIN_METRIC = "  Train:\n    - TopkAcc:\n        topk: [1, 5]\n"
_NO_TRAIN_METRIC = "  # none: an image mixed of two has no class of its own\n  Train:\n"
_VD = [
    ("the recipe of the paper (Section 4.1)", "the recipe of PaddleClas's ResNet50_vd"),
    ("scale the learning rates with", "scale the learning rate with"),
    ("  epochs: 100\n", "  epochs: 200\n"),
    (_LOSS, _LOSS + _LABEL_SMOOTHING),
    (_SCHEDULE, _SCHEDULE_VD),
    ("    coeff: 0.0001\n", "    coeff: 0.00007\n"),
    (_TRAIN_LIST, _TRAIN_LIST + _MIXUP),
    (_TRAIN_METRIC, _NO_TRAIN_METRIC),
]
_WEIGHT_DECAY_OF_DEEP_VD = ("    coeff: 0.00007\n", "    coeff: 0.0001\n")

# timm's weights of a model, and how they are evaluated (results/results-imagenet.csv there): size,
# resize_short and top-1 as they were trained, and with larger images.
_TIMM = {
    "ECA_ResNet269_vd": ("ecaresnet269d.ra2_in1k", (320, 336, 84.72), (352, 352, 84.97)),
    "ECA_ResNet26_t": ("ecaresnet26t.ra2_in1k", (256, 292, 78.89), (320, 336, 79.90)),
    "ECA_ResNet50_t": ("ecaresnet50t.ra2_in1k", (256, 292, 81.45), (320, 336, 82.37)),
    "ECA_ResNet50_light": ("ecaresnetlight.miil_in1k", (224, 256, 80.45), (288, 303, 81.43)),
    "ECA_ResNet50_vd_pruned": (
        "ecaresnet50d_pruned.miil_in1k",
        (224, 256, 79.71),
        (288, 303, 80.81),
    ),
    "ECA_ResNet101_vd_pruned": (
        "ecaresnet101d_pruned.miil_in1k",
        (224, 256, 80.81),
        (288, 303, 82.02),
    ),
}
_REMARKS = {
    "ECA_ResNet269_vd": "# Reduce the batch size to what your GPUs have memory for.\n",
    "ECA_ResNet50_vd_pruned": "# It is for fine-tuning: from scratch, train ECA_ResNet50_vd.\n",
    "ECA_ResNet101_vd_pruned": "# It is for fine-tuning: from scratch, train ECA_ResNet101_vd.\n",
}


def _timm(name: str, *changes: tuple[str, str]) -> Derived:
    """The recipe of the vd models, with the images of timm's weights."""
    weights, (size, short, top1), (larger, larger_short, larger_top1) = _TIMM[name]
    larger_images = f"resize_short: {larger_short} and size: {larger}"
    bicubic = "interpolation: bicubic\n{0}backend: pil\n{0}"
    scaling = "another batch size, scale the learning rate with the batch.\n"
    remark = f"""\
# Size and interpolation of the images are those of timm's {weights}, for
# which timm publishes a top-1 of {top1:.2f} %, and {larger_top1:.2f} % with {larger_images}.
# Those weights were trained by another recipe.
"""
    return _model(
        name,
        "ECA_ResNet50_vd",
        (scaling, scaling + remark + _REMARKS.get(name, "")),
        ("  image_shape: [3, 224, 224]\n", f"  image_shape: [3, {size}, {size}]\n"),
        ("RandCropImage:\n            size: 224\n", f"RandCropImage:\n            size: {size}\n"),
        *(
            (
                f"- ResizeImage:\n{indent}resize_short: 256\n"
                f"{indent[4:]}- CropImage:\n{indent}size: 224\n",
                f"- ResizeImage:\n{indent}{bicubic.format(indent)}resize_short: {short}\n"
                f"{indent[4:]}- CropImage:\n{indent}size: {size}\n",
            )
            # Of evaluation and of inference.
            for indent in (" " * 12, " " * 8)
        ),
        *changes,
    )


# From pretrained weights: lower learning rates than from scratch, fewer epochs, and one GPU.
_FINE_TUNING = [
    (
        """\
# ECA-ResNet-50 on ImageNet-1K: the recipe of the paper (Section 4.1) on 4 GPUs of 64 images.
# With another number of GPUs or another batch size, scale the learning rates with the batch.
""",
        """\
# ECA-ResNet-50 on your own images, from weights that Global.pretrained_model names, on one
# GPU. `paddleclas-eca prepare folder` makes the config of a data set from this one.
""",
    ),
    ("output_dir: ./output/\n", "output_dir: ./output/finetune/\n"),
    ("./inference/ECA_ResNet50\n", "./inference/finetune\n"),
    ("  epochs: 100\n", "  epochs: 40\n"),
    (
        "  save_interval: 1\n",
        "  # in epochs, besides the latest and the best checkpoint\n  save_interval: 10\n",
    ),
    (_LOSS, _LOSS + _LABEL_SMOOTHING),
    (
        _SCHEDULE,
        """\
    # for a batch of 64, all processes together; in proportion for others
    name: Cosine
    learning_rate: 0.01
    warmup_epoch: 2
""",
    ),
    ("    # comes with PaddleClas\n", ""),
]


def _ablation(layers: int) -> Derived:
    """The recipe of the paper, with the attention written out for ``-o Arch.attention=...``."""
    base, name = f"ECA_ResNet{layers}", f"ablation/ResNet{layers}"
    return Derived(
        name,
        base,
        [
            (
                f"# {_title(base)} on ImageNet-1K: the recipe",
                f"# Ablations of the paper: ResNet-{layers} on ImageNet-1K. docs/ablations.md has\n"
                "# Arch.attention for each row of Table 2, and Arch.k_size for Figure 4.\n"
                "# The recipe",
            ),
            ("output_dir: ./output/\n", f"output_dir: ./output/{name}\n"),
            (f"./inference/{base}\n", f"./inference/{name}\n"),
            (f"  name: {base}\n", f"  name: {base}\n  attention: ECA\n"),
        ],
    )


def _derived() -> Iterator[Derived]:
    for layers in (18, 34, 101, 152):
        yield _model(f"ECA_ResNet{layers}", "ECA_ResNet50")
    yield _model("ECA_ResNet50_vd", "ECA_ResNet50", *_VD)
    for layers in (18, 34):
        yield _model(f"ECA_ResNet{layers}_vd", "ECA_ResNet50_vd")
    for layers in (101, 152, 200):
        yield _model(f"ECA_ResNet{layers}_vd", "ECA_ResNet50_vd", _WEIGHT_DECAY_OF_DEEP_VD)
    for name in _TIMM:
        deep = name in ("ECA_ResNet269_vd", "ECA_ResNet101_vd_pruned")
        yield _timm(name, *([_WEIGHT_DECAY_OF_DEEP_VD] if deep else []))
    for width in ("0_25", "0_5", "0_75", "1_5", "2_0"):
        yield _model(
            f"ECA_MobileNetV2_x{width}",
            "ECA_MobileNetV2",
            ("the recipe of the paper (Section 4.1)", "the recipe of the paper's MobileNetV2"),
        )
    yield Derived("finetune/ECA_ResNet50", "ECA_ResNet50", _FINE_TUNING)
    for layers in (50, 101):
        yield _ablation(layers)


def derive(configs: Path) -> dict[str, str]:
    """Text of each derived config by name, from the base configs in ``configs``."""
    texts: dict[str, str] = {}
    for name, base, changes in _derived():
        # A base may be derived itself.
        text = texts.get(base) or (configs / f"{base}.yaml").read_text(encoding="utf-8")
        for old, new in changes:
            if text.count(old) != 1:
                raise ValueError(f"{name}: {base}.yaml has {old!r} {text.count(old)} times, not 1")
            text = text.replace(old, new)
        texts[name] = text
    return texts


def main() -> int:
    """Run the script; exit code 1 if a config is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    outdated = 0
    for name, text in derive(CONFIGS).items():
        path = CONFIGS / f"{name}.yaml"
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            outdated = 1
            print(f"{path} is not what {Path(__file__).name} writes", file=sys.stderr)
    return outdated


if __name__ == "__main__":
    sys.exit(main())
