"""Label lists, class names and a config for a folder of one's own images."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..configs import FOLDER, resource_root
from ..errors import UserError
from .image_files import ENDINGS
from .lists import label_list, write_dataset

# The recipe that configs are made of.
TEMPLATE = "finetune/ECA_ResNet50"
_SPLITS = ("train", "val")


class FolderSummary(NamedTuple):
    """What :func:`prepare_folder` found and wrote.

    Attributes:
        root: the folder, PaddleClas's ``image_root``.
        classes: the names of the classes, in the order of their labels.
        train_images: number of training images.
        val_images: number of validation images.
        config: the config that trains on them.
        warnings: what is there and looks unintended, for people.
        written: number of files that were written; 0 where all were there.
    """

    root: Path
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    config: Path
    warnings: tuple[str, ...]
    written: int


def prepare_folder(
    root: Path,
    *,
    model: str = "ECA_ResNet50",
    val_share: float = 0.2,
    seed: int = 0,
    output: Path | None = None,
    overwrite: bool = False,
) -> FolderSummary:
    """Write what PaddleClas needs to train on a folder of images sorted into classes.

    The folder holds a sub-folder per class, or ``train`` and ``val`` with these in both. In the
    first case a share of each class is drawn for validation. The label of a class is the index
    of its folder by name. No image is opened.

    Args:
        root: the folder of images.
        model: the network of the config, one of :func:`paddleclas_eca.list_models`.
        val_share: share of each class for validation, above 0 and below 1; at least one image
            of a class, and at least one remains for training.
        seed: of the draw.
        output: where to write ``train_list.txt``, ``val_list.txt``, ``label_list.txt`` and
            ``<model>.yaml``; ``root`` by default.
        overwrite: replace files that are there with other content.

    Raises:
        UserError: ``root`` does not have that form, ``val_share`` is no such share, files are
            there with other content and ``overwrite`` is not set, or they cannot be written.
    """
    if not 0 < val_share < 1:
        raise UserError(f"--val {val_share:g} should be above 0 and below 1, such as 0.2")
    found = _list_classes(root)
    if {name.lower() for name in found} >= set(_SPLITS):
        splits, warnings = _read_splits(root)
    else:
        splits, warnings = _draw_splits(root, found, val_share, seed), ()
    classes = sorted(splits["train"])
    if len(classes) < 2:
        raise UserError(
            f"{root} holds one class, {classes[0]}; a classifier needs two. Give the folder that "
            f"holds a folder per class"
        )
    labels = {name: label for label, name in enumerate(classes)}
    lines = {
        split: [f"{image} {labels[name]}" for name in sorted(images) for image in images[name]]
        for split, images in splits.items()
    }
    output = output or root
    example = next(image for images in splits["val"].values() for image in images)
    config = _config(root, output, model, len(classes), example)
    files = {f"{split}_list.txt": label_list(lines[split]) for split in _SPLITS}
    files["label_list.txt"] = label_list(f"{label} {name}" for name, label in labels.items())
    files[f"{model}.yaml"] = config.encode("utf-8")
    written = write_dataset(output, files, overwrite=overwrite)
    return FolderSummary(
        root=root,
        classes=tuple(classes),
        train_images=len(lines["train"]),
        val_images=len(lines["val"]),
        config=output / f"{model}.yaml",
        warnings=tuple(warnings),
        written=written,
    )


def _list_classes(root: Path) -> dict[str, list[str]]:
    """Images by the sub-folder that they are below, all relative to ``root``."""
    if not root.is_dir():
        raise UserError(f"{root} is no folder. Give the folder that holds a folder per class")
    try:
        names = sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != ".")
        classes = {name: _images_below(root, name) for name in names}
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be read: {error.strerror}") from error
    classes = {name: images for name, images in classes.items() if images}
    if not classes:
        raise UserError(
            f"{root} should hold a folder of images per class, such as {root / 'roses'} with files "
            f"that end in {', '.join(ENDINGS)}; it holds none"
        )
    return classes


def _images_below(root: Path, name: str) -> list[str]:
    def fail(error: OSError) -> None:
        raise error

    return sorted(
        os.path.relpath(os.path.join(folder, file), root).replace(os.sep, "/")
        for folder, _, files in os.walk(root / name, onerror=fail)
        for file in files
        if file.lower().endswith(ENDINGS) and not file.startswith(".")
    )


def _read_splits(root: Path) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    splits = {}
    for split in _SPLITS:
        classes = _list_classes(root / split)
        splits[split] = {n: [f"{split}/{i}" for i in images] for n, images in classes.items()}
    unknown = sorted(set(splits["val"]) - set(splits["train"]))
    if unknown:
        raise UserError(
            f"{root / 'val'} holds classes that train/ does not: {_excerpt(unknown)}. Remove them, "
            f"or add their training images"
        )
    missing = sorted(set(splits["train"]) - set(splits["val"]))
    warnings = [f"{root / 'val'} has no images of {_excerpt(missing)}."] if missing else []
    return splits, warnings


def _draw_splits(
    root: Path, classes: Mapping[str, list[str]], val_share: float, seed: int
) -> dict[str, dict[str, list[str]]]:
    lonely = [name for name, images in classes.items() if len(images) < 2]
    if lonely:
        raise UserError(
            f"{root} has a single image of {_excerpt(lonely)}, and each class needs one for "
            f"training and one for validation. Add images, or remove the class"
        )
    splits: dict[str, dict[str, list[str]]] = {split: {} for split in _SPLITS}
    for name, images in classes.items():
        # A generator for each class: a new class leaves the draw of the others as it was.
        drawn = random.Random(f"{seed} {name}").sample(images, _val_count(len(images), val_share))
        splits["val"][name] = sorted(drawn)
        splits["train"][name] = sorted(set(images) - set(drawn))
    return splits


def _val_count(images: int, share: float) -> int:
    return min(max(1, round(images * share)), images - 1)


def _config(root: Path, output: Path, model: str, classes: int, example: str) -> str:
    """The template with what belongs to these images; its comments stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    # As the shipped configs are written.
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
    return written.getvalue()


def _limit_topk(config: Any, classes: int) -> None:
    """Five classes are the fewest that have a top 5."""
    config["Infer"]["PostProcess"]["topk"] = min(classes, config["Infer"]["PostProcess"]["topk"])
    for metrics in config["Metric"].values():
        topk = metrics[0]["TopkAcc"]["topk"]
        topk[:] = sorted({min(classes, k) for k in topk})


def _excerpt(names: Iterable[str] | Sequence[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
