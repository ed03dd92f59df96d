"""Label lists, class names and a config for a directory of one's own images."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..configs import FOLDER, resource_root
from ..errors import UserError, excerpt
from ..models import check_model
from .class_folders import (
    ENDINGS,
    SPLITS,
    Classes,
    Directory,
    find_splits,
    read_classes,
    read_directory,
)
from .prepared import PreparedDataset, label_names, write_dataset

# The recipe that configs are made of.
TEMPLATE = "finetune/ECA_ResNet50"

# Paths of images, by class.
_Images = Mapping[str, "list[str]"]


def prepare_folder(
    root: Path,
    *,
    model: str = "ECA_ResNet50",
    val_share: float = 0.2,
    seed: int = 0,
    output: Path | None = None,
    overwrite: bool = False,
) -> PreparedDataset:
    """Write label lists, class names and a config for images that are sorted into classes.

    The directory has a sub-directory per class, or ``train`` and ``val`` with one per class in
    both. In the first case a share of each class is drawn for validation. The label of a class is
    the index of its directory by name. No image is opened.

    Args:
        root: the directory of images.
        model: the network of the config, one of :func:`paddleclas_eca.list_models`.
        val_share: share of each class for validation, above 0 and below 1. At least one image of
            a class is for validation, and at least one for training.
        seed: of the draw.
        output: where to write ``train_list.txt``, ``val_list.txt``, ``label_list.txt`` and
            ``<model>.yaml``; ``root`` by default.
        overwrite: replace existing files that have other content.

    Raises:
        UserError: ``root`` does not have that form, there is no such model, ``val_share`` is out
            of range, existing files have other content and ``overwrite`` is not set, or files
            cannot be written.
    """
    check_model(model)
    if not 0 < val_share < 1:
        raise UserError(f"--val {val_share:g}: expected a share above 0 and below 1, such as 0.2")
    if not root.is_dir():
        raise UserError(
            f"{root} is not a directory. Give the directory that has a directory per class"
        )
    top = read_directory(root)
    names = find_splits(top.directories)
    warnings: list[str] = []
    if names:
        ignored = len(top.directories) - len(names) + len(top.images) + len(top.others)
        splits = {}
        for split, name in names.items():
            found = _read(read_directory(root / name))
            splits[split] = {c: [f"{name}/{i}" for i in of] for c, of in found.images.items()}
            ignored += found.ignored
        warnings = _compare_classes(root / names["val"], splits["train"], splits["val"])
    else:
        found = _read(top)
        splits, ignored = _draw(root, found.images, val_share, seed), found.ignored
    classes = sorted(splits["train"])
    if len(classes) < 2:
        raise UserError(
            f"{root} has one class, {classes[0]}; a classifier needs two. Give the directory that "
            f"has a directory per class"
        )
    lines = {
        split: [
            f"{image} {label}"
            for label, name in enumerate(classes)
            for image in splits[split].get(name, [])
        ]
        for split in SPLITS
    }
    output = output or root
    example = lines["val"][0].rpartition(" ")[0]
    config = _config(root, output, model, len(classes), example)
    files = {**label_names(classes), f"{model}.yaml": config}
    # Files of the previous run are not counted as ignored.
    ours = {f"{split}_list.txt" for split in SPLITS}.union(files).intersection(top.others)
    prepared = write_dataset(
        root,
        classes,
        lines["train"],
        lines["val"],
        output=output,
        files=files,
        overwrite=overwrite,
        ignored=ignored - len(ours),
        warnings=warnings,
    )
    return dataclasses.replace(prepared, config=output / f"{model}.yaml")


def _read(directory: Directory) -> Classes:
    """The classes in a directory; those without an image are ignored."""
    found = read_classes(directory)
    images = {name: paths for name, paths in found.images.items() if paths}
    if not images:
        raise UserError(
            f"{directory.path} should have a directory of images per class, such as "
            f"{directory.path / 'roses'} with files that end in {', '.join(ENDINGS)}; it has none"
        )
    return Classes(images, found.ignored + len(found.images) - len(images))


def _compare_classes(val_directory: Path, train: _Images, val: _Images) -> list[str]:
    unknown = sorted(set(val) - set(train))
    if unknown:
        raise UserError(
            f"{val_directory} has classes that train/ lacks: {excerpt(unknown)}. Remove them, or "
            f"add their training images"
        )
    missing = sorted(set(train) - set(val))
    return [f"{val_directory} has no images of {excerpt(missing)}."] if missing else []


def _draw(root: Path, classes: _Images, val_share: float, seed: int) -> dict[str, _Images]:
    single = [name for name, images in classes.items() if len(images) < 2]
    if single:
        raise UserError(
            f"{root} has a single image of {excerpt(single)}, and each class needs one for "
            f"training and one for validation. Add images, or remove the class"
        )
    splits: dict[str, dict[str, list[str]]] = {split: {} for split in SPLITS}
    for name, images in classes.items():
        count = min(max(1, round(len(images) * val_share)), len(images) - 1)
        # A generator for each class: a new class does not change the draw of the others.
        drawn = random.Random(f"{seed} {name}").sample(images, count)
        splits["val"][name] = sorted(drawn)
        splits["train"][name] = sorted(set(images) - set(drawn))
    return splits


def _config(root: Path, output: Path, model: str, classes: int, example: str) -> bytes:
    """The template, changed for these images; its comments stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    # The style of the shipped configs.
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 100
    template = resource_root() / FOLDER / f"{TEMPLATE}.yaml"
    config = yaml.load(template.read_text(encoding="utf-8"))
    name = root.resolve().name
    config["Global"]["output_dir"] = f"./output/{name}/"
    config["Global"]["save_inference_dir"] = f"./inference/{name}"
    config["Arch"].update(name=model, class_num=classes)
    for loader, split in (("Train", "train"), ("Eval", "val")):
        dataset = config["DataLoader"][loader]["dataset"]
        dataset["image_root"] = root.as_posix()
        dataset["cls_label_path"] = (output / f"{split}_list.txt").as_posix()
    config["Infer"]["PostProcess"]["class_id_map_file"] = (output / "label_list.txt").as_posix()
    config["Infer"]["infer_imgs"] = (root / example).as_posix()
    _limit_topk(config, classes)
    config.yaml_set_start_comment(
        f"{model} on the images of {root.as_posix()}, from {TEMPLATE}.yaml. Paths are relative to "
        f"the\nfolder that training is started in."
    )
    written = io.StringIO()
    yaml.dump(config, written)
    try:
        return written.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{root}, {output} or {example} is not UTF-8 text, as a config must be. Rename it"
        ) from error


def _limit_topk(config: Any, classes: int) -> None:
    """Five classes are the fewest that have a top 5."""
    config["Infer"]["PostProcess"]["topk"] = min(classes, config["Infer"]["PostProcess"]["topk"])
    for metrics in config["Metric"].values():
        topk = metrics[0]["TopkAcc"]["topk"]
        topk[:] = sorted({min(classes, k) for k in topk})
