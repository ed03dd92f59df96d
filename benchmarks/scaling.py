r"""Predict the throughput of 2, 8, 64 or 512 GPUs from the measured time of a step on one.

    python benchmarks/scaling.py --step-seconds 0.35 --batch-size 256 \
        --intra-gbps 1600 --inter-gbps 100

The training is synchronous and data-parallel: each process takes a batch of its own, and then
all of them average their gradients with ring all-reduces. The formulas are printed with their
inputs and the table.

What is assumed:

- One ring connects all processes, and its slowest link sets its pace. Up to --per-machine
  processes that is the link within a machine. Beyond that the ring enters and leaves each machine
  once, so that the machine's network link carries the ring's traffic once, however many processes
  share it.
- Each bucket of gradients is an all-reduce of its own, and pays the latency of every ring step.
- Gradients are ready evenly over the backward pass, so that all-reduces overlap with it; only the
  last bucket, which holds the first layers' gradients, does not.
- Nothing else slows a step: no process waits for a slower one or for its data, all-reduces take
  no time of the GPU from the backward pass, and no other traffic is on the links. Real runs have
  some of each, and are slower.
- Each step of the ring has the same latency. NCCL may use trees for hundreds of processes, whose
  latency grows only with the logarithm of their number.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

PROCESSES = [1, 2, 8, 64, 512]
MEBIBYTE = 2**20
# last_comm_buffer_size of Paddle's DataParallel, which PaddleClas leaves at its default.
LAST_BUCKET_BYTES = 1 * MEBIBYTE
# Python's integers have no bound, and floats have one.
LARGEST = 10**12

FORMULAS = """\
t_comm     = 2 (n-1)/n S/B + k 2 (n-1) a
t_last     = 2 (n-1)/n s/B +   2 (n-1) a
exposed    = max(t_comm - overlap * backward * t_step, t_last)
throughput = n * batch / (t_step + exposed)
efficiency = throughput / (n * batch / t_step)"""
SOURCE = (
    'Ring all-reduce: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters\n'
    'of workstations", JPDC 2009.'
)


@dataclass(frozen=True)
class Setup:
    """A training run and its machines.

    Attributes:
        step_seconds: measured time of a step of one process alone, in seconds.
        batch_size: images per process and step.
        intra_bandwidth: of the link of a process within a machine, in bytes per second.
        inter_bandwidth: of the network link of a machine, in bytes per second.
        parameters: number of trained values; those of ECA_ResNet50 by default.
        gradient_bytes: bytes of the gradient of one value.
        per_machine: processes of a machine.
        latency: of one step of a ring, in seconds.
        backward_share: of the backward pass in the time of a step, from 0 to 1.
        overlap: share of the backward pass that all-reduces overlap with, from 0 to 1.
        bucket_bytes: size of each bucket of gradients except the last, in bytes.
    """

    step_seconds: float
    batch_size: int
    intra_bandwidth: float
    inter_bandwidth: float
    parameters: int = 25_557_112
    gradient_bytes: int = 4
    per_machine: int = 8
    latency: float = 10e-6
    backward_share: float = 0.67
    overlap: float = 1.0
    bucket_bytes: float = 25 * MEBIBYTE

    @property
    def gradients(self) -> int:
        """All gradients, in bytes."""
        return self.parameters * self.gradient_bytes

    @property
    def last_bucket(self) -> int:
        """Size of the bucket that is reduced last, in bytes."""
        return min(LAST_BUCKET_BYTES, self.gradients)

    @property
    def buckets(self) -> int:
        """Number of all-reduces in a step."""
        return 1 + math.ceil((self.gradients - self.last_bucket) / self.bucket_bytes)

    def bandwidth(self, processes: int) -> float:
        """Bandwidth of the slowest link in the ring, in bytes per second."""
        if processes <= self.per_machine:
            return self.intra_bandwidth
        # The ring still runs through the machines, too.
        return min(self.intra_bandwidth, self.inter_bandwidth)


@dataclass(frozen=True)
class Prediction:
    """The prediction for a number of processes.

    Attributes:
        processes: their number.
        bandwidth: of the slowest link, in bytes per second; None for one process.
        communication: time of a step's all-reduces, in seconds.
        exposed: what they add to the time of the step, in seconds.
        throughput: of all processes, in images per second.
        efficiency: throughput as a share of that of as many processes without communication.
    """

    processes: int
    bandwidth: float | None
    communication: float
    exposed: float
    throughput: float
    efficiency: float


def ring_seconds(
    size: float, processes: int, bandwidth: float, latency: float, calls: int = 1
) -> float:
    """Time of ring all-reduces one after the other, in seconds.

    Args:
        size: bytes of all of them.
        processes: length of the ring.
        bandwidth: of its slowest link, in bytes per second.
        latency: of one step of the ring, in seconds.
        calls: number of all-reduces.
    """
    steps = 2 * (processes - 1)
    return steps / processes * size / bandwidth + calls * steps * latency


def predict(setup: Setup, processes: Iterable[int] = PROCESSES) -> list[Prediction]:
    """Predict throughput and efficiency for each number of processes."""
    hidden = setup.overlap * setup.backward_share * setup.step_seconds
    rows = []
    for n in processes:
        link = (n, setup.bandwidth(n), setup.latency)
        communication = ring_seconds(setup.gradients, *link, setup.buckets)
        exposed = max(communication - hidden, ring_seconds(setup.last_bucket, *link))
        step = setup.step_seconds + exposed
        rows.append(
            Prediction(
                processes=n,
                bandwidth=setup.bandwidth(n) if n > 1 else None,
                communication=communication,
                exposed=exposed,
                throughput=n * setup.batch_size / step,
                efficiency=setup.step_seconds / step,
            )
        )
    return rows


def describe(setup: Setup) -> str:
    """The formulas and their inputs."""
    inputs = [
        ("t_step", f"{setup.step_seconds:g} s, a step of one process alone"),
        ("batch", f"{setup.batch_size} images per process"),
        (
            "S",
            f"{setup.gradients / 1e6:g} MB of gradients: "
            f"{setup.parameters} parameters of {setup.gradient_bytes} bytes",
        ),
        ("k", f"{setup.buckets} buckets of up to {setup.bucket_bytes / MEBIBYTE:g} MiB"),
        ("s", f"{setup.last_bucket / MEBIBYTE:g} MiB, the last bucket"),
        (
            "B",
            f"{setup.bandwidth(1) / 1e9:g} GB/s up to n = {setup.per_machine}, "
            f"then {setup.bandwidth(setup.per_machine + 1) / 1e9:g} GB/s: the ring's slowest link",
        ),
        ("a", f"{setup.latency * 1e6:g} us for a step of the ring"),
        ("backward", f"{setup.backward_share:g} of the step"),
        ("overlap", f"{setup.overlap:g} of the backward pass"),
    ]
    return "\n".join([FORMULAS, "", *(f"{name:10} = {value}" for name, value in inputs)])


def table(rows: Iterable[Prediction]) -> str:
    """The predictions, as Markdown."""
    lines = [
        "| GPUs | slowest link, GB/s | all-reduce, ms | not overlapped, ms | images/s "
        "| efficiency |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        link = "-" if row.bandwidth is None else f"{row.bandwidth / 1e9:g}"
        lines.append(
            f"| {row.processes} | {link} | {row.communication * 1e3:.2f} "
            f"| {row.exposed * 1e3:.2f} | {row.throughput:,.0f} | {row.efficiency:.2%} |"
        )
    return "\n".join(lines)


def _reader(
    read: Callable[[str], float], lowest: float, highest: float, wanted: str
) -> Callable[[str], float]:
    """A type for argparse: a number within bounds."""

    def reader(text: str) -> float:
        try:
            number = read(text)
        except ValueError:
            number = math.nan
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return number

    return reader


positive_int = _reader(int, 1, LARGEST, f"an integer from 1 to {LARGEST}")
positive = _reader(float, 1 / LARGEST, LARGEST, f"a number above 0 (up to {LARGEST})")
positive_or_zero = _reader(float, 0, LARGEST, f"a number from 0 to {LARGEST}")
share = _reader(float, 0, 1, "a number from 0 to 1")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--step-seconds",
        type=positive,
        required=True,
        help="measured time of a step of one process alone",
    )
    add("--batch-size", type=positive_int, required=True, help="images per process and step")
    add(
        "--intra-gbps",
        type=positive,
        required=True,
        help="bandwidth of a process's link within a machine, one way, in gigabits per second",
    )
    add(
        "--inter-gbps",
        type=positive,
        required=True,
        help="bandwidth of a machine's network link, all adapters together, one way, in gigabits "
        "per second",
    )
    add(
        "--per-machine",
        type=positive_int,
        default=Setup.per_machine,
        help="processes of a machine (8)",
    )
    add(
        "--latency-us",
        type=positive_or_zero,
        default=Setup.latency * 1e6,
        help="microseconds of a step of the ring (10, an assumption: measure it)",
    )
    add(
        "--parameters",
        type=positive_int,
        default=Setup.parameters,
        help=f"values that are trained ({Setup.parameters}, ECA_ResNet50)",
    )
    add(
        "--gradient-bytes",
        type=positive_int,
        default=Setup.gradient_bytes,
        help="bytes of a gradient (4); 2 where they are exchanged in half precision",
    )
    add(
        "--backward-share",
        type=share,
        default=Setup.backward_share,
        help="of the backward pass in a step (0.67)",
    )
    add(
        "--overlap",
        type=share,
        default=Setup.overlap,
        help="share of the backward pass that all-reduces overlap with (1); 0: none",
    )
    add(
        "--bucket-mb",
        type=positive,
        default=Setup.bucket_bytes / MEBIBYTE,
        help="comm_buffer_size of paddle.DataParallel, in MiB (25)",
    )
    add(
        "--processes",
        type=positive_int,
        nargs="+",
        default=PROCESSES,
        metavar="N",
        help=f"numbers of processes, one per GPU ({' '.join(map(str, PROCESSES))})",
    )
    add("--json", type=Path, metavar="FILE", help="also write inputs and predictions to a file")
    return parser


def main(words: list[str] | None = None) -> int:
    """Print the predictions; a bad option ends it with exit code 2."""
    parser = make_parser()
    options = parser.parse_args(words)
    setup = Setup(
        step_seconds=options.step_seconds,
        batch_size=options.batch_size,
        intra_bandwidth=options.intra_gbps * 1e9 / 8,
        inter_bandwidth=options.inter_gbps * 1e9 / 8,
        parameters=options.parameters,
        gradient_bytes=options.gradient_bytes,
        per_machine=options.per_machine,
        latency=options.latency_us / 1e6,
        backward_share=options.backward_share,
        overlap=options.overlap,
        bucket_bytes=options.bucket_mb * MEBIBYTE,
    )
    rows = predict(setup, options.processes)
    print(f"{describe(setup)}\n\n{SOURCE}\n\n{table(rows)}")
    if options.json:
        content = {"inputs": asdict(setup), "predictions": [asdict(row) for row in rows]}
        try:
            options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            parser.error(f"argument --json: cannot write {options.json}: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
