"""``train``, ``eval``, ``infer`` and ``export_model``: PaddleClas's own tools, with ECA known.

They take the options of PaddleClas's ``tools/*.py`` and run its Engine.
"""

from __future__ import annotations

import argparse
from functools import partial

from .. import register
from ..configs import apply_overrides, find_config, global_section
from ..hosts.paddleclas.session import warn
from ..runtime import tune
from .command import Command


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``-c`` and ``-o``, which name a config and change it."""
    parser.add_argument(
        "-c",
        "--config",
        required=True,
        metavar="CONFIG",
        help="config file, or the name of a shipped one, such as ECA_ResNet50",
    )
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a value of the config, such as Global.device=cpu; can be repeated",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PaddleClas's options."""
    add_config_arguments(parser)
    parser.add_argument(
        "-p",
        "--profiler_options",
        metavar="KEY=VALUE;...",
        help="options of PaddleClas's profiler, for train",
    )


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train``."""
    add_arguments(parser)
    parser.add_argument(
        "--resume",
        dest="override",
        action="append_const",
        const="Global.checkpoints=auto",
        help="go on from the newest complete checkpoint of this run, or begin if there is none",
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``export_model``."""
    add_arguments(parser)
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="write inference.onnx, too, and check on an image that it gives the same",
    )


def run(args: argparse.Namespace, mode: str) -> int:
    """Run PaddleClas's Engine in ``mode`` on the config.

    Raises:
        UserError: the config cannot be read, asks for what cannot be done, or there is no
            PaddleClas that can run it.
    """
    path = find_config(args.config)
    tune(global_section(path, args.override))
    ppcls = register()
    ppcls.check_trainer()
    from ..deploy.onnx import check_converter
    from ..hosts.paddleclas.engine.export import EXPORT_ONNX
    from ..hosts.paddleclas.engine.run import run_engine

    config = ppcls.module("utils.config").parse_config(str(path))
    for remark in apply_overrides(config, args.override):
        warn(remark)
    config["profiler_options"] = args.profiler_options
    if mode == "export" and args.onnx:
        check_converter()
        config["Global"][EXPORT_ONNX] = True
    run_engine(ppcls, config, mode)
    return 0


# Name of the command, mode of the Engine, help, options.
_COMMANDS = (
    ("train", "train", "train a model", add_train_arguments),
    ("eval", "eval", "evaluate a trained model on the validation set", add_arguments),
    ("infer", "infer", "predict the classes of images", add_arguments),
    ("export_model", "export", "export a trained model for Paddle Inference", add_export_arguments),
)
COMMANDS = [
    Command(name, help, options, partial(run, mode=mode)) for name, mode, help, options in _COMMANDS
]
