"""``paddleclas-eca convert``: convert weights of other projects for the models, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from .command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SRC",
        help="weights of PyTorch (.pth, .pth.tar), .safetensors, or .pdparams of Paddle",
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="the model, such as ECA_ResNet50"
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="X.pdparams, and X.yaml with the Arch section beside it; or X.pth or X.safetensors "
        "with the names of PyTorch code: the ECA-Net authors', or timm's for its and _vd models",
    )
    parser.add_argument(
        "--class-num",
        type=int,
        metavar="N",
        help="classes of the model (default: those of the weights)",
    )
    parser.add_argument(
        "--padding-mode",
        choices=("zeros", "circular"),
        help="padding of ECA, which the file does not show; circular for timm's ceca",
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="write what fits, even if not everything does"
    )
    parser.add_argument(
        "--check",
        nargs=2,
        type=Path,
        metavar=("IMAGES.npy", "LOGITS.npy"),
        help="images [N, C, H, W] and the logits that the original gives for them, which the "
        "model must give too; otherwise nothing is written",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what fits.

    Raises:
        UserError: the weights cannot be converted; nothing was written.
    """
    from ..runtime import check_paddle

    check_paddle()
    from ..weights.conversion import SHAPES_DO_NOT_SHOW, convert_file

    conversion, files = convert_file(
        args.source,
        args.model,
        args.output,
        class_num=args.class_num,
        padding_mode=args.padding_mode,
        allow_partial=args.allow_partial,
        overwrite=args.overwrite,
        check=args.check,
    )
    k_size = ", ".join(map(str, conversion.options["k_size"]))
    of = "the weights'; the model has others" if conversion.k_size_differs else "the model's own"
    print(f"{args.source}: {conversion.scheme.title}, {conversion.options['class_num']} classes")
    print(f"{args.model}: {conversion}")
    if conversion.reasons:
        print(f"note: {conversion.reasons}")
    print(f"k_size per stage: {k_size} ({of})")
    if conversion.new:
        print("start: ECA at 0, the BatchNorm before it doubled; the function is the source's")
    if conversion.difference is not None:
        print(f"check: the logits differ by at most {conversion.difference:.1e} of their spread")
    elif conversion.scheme.layers:
        print(f"note: {SHAPES_DO_NOT_SHOW}. --check proves it")
    print(f"written: {', '.join(map(str, files))}")
    return 0


COMMAND = Command(
    "convert",
    "convert weights of PyTorch, timm, torchvision or PaddleClas for a model, and back",
    add_arguments,
    run,
)
