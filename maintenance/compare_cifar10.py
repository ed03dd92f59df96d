"""Train the networks of ppcls_configs/cifar10 with several seeds, and compare their accuracy.

    paddleclas-eca prepare cifar10
    python maintenance/compare_cifar10.py --seeds 1 2 3

Options ``-o KEY=VALUE`` go to every run. All networks run with one seed before the next seed
begins. The logs stay in ``--output``, and a complete run is not repeated, so that an interrupted
comparison resumes. The Markdown table at the end has the accuracies after the last epoch: the best
of all epochs would be chosen on the images that it is measured on. Checkpoints are not kept.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CONFIGS = ("ResNet18", "SE_ResNet18", "ECA_ResNet18")
TRAIN = Path(__file__).resolve().parents[1] / "tools" / "train.py"


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", type=Path, default=Path("output/compare_cifar10"))
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)

    def accuracies(run: tuple[int, str]) -> list[float]:
        seed, config = run
        log = args.output / f"{config}-seed{seed}.log"
        options = [*args.options, f"Global.seed={seed}", f"Global.epochs={args.epochs}"]
        if not _is_complete(log, options, args.epochs):
            began = time.monotonic()
            _train(config, options, log)
            print(f"{config}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
        return _accuracies(log)

    runs = [(seed, config) for seed in args.seeds for config in CONFIGS]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = dict(zip(runs, pool.map(accuracies, runs)))
    print(_table(args.seeds, results))
    return 0


def _train(config: str, options: list[str], log: Path) -> None:
    with tempfile.TemporaryDirectory() as checkpoints, open(log, "w", encoding="utf-8") as file:
        # The first line identifies the options of the run.
        file.write(f"{' '.join(options)}\n")
        file.flush()
        words = [sys.executable, str(TRAIN), "-c", f"cifar10/{config}"]
        for option in [*options, f"Global.output_dir={checkpoints}"]:
            words += ["-o", option]
        run = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT)
    if run.returncode:
        sys.exit(f"{config} ended with exit code {run.returncode}; see {log}")


def _is_complete(log: Path, options: list[str], epochs: int) -> bool:
    if not log.is_file():
        return False
    first = log.read_text(encoding="utf-8").partition("\n")[0]
    if first != " ".join(options):
        sys.exit(f"{log} is of a run with other options ({first}); choose another --output")
    return len(_accuracies(log)) == epochs


def _accuracies(log: Path) -> list[float]:
    """Top-1 on the validation images after each epoch, in percent."""
    found = re.findall(r"\[Eval\]\[Epoch \d+\]\[Avg\].*top1: ([0-9.]+)", log.read_text("utf-8"))
    return [100 * float(value) for value in found]


def _table(seeds: list[int], results: dict[tuple[int, str], list[float]]) -> str:
    lines = [
        f"| network | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | lowest to highest |",
        "|---" * (len(seeds) + 3) + "|",
    ]
    for config in CONFIGS:
        last = [results[seed, config][-1] for seed in seeds]
        figures = " | ".join(f"{value:.2f}" for value in [*last, statistics.mean(last)])
        lines.append(f"| `{config}` | {figures} | {min(last):.2f} to {max(last):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
