"""``paddleclas-eca benchmark``: speed and memory of networks, measured side by side."""

from __future__ import annotations

import argparse
import itertools
import shlex
from pathlib import Path

from ..errors import UserError
from .command import Command

_SUBJECTS = (
    "ECA_ResNet50:none",
    "ECA_ResNet50",
    "ECA_ResNet50:SE",
    "ECA_ResNet50:reproduction",
)
_MODES = ("train", "eval", "paddle_inference")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_count.__name__ = "number"  # argparse says it in its message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of this command."""
    from ..benchmark.subjects import MODES

    parser.add_argument(
        "networks",
        nargs="*",
        default=list(_SUBJECTS),
        metavar="NETWORK",
        help="a model of `paddleclas-eca summary`, or a network of PaddleClas; NETWORK:none, :SE, "
        "... for another attention in one of ours, :reproduction for ECA as it is mostly written. "
        "The others are compared with the first (default: %(default)s)",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=list(MODES),
        default=list(_MODES),
        metavar="MODE",
        help=f"what is measured: {', '.join(MODES)} (default: {' '.join(_MODES)})",
    )
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=_count,
        default=[1, 8],
        metavar="N",
        help="images per step (default: 1 8)",
    )
    parser.add_argument("--rounds", type=_count, default=11, help="turns of each (default: 11)")
    parser.add_argument("--image-size", type=_count, default=224, help="pixels (default: 224)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=_count, help="on a CPU (default: all cores)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "bf16"),
        default="fp32",
        help="fp16 and bf16 are mixed precision, level O1, on a GPU (default: fp32)",
    )
    parser.add_argument("--layout", choices=("NCHW", "NHWC"), default="NCHW")
    parser.add_argument(
        "--worker",
        action="append",
        default=[],
        metavar="LABEL=COMMAND",
        help="measure what a command serves, too, such as PyTorch in an environment of its own: "
        "'PyTorch=/path/to/python benchmarks/torch_worker.py ECA_ResNet50'; can be repeated",
    )
    parser.add_argument(
        "--output",
        default="benchmark",
        metavar="FOLDER",
        help="folder for benchmark.md, .json, .png and .svg (default: benchmark)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, and write the report after each case, so that one that is stopped is not lost.

    Returns:
        0.

    Raises:
        UserError: an option is wrong, the report cannot be written, or the first network cannot
            be measured; the other cases are written before that.
    """
    from joblib import cpu_count

    from ..benchmark import report
    from ..benchmark.measure import measure
    from ..benchmark.subjects import Subject, parse_subject, require_possible
    from ..benchmark.workers import Case

    subjects = [parse_subject(name) for name in args.networks]
    subjects += [Subject(*_label_and_command(worker)) for worker in args.worker]
    cases = [
        Case(mode, batch_size, args.image_size, args.device, args.precision, args.layout)
        for mode, batch_size in itertools.product(args.modes, args.batch_sizes)
    ]
    for case in cases:
        require_possible(case)
    folder = Path(args.output)
    report.open_folder(folder)
    about, threads = report.machine(), args.threads or cpu_count()
    comparisons, failed = [], []
    for case in cases:
        name = f"{case.mode}, batch {case.batch_size}"
        print(name, flush=True)
        try:
            comparisons.append(measure(subjects, case, args.rounds, threads, print))
        except UserError as error:
            print(f"  cannot be measured: {error}", flush=True)
            failed.append(f"{name}: {error}")
            continue
        written = report.write(comparisons, about, folder)
    if comparisons:
        print(report.as_markdown(comparisons, about), end="")
        for path in written:
            print(f"written: {path}")
    if failed:
        raise UserError("; ".join(failed))
    return 0


def _label_and_command(worker: str) -> tuple[str, tuple[str, ...]]:
    label, _, command = worker.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"--worker {worker!r}: {error}") from error
    if not (label.strip() and words):
        raise UserError(f"--worker {worker!r}: give LABEL=COMMAND")
    return label.strip(), words


COMMAND = Command(
    "benchmark", "measure the speed and memory of networks side by side", add_arguments, run
)
