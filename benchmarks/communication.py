"""How much of a training step is the exchange of gradients, for the processes of a launcher.

    python -m paddle.distributed.launch --nproc_per_node 2 benchmarks/communication.py

Steps with the exchange and without it (``DataParallel.no_sync``) take turns in one run. Rank 0
prints images per second of all processes, and the median and quartiles of the share of the
exchange, compared within each round. Without the launcher it measures one process alone, which
is what `scaling.py` takes as ``--step-seconds``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paddleclas_eca.benchmark.measure import Spread, spread
from paddleclas_eca.benchmark.paddle_worker import seconds_on, training_step
from paddleclas_eca.benchmark.workers import Case
from paddleclas_eca.cli import report_errors
from paddleclas_eca.errors import check_positive_int
from paddleclas_eca.runtime import check_device, check_paddle, threads, tune_cpu


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ECA_ResNet50")
    parser.add_argument("--batch-size", type=int, default=8, help="of each process (default: 8)")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (default: 224)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds per step with and without the exchange of gradients, one of each per round."""
    import paddle

    from paddleclas_eca import create_model

    paddle.seed(0)
    network = create_model(args.model)
    parallel = paddle.distributed.get_world_size() > 1
    if parallel:
        paddle.distributed.init_parallel_env()
        network = paddle.DataParallel(network)
    step = training_step(network, Case("train", args.batch_size, args.image_size, args.device))
    timed = seconds_on(args.device)

    def run_step(exchange: bool) -> float:
        if parallel:
            paddle.distributed.barrier()
        alone = parallel and not exchange
        with network.no_sync() if alone else contextlib.nullcontext():
            return timed(step, 1)

    for exchange in (True, False):  # warm up
        run_step(exchange)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(args.rounds):
        for exchange in (True, False) if number % 2 == 0 else (False, True):
            seconds[exchange].append(run_step(exchange))
    return seconds[True], seconds[False]


def _told(values: Spread, form: str) -> str:
    lower, median, upper = (format(value, form) for value in values)
    return f"{median} (quartiles {lower} to {upper})"


def run(args: argparse.Namespace) -> int:
    """Measure, and tell on rank 0."""
    for option in ("batch_size", "image_size", "rounds"):
        check_positive_int(f"--{option.replace('_', '-')}", getattr(args, option))
    if args.device == "cpu":
        tune_cpu(keep_memory=True)
    check_paddle()
    check_device(args.device, "--device", "--device cpu")
    import paddle

    whole, alone = measure(args)
    processes: Any = paddle.distributed.get_world_size()
    if paddle.distributed.get_rank() == 0:
        images = [processes * args.batch_size / seconds for seconds in whole]
        print(f"{args.model}, {processes} x batch {args.batch_size}, {threads()} threads each")
        print(f"seconds per step: {_told(spread(whole), '.3f')}")
        print(f"images/s of all processes: {_told(spread(images), '.2f')}")
        if processes > 1:
            share = spread([1 - less / more for less, more in zip(alone, whole)])
            print(f"share of the exchange of gradients: {_told(share, '.1%')}")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(lambda: run(parse())))
