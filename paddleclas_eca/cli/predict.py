"""``paddleclas-eca predict``: the classes of images, from an exported model."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Callable, TextIO

from ..data.image_files import ENDINGS, find_images
from ..deploy.runtimes import BACKENDS, DEVICES
from ..errors import UserError, check_positive_int
from ..files import write_files
from .command import Command

if TYPE_CHECKING:
    from ..deploy import Prediction

    _Rows = Iterator[tuple[str, Prediction]]

_DIGITS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL_DIR", help="the directory that export_model wrote"
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help=f"image files, directories ({', '.join(ENDINGS)}, in all subdirectories), or patterns "
        f"such as 'photos/*.jpg'",
    )
    parser.add_argument(
        "--topk", type=int, metavar="K", help="classes per image (default: as exported)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="images at once (default: 32)"
    )
    parser.add_argument(
        "--format",
        choices=_WRITERS,
        default="table",
        help="table, json (a line per image), or csv (a line per class of an image)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="paddle",
        help="onnxruntime for models that were exported with --onnx (default: paddle)",
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to a file instead of standard output"
    )
    parser.add_argument(
        "--annotate",
        type=Path,
        metavar="DIR",
        help="also write copies of the images there, with class and score above",
    )


def run(args: argparse.Namespace) -> int:
    """Print the predictions; 0 if all images could be read, else 1.

    Raises:
        UserError: there is no such model or image, or an option is out of range.
    """
    from ..deploy import Predictor
    from ..runtime import tune_cpu
    from ..visualize.annotate import Annotator

    check_positive_int("--batch-size", args.batch_size)
    images = [image.path for image in find_images(args.images)]
    annotator = Annotator(args.annotate, images) if args.annotate else None
    if args.device == "cpu":
        tune_cpu(keep_memory=True)
    with _stdout_closed():
        predictor = Predictor(args.model, backend=args.backend, device=args.device)
    results = predictor.stream(images, batch_size=args.batch_size, topk=args.topk)
    unreadable = 0

    def readable() -> _Rows:
        nonlocal unreadable
        for image, result in results:
            if isinstance(result, UserError):
                print(f"error: {result}", file=sys.stderr)
                unreadable += 1
            else:
                if annotator:
                    annotator.write(image, f"{result.names[0]} {result.scores[0]:.2f}")
                yield image, result

    def write(draft: Path) -> None:
        with open(draft, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            _WRITERS[args.format](file, readable())

    if args.output:
        write_files({args.output: write})
    else:
        try:
            with _standard_output() as file:
                _WRITERS[args.format](file, readable())
        except BrokenPipeError:
            # The reader, such as head, has closed the pipe: print nothing more, not even at exit.
            _silence_stdout(sys.stdout.fileno())
            return 1
    if unreadable:
        print(
            f"error: {unreadable} of {len(images)} images could not be read; they are named above",
            file=sys.stderr,
        )
    return 1 if unreadable else 0


@contextlib.contextmanager
def _stdout_closed() -> Iterator[None]:
    """Discard what C++ code prints: Paddle names functions of some networks when they first run.

    Not in :class:`Predictor`, since this also discards what other threads print.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # where there is no standard output
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            _silence_stdout(1)
        yield


@contextlib.contextmanager
def _standard_output() -> Iterator[TextIO]:
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence_stdout(sys.stdout.fileno())
        raise UserError(f"standard output cannot be written: {error.strerror}") from error


def _silence_stdout(descriptor: int) -> None:
    """Discard what is printed or buffered, so that Python's exit does not fail to write it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _write_json(file: TextIO, rows: _Rows) -> None:
    """A line of JSON per image, with the keys of PaddleClas's own predictions."""
    for image, found in rows:
        entry = {
            "file_name": image,
            "class_ids": found.class_ids,
            "label_names": found.names,
            "scores": [round(score, _DIGITS) for score in found.scores],
        }
        print(json.dumps(entry, ensure_ascii=False), file=file)


def _write_csv(file: TextIO, rows: _Rows) -> None:
    """A line per class of an image, the best first."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["file_name", "rank", "class_id", "label_name", "score"])
    for image, found in rows:
        for rank, (number, name, score) in enumerate(zip(*found), 1):
            table.writerow([image, rank, number, name, round(score, _DIGITS)])


def _write_table(file: TextIO, rows: _Rows) -> None:
    """For reading; printed when all images are done, since the column widths depend on them."""
    from prettytable import PrettyTable

    drawn = PrettyTable(["image", "class", "name", "score"], align="l")
    drawn.align["class"] = drawn.align["score"] = "r"
    for image, found in rows:
        for rank, (number, name, score) in enumerate(zip(*found)):
            drawn.add_row(["" if rank else image, number, name, f"{score:.4f}"])
    print(drawn.get_string(), file=file)


_WRITERS: dict[str, Callable[[TextIO, _Rows], None]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _write_csv,
}
COMMAND = Command(
    "predict", "predict the classes of images with an exported model", add_arguments, run
)
