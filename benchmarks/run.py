"""Measure the speed and memory of networks side by side (see README.md beside this file)."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from pathlib import Path

from interleaved import positive_int, report
from interleaved.candidates import MODES, Candidate, check_case, parse_candidate
from interleaved.measure import measure
from interleaved.worker import Case

from paddleclas_eca.errors import UserError

_CANDIDATES = (
    "ECA_ResNet50:none",
    "ECA_ResNet50",
    "ECA_ResNet50:SE",
    "ECA_ResNet50:reproduction",
)
_MODES = ("train", "eval", "paddle_inference")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "candidates",
        nargs="*",
        default=list(_CANDIDATES),
        metavar="NETWORK",
        help="a model of `paddleclas-eca summary`, or a network of PaddleClas; for one of ours, "
        "NETWORK:none, :SE, ... for another attention, :reproduction for ECA as it is mostly "
        "written. All are compared with the first (default: %(default)s)",
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
        type=positive_int,
        default=[1, 8],
        metavar="N",
        help="images per step (default: 1 8)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_int,
        default=11,
        help="measurements of each candidate (default: 11)",
    )
    parser.add_argument(
        "--image-size", type=positive_int, default=224, help="pixels (default: 224)"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=positive_int, help="on a CPU (default: all cores)")
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
        help="also measure what a command serves, such as PyTorch in an environment of its own: "
        "'PyTorch=/path/to/python benchmarks/torch_worker.py ECA_ResNet50'; can be repeated",
    )
    parser.add_argument(
        "--output",
        default="benchmark",
        metavar="DIRECTORY",
        help="directory for benchmark.md, .json, .png and .svg (default: benchmark)",
    )
    return parser


def main(words: list[str] | None = None) -> None:
    """Measure, and write the report after each case, so that an interrupted run is not lost.

    Raises:
        UserError: an option is wrong, the report cannot be written, or the first candidate cannot
            be measured; the report then has the other cases.
    """
    args = make_parser().parse_args(words)
    candidates = [parse_candidate(text) for text in args.candidates]
    candidates += [_parse_worker(text) for text in args.worker]
    cases = [
        Case(mode, batch_size, args.image_size, args.device, args.precision, args.layout)
        for mode, batch_size in itertools.product(args.modes, args.batch_sizes)
    ]
    for case in cases:
        check_case(case)
    directory = Path(args.output)
    report.make_directory(directory)
    machine = report.machine()
    comparisons, failed, written = [], [], []
    for case in cases:
        name = f"{case.mode}, batch {case.batch_size}"
        print(name, flush=True)
        try:
            threads = args.threads or int(machine["cores"])
            comparisons.append(measure(candidates, case, args.rounds, threads, print))
        except UserError as error:
            print(f"  cannot be measured: {error}", flush=True)
            failed.append(f"{name}: {error}")
            continue
        written = report.write(comparisons, machine, directory)
    if comparisons:
        print(report.as_markdown(comparisons, machine), end="")
    for path in written:
        print(f"written: {path}")
    if failed:
        raise UserError("; ".join(failed))


def _parse_worker(text: str) -> Candidate:
    label, _, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"--worker {text!r}: {error}") from error
    if not (label.strip() and words):
        raise UserError(f"--worker {text!r}: give LABEL=COMMAND")
    return Candidate(label.strip(), words)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
