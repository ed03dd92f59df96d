"""``paddleclas-eca attention``: figures of the attention of a trained network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, check_positive_int
from ..hosts.paddleclas.engine.run import run_folder
from ..hosts.paddleclas.session import warn
from .command import Command
from .engine import add_config_arguments, open_config

if TYPE_CHECKING:
    from ..visualize.attention_maps import GradCAM
    from ..visualize.attention_report import AttentionReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of this command."""
    add_config_arguments(parser)
    parser.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, and directories of them; a subdirectory is a class",
    )
    parser.add_argument(
        "--list",
        metavar="FILE",
        help="PaddleClas label list; its paths are relative to the directory of --images",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="directory to write to (default: attention/ of the run)"
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="names of attention layers, such as 'blocks[*].attention'; '**' for all "
        "(default: the last of each stage)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="classes whose weights are drawn (default: all, of more than 20 those with the most "
        "images)",
    )
    parser.add_argument(
        "--class",
        dest="class_id",
        metavar="CLASS",
        help="number or name of the class that heat maps are for (default: the predicted one)",
    )
    parser.add_argument(
        "--heat-maps",
        type=int,
        default=3,
        metavar="N",
        help="heat maps for the first N images of each class, and for all whose class is not "
        "known (default: %(default)s)",
    )
    parser.add_argument(
        "--target-layer",
        "--heat-layer",
        metavar="NAME",
        help="layer whose feature map heat maps are made from (default: the last one)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="images at a time (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the figures and the table.

    Returns:
        0, or 1 where images could not be read.

    Raises:
        UserError: an option or the config is invalid.
    """
    check_positive_int("--batch-size", args.batch_size)
    if args.heat_maps < 0:
        raise UserError(f"--heat-maps {args.heat_maps}: give an integer >= 0")
    if args.list and len(args.images) > 1:
        raise UserError("--list needs one directory in --images, which its paths are relative to")
    ppcls, config = open_config(args)
    from ..data.image_files import find_images, listed_images
    from ..hosts.paddleclas.evaluation import config_preprocess, load_network
    from ..hosts.paddleclas.inference_config import class_names
    from ..visualize.attention_maps import GradCAM, attention_layers, select_layers
    from ..visualize.attention_report import check_classes, write_attention_report

    images = listed_images(args.list, args.images[0]) if args.list else find_images(args.images)
    network = load_network(ppcls, config)
    names = class_names(config)
    check_classes(args.classes, images, names)
    layers = select_layers(attention_layers(network), args.layers)
    cam = GradCAM(network, layers, args.target_layer)
    folder = Path(args.output) if args.output else run_folder(ppcls, config) / "attention"
    report = write_attention_report(
        images,
        config_preprocess(ppcls, config),
        cam,
        folder,
        names=names,
        class_id=_class_id(args.class_id, names),
        classes=args.classes,
        heat_maps=args.heat_maps,
        batch_size=args.batch_size,
        warn=warn,
    )
    _print(report, folder, cam)
    if report.corrupt:
        total = f"{len(report.corrupt)} of {len(images)} images could not be read"
        print(f"error: {total}, and were left out", file=sys.stderr)
    return 1 if report.corrupt else 0


def _class_id(given: str | None, names: dict[int, str]) -> int | None:
    if given is None:
        return None
    number = next((number for number, name in names.items() if name == given), None)
    if number is None and not (given.isascii() and given.isdigit()):
        raise UserError(
            f"--class {given}: it is neither a number nor a name of "
            f"Infer.PostProcess.class_id_map_file"
        )
    return int(given) if number is None else number


def _print(report: AttentionReport, folder: Path, cam: GradCAM) -> None:
    from ..visualize.attention_maps import COARSE

    print(f"{folder / 'channel_weights'}.csv, .png, .svg: {', '.join(report.layers)}")
    if report.drawn < report.classes:
        print(f"  the figure has {report.drawn} of {report.classes} classes, the .csv has all")
    if report.heat_maps:
        size = "x".join(map(str, report.heat_size))
        print(f"{folder / 'heat_maps'}.png, .svg: {report.examples} of the heat maps")
        print(f"{folder / 'heat_maps'}/: {report.heat_maps} of {cam.target_layer}, {size}")
        if min(report.heat_size) < COARSE:
            finer = f"`--target-layer {cam.finer_layer}` has more; " if cam.finer_layer else ""
            print(
                f"  {size} positions are too few to show where an object is: {finer}larger images "
                f"or smaller strides (Arch.stride_list) give the last layer more"
            )


COMMAND = Command(
    "attention",
    "draw the channel weights of a trained network per class, and heat maps (Grad-CAM)",
    add_arguments,
    run,
)
