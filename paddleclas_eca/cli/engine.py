"""``train``, ``eval``, ``infer`` and ``export_model``: PaddleClas's own tools, with ECA known.

They take the options of PaddleClas's ``tools/*.py`` and run its Engine.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .. import register
from ..configs import Config, global_section, read_config
from ..runtime import tune
from ..training.launcher import open_launcher
from .command import Command

if TYPE_CHECKING:
    from ..hosts.paddleclas import PaddleClas


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
        help="resume from the newest complete checkpoint of this run; start where there is none",
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``export_model``."""
    add_arguments(parser)
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="write inference.onnx too, and check on an image that its output is the same",
    )


def open_config(args: argparse.Namespace, remark: bool = True) -> tuple[PaddleClas, Config]:
    """Read the config of ``-c`` and ``-o`` once, and load a PaddleClas with a trainer for it.

    The process is tuned to the config before Paddle is imported.

    Args:
        args: options of :func:`add_config_arguments`.
        remark: log a warning for each override that sets a new key.

    Returns:
        PaddleClas, and the config as PaddleClas's Engine takes it.

    Raises:
        UserError: the config cannot be read, or there is no PaddleClas with a trainer.
    """
    config, remarks = read_config(args.config, args.override)
    tune(global_section(config))
    ppcls = register()
    ppcls.check_trainer()
    from ..hosts.paddleclas.config_check import attr_dict

    for text in remarks if remark else ():
        ppcls.module("utils.logger").warning(text)
    return ppcls, attr_dict(ppcls, config)


def run(args: argparse.Namespace, mode: str) -> int:
    """Run PaddleClas's Engine in ``mode`` on the config.

    Raises:
        UserError: the config cannot be read, is wrong, or there is no PaddleClas that can run it.
    """
    open_launcher()
    ppcls, config = open_config(args)
    from ..deploy.onnx import check_converter
    from ..hosts.paddleclas.engine.export import EXPORT_ONNX
    from ..hosts.paddleclas.engine.run import run_engine

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
