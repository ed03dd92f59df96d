"""``paddleclas-eca prepare``: write a data set, or its label lists, in PaddleClas's form."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Callable, NamedTuple

from ..data import (
    Cifar10Summary,
    DigitsSummary,
    prepare_cifar10,
    prepare_digits,
    prepare_folder,
    prepare_imagenet,
)
from .command import Command

# Where the configuration files of this project look for the data sets.
_CIFAR10_FOLDER = Path("dataset/cifar10")
_DIGITS_FOLDER = Path("dataset/digits")
_IMAGENET_FOLDER = Path("dataset/ILSVRC2012")
_IMAGENET_CLASSES = 1000


class _DataSet(NamedTuple):
    """A data set that can be prepared.

    ``add_arguments`` declares its options besides ``--overwrite``; ``prepare`` does the work
    and returns what to print.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data sets and their options to the parser of this command."""
    data_sets = parser.add_subparsers(dest="data_set", metavar="DATASET", required=True)
    for name, data_set in _DATA_SETS.items():
        data_set_parser = data_sets.add_parser(name, help=data_set.help, description=data_set.help)
        data_set.add_arguments(data_set_parser)
        data_set_parser.add_argument(
            "--overwrite",
            action="store_true",
            help="replace files that are there with other content",
        )


def run(args: argparse.Namespace) -> int:
    """Prepare the data set that was asked for, and print what to do with it.

    Raises:
        UserError: the data set cannot be prepared; nothing that was there is lost.
    """
    print(_DATA_SETS[args.data_set].prepare(args))
    return 0


def _add_output(parser: argparse.ArgumentParser, default: Path) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )


def _add_cifar10_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="cifar-10-python.tar.gz, or a subset in the same form (default: download it)",
    )
    _add_output(parser, _CIFAR10_FOLDER)
    for split, images in (("train", "training"), ("val", "test")):
        parser.add_argument(
            f"--{split}-images",
            type=int,
            metavar="N",
            help=f"take N {images} images, as many of each class (default: all)",
        )


def _prepare_cifar10(args: argparse.Namespace) -> str:
    summary = prepare_cifar10(
        args.output,
        archive=args.archive,
        train_images=args.train_images,
        val_images=args.val_images,
        overwrite=args.overwrite,
    )
    described = _described(summary, _CIFAR10_FOLDER, "cifar10")
    if summary.official:
        return described
    return f"Note: {summary.archive} is not the official archive, by its MD5 sum.\n{described}"


def _add_digits_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output(parser, _DIGITS_FOLDER)


def _prepare_digits(args: argparse.Namespace) -> str:
    return _described(
        prepare_digits(args.output, overwrite=args.overwrite), _DIGITS_FOLDER, "digits"
    )


def _described(summary: Cifar10Summary | DigitsSummary, folder: Path, configs: str) -> str:
    """What was written, and how to train on it; the configs look for it in ``folder``."""
    overrides = []
    if not _same(summary.root, folder):
        overrides = _data_overrides(summary.root, summary.train_list, summary.val_list)
    state = "written" if summary.written else "already there and complete, nothing written"
    return "\n".join(
        [
            f"{summary.root}: {summary.train_images} training and {summary.val_images} "
            f"validation images with their lists; {state}.",
            _next_step(f"paddleclas-eca train -c {configs}/ECA_ResNet18", overrides),
        ]
    )


def _add_imagenet_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", type=Path, metavar="ROOT", help="ImageNet folder, with train/ and val/"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write the lists to (default: ROOT)"
    )
    parser.add_argument(
        "--devkit",
        type=Path,
        metavar="DIR",
        help="unpacked ILSVRC2012_devkit_t12, for validation images that are not in class "
        "folders (default: the one in ROOT)",
    )


def _prepare_imagenet(args: argparse.Namespace) -> str:
    summary = prepare_imagenet(
        args.root, output=args.output, devkit=args.devkit, overwrite=args.overwrite
    )
    lists = summary.train_list, summary.val_list
    overrides = []
    if not all(_same(path, _IMAGENET_FOLDER) for path in (summary.root, lists[0].parent)):
        overrides = _data_overrides(summary.root, *lists)
    if summary.classes != _IMAGENET_CLASSES:
        overrides.append(f"Arch.class_num={summary.classes}")
        overrides.append("Infer.PostProcess.class_id_map_file=null")
    state = "written" if summary.written else "already there, unchanged"
    return "\n".join(
        [
            f"{summary.root}: {summary.train_images} training and {summary.val_images} "
            f"validation images of {summary.classes} classes; files or folders that are no "
            f"part of them: {summary.ignored}, ignored.",
            *(f"Warning: {warning}" for warning in summary.warnings),
            f"{lists[0]} and {lists[1].name}: {state}.",
            _next_step(
                "python -m paddle.distributed.launch tools/train.py "
                "-c ppcls_configs/ECA_ResNet50.yaml",
                overrides,
            ),
        ]
    )


def _add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root",
        type=Path,
        metavar="ROOT",
        help="folder with a sub-folder of images per class, or with these in train/ and in val/",
    )
    parser.add_argument(
        "--model",
        default="ECA_ResNet50",
        metavar="NAME",
        help="network of the config (default: %(default)s)",
    )
    parser.add_argument(
        "--val",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of each class for validation, where ROOT has no val/ (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the draw of these images (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to write the lists and the config to (default: ROOT)",
    )


def _prepare_folder(args: argparse.Namespace) -> str:
    from ..models import check_model

    check_model(args.model)
    summary = prepare_folder(
        args.root,
        model=args.model,
        val_share=args.val,
        seed=args.seed,
        output=args.output,
        overwrite=args.overwrite,
    )
    state = "written" if summary.written else "already there, unchanged"
    command = f"paddleclas-eca train -c {shlex.quote(str(summary.config))}"
    return "\n".join(
        [
            f"{summary.root}: {summary.train_images} training and {summary.val_images} "
            f"validation images of {len(summary.classes)} classes.",
            *(f"Warning: {warning}" for warning in summary.warnings),
            f"{summary.config}, and train_list.txt, val_list.txt and label_list.txt beside it: "
            f"{state}.",
            # Where weights come from, docs/weights.md tells.
            _next_step(command, ["Global.pretrained_model=WEIGHTS.pdparams"]),
        ]
    )


def _data_overrides(root: Path, train_list: Path, val_list: Path) -> list[str]:
    return [
        f"DataLoader.{loader}.dataset.{key}={_as_value(path)}"
        for loader, label_list in (("Train", train_list), ("Eval", val_list))
        for key, path in (("image_root", root), ("cls_label_path", label_list))
    ]


def _as_value(path: Path) -> str:
    # PaddleClas evaluates values as Python where it can: a folder named 10 would be a number.
    return str(path) if path.is_absolute() else f"./{path}"


def _next_step(command: str, overrides: list[str]) -> str:
    options = [f"-o {shlex.quote(override)}" for override in overrides]
    return "Next:\n  " + " \\\n    ".join([command, *options])


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


_DATA_SETS = {
    "cifar10": _DataSet(
        "write CIFAR-10, or a balanced subset of it, as images",
        _add_cifar10_arguments,
        _prepare_cifar10,
    ),
    "digits": _DataSet(
        "write scikit-learn's 1,797 handwritten digits as images; needs no download",
        _add_digits_arguments,
        _prepare_digits,
    ),
    "folder": _DataSet(
        "write the label lists of a folder of your own images, and a config to fine-tune on them",
        _add_folder_arguments,
        _prepare_folder,
    ),
    "imagenet": _DataSet(
        "write the label lists of an ILSVRC2012 folder, or of a subset of its classes",
        _add_imagenet_arguments,
        _prepare_imagenet,
    ),
}

COMMAND = Command(
    "prepare",
    "write a data set, or the label lists of one, in PaddleClas's form",
    add_arguments,
    run,
)
