"""``paddleclas-eca prepare``: write a data set, or its label lists, in PaddleClas's format."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .command import Command

if TYPE_CHECKING:
    from ..data import PreparedDataset

_IMAGENET_CLASSES = 1000


class _DataSet(NamedTuple):
    """A data set that can be prepared.

    ``options`` are the arguments of ``prepare_NAME`` in :mod:`paddleclas_eca.data`, as argparse
    declares them. ``next_step`` gives a command to train on it, with overrides. ``place`` is where
    the shipped configs look for it.
    """

    help: str
    options: dict[str, dict[str, Any]]
    next_step: Callable[[PreparedDataset, Path], tuple[str, list[str]]]
    place: Path = Path()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data sets and their options."""
    data_sets = parser.add_subparsers(dest="data_set", metavar="DATASET", required=True)
    for name, data_set in _DATA_SETS.items():
        data_set_parser = data_sets.add_parser(name, help=data_set.help, description=data_set.help)
        for option, settings in data_set.options.items():
            data_set_parser.add_argument(option, **settings)
        data_set_parser.add_argument(
            "--overwrite", action="store_true", help="replace existing files with other content"
        )


def run(args: argparse.Namespace) -> int:
    """Prepare the data set, and print what to do with it.

    Raises:
        UserError: the data set cannot be prepared; nothing that was there is lost.
    """
    from .. import data

    data_set = _DATA_SETS[args.data_set]
    prepare = getattr(data, f"prepare_{args.data_set}")
    options = {k: v for k, v in vars(args).items() if k not in ("command", "data_set", "run")}
    prepared: PreparedDataset = prepare(**options)
    command, overrides = data_set.next_step(prepared, data_set.place)
    print(
        f"{prepared.root}: {prepared.train_images} training and {prepared.val_images} validation "
        f"images of {len(prepared.classes)} classes"
        + (f"; {prepared.ignored} other files or directories ignored" if prepared.ignored else "")
    )
    for warning in prepared.warnings:
        print(f"Warning: {warning}")
    state = f"{prepared.written} files written" if prepared.written else "unchanged, all there"
    print(f"{prepared.train_list}, {prepared.val_list.name}: {state}")
    print(" \\\n    ".join([f"Next:\n  {command}", *(f"-o {shlex.quote(o)}" for o in overrides)]))
    return 0


def _train_shipped(prepared: PreparedDataset, place: Path) -> tuple[str, list[str]]:
    return f"paddleclas-eca train -c {place.name}/ECA_ResNet18", _paths(prepared, place)


def _fine_tune(prepared: PreparedDataset, place: Path) -> tuple[str, list[str]]:
    # docs/weights.md says where weights come from.
    command = f"paddleclas-eca train -c {shlex.quote(str(prepared.config))}"
    return command, ["Global.pretrained_model=WEIGHTS.pdparams"]


def _train_imagenet(prepared: PreparedDataset, place: Path) -> tuple[str, list[str]]:
    overrides = _paths(prepared, place)
    if len(prepared.classes) != _IMAGENET_CLASSES:
        overrides.append(f"Arch.class_num={len(prepared.classes)}")
        overrides.append("Infer.PostProcess.class_id_map_file=null")
    command = (
        "python -m paddle.distributed.launch tools/train.py -c ppcls_configs/ECA_ResNet50.yaml"
    )
    return command, overrides


def _paths(prepared: PreparedDataset, place: Path) -> list[str]:
    """Overrides for images and lists that are not where the shipped configs look."""
    if all(path.resolve() == place.resolve() for path in (prepared.root, prepared.output)):
        return []
    return [
        f"DataLoader.{loader}.dataset.{key}={_as_value(path)}"
        for loader, label_list in (("Train", prepared.train_list), ("Eval", prepared.val_list))
        for key, path in (("image_root", prepared.root), ("cls_label_path", label_list))
    ]


def _as_value(path: Path) -> str:
    # PaddleClas evaluates values as Python where it can: a directory named 10 would be a number.
    return str(path) if path.is_absolute() else f"./{path}"


def _path(help: str, metavar: str = "DIR", **settings: Any) -> dict[str, Any]:
    return {"type": Path, "metavar": metavar, "help": help, **settings}


def _output(place: Path) -> dict[str, Any]:
    return _path("directory to write to (default: %(default)s)", default=place)


def _count(images: str) -> dict[str, Any]:
    help = f"take N {images} images, as many of each class (default: all)"
    return {"type": int, "metavar": "N", "help": help}


_CIFAR10, _DIGITS = Path("dataset/cifar10"), Path("dataset/digits")
_DATA_SETS = {
    "cifar10": _DataSet(
        "write CIFAR-10, or a balanced subset of it, as images",
        {
            "--archive": _path(
                "cifar-10-python.tar.gz, or a subset in the same form (default: download it)",
                "FILE",
            ),
            "--output": _output(_CIFAR10),
            "--train-images": _count("training"),
            "--val-images": _count("test"),
        },
        _train_shipped,
        _CIFAR10,
    ),
    "digits": _DataSet(
        "write scikit-learn's 1,797 handwritten digits as images; needs no download",
        {"--output": _output(_DIGITS)},
        _train_shipped,
        _DIGITS,
    ),
    "folder": _DataSet(
        "write the label lists of a directory of your own images, and a config to fine-tune on "
        "them",
        {
            "root": _path(
                "directory with a sub-directory of images per class, or with these in train/ and "
                "in val/",
                "ROOT",
            ),
            "--model": {
                "default": "ECA_ResNet50",
                "metavar": "NAME",
                "help": "network of the config (default: %(default)s)",
            },
            "--val": {
                "type": float,
                "default": 0.2,
                "metavar": "SHARE",
                "dest": "val_share",
                "help": "share of each class for validation if ROOT has no val/ (default: "
                "%(default)s)",
            },
            "--seed": {
                "type": int,
                "default": 0,
                "help": "random seed of that split (default: %(default)s)",
            },
            "--output": _path("directory for the lists and the config (default: ROOT)"),
        },
        _fine_tune,
    ),
    "imagenet": _DataSet(
        "write the label lists of ILSVRC2012, or of a subset of its classes",
        {
            "root": _path("ImageNet directory, with train/ and val/", "ROOT"),
            "--output": _path("directory for the lists (default: ROOT)"),
            "--devkit": _path(
                "unpacked ILSVRC2012_devkit_t12, for validation images that are not in class "
                "directories (default: the one in ROOT)"
            ),
        },
        _train_imagenet,
        Path("dataset/ILSVRC2012"),
    ),
}

COMMAND = Command(
    "prepare",
    "write a data set, or the label lists of one, in PaddleClas's format",
    add_arguments,
    run,
)
