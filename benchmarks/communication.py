"""Measure the share of the exchange of gradients in a training step of several processes.

    python -m paddle.distributed.launch --nproc_per_node 2 benchmarks/communication.py

Steps with the exchange and without it (``DataParallel.no_sync``) are interleaved in one run. Rank
0 prints images per second of all processes, and the median and quartiles of the share of the
exchange, compared within each round. Without the launcher it measures one process alone:
``--step-seconds`` of ``scaling.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from interleaved import positive_int
from interleaved.measure import Spread, spread
from interleaved.worker import Case
from paddle_worker import seconds_on, training_step

from paddleclas_eca.errors import UserError
from paddleclas_eca.models import MODELS, check_model
from paddleclas_eca.runtime import check_device, check_paddle, threads, tune_cpu


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", default="ECA_ResNet50")
    add("--batch-size", type=positive_int, default=8, help="of each process (default: 8)")
    add("--image-size", type=positive_int, default=224, help="pixels (default: 224)")
    add("--rounds", type=positive_int, default=9)
    add("--device", choices=("cpu", "gpu"), default="cpu")
    return parser


def measure(args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds per step with and without the exchange of gradients, one of each per round."""
    import paddle

    paddle.seed(0)
    network = MODELS[args.model]()
    parallel = paddle.distributed.get_world_size() > 1
    if parallel:
        paddle.distributed.init_parallel_env()
        network = paddle.DataParallel(network)
    step = training_step(network, Case("train", args.batch_size, args.image_size, args.device))
    timed = seconds_on(args.device)

    def run_step(exchange: bool) -> float:
        if parallel:
            paddle.distributed.barrier()
        without = parallel and not exchange
        with network.no_sync() if without else contextlib.nullcontext():
            return timed(step, 1)

    for exchange in (True, False):  # warm up
        run_step(exchange)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(args.rounds):
        for exchange in (True, False) if number % 2 == 0 else (False, True):
            seconds[exchange].append(run_step(exchange))
    return seconds[True], seconds[False]


def _format(values: Spread, form: str) -> str:
    lower, median, upper = (format(value, form) for value in values)
    return f"{median} (quartiles {lower} to {upper})"


def main() -> None:
    """Measure, and print the figures on rank 0."""
    args = make_parser().parse_args()
    check_model(args.model)
    if args.device == "cpu":
        tune_cpu(keep_memory=True)
    check_paddle()
    check_device(args.device, "--device", "--device cpu")
    import paddle

    exchanged, alone = measure(args)
    processes = paddle.distributed.get_world_size()
    if paddle.distributed.get_rank() == 0:
        images = [processes * args.batch_size / seconds for seconds in exchanged]
        print(f"{args.model}, {processes} x batch {args.batch_size}, {threads()} threads each")
        print(f"seconds per step: {_format(spread(exchanged), '.3f')}")
        print(f"images/s of all processes: {_format(spread(images), '.2f')}")
        if processes > 1:
            share = spread([1 - less / more for less, more in zip(alone, exchanged)])
            print(f"share of the exchange of gradients: {_format(share, '.1%')}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
