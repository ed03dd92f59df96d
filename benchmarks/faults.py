"""Kill training runs and mutate what users may give: count what is lost and what is not handled.

    python benchmarks/faults.py kills
    python benchmarks/faults.py manifests weights exports images texts --jobs 2

Each case of the mutated inputs runs in a forked child with limits of resident memory and of time.
What does not end well keeps its input in --keep and is run again by

    python benchmarks/faults.py weights --seed 0 --only 17

The exit code is 1 if a checkpoint was lost, or a case ended with a traceback, over a limit, or
with an input accepted although a checksum or the format tells that it is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

# Before numpy, Paddle and PyTorch read it: threads would not survive the fork of a case.
os.environ["OMP_NUM_THREADS"] = "1"
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from injection import inputs, kills  # noqa: E402
from injection.campaign import FAILURES, VERDICTS, Campaign, Counts, Result, run  # noqa: E402
from injection.exports import CAMPAIGN as EXPORTS  # noqa: E402
from injection.images import CAMPAIGN as IMAGES  # noqa: E402
from injection.manifests import CAMPAIGN as MANIFESTS  # noqa: E402
from injection.texts import CAMPAIGN as TEXTS  # noqa: E402
from injection.weights import CAMPAIGN as WEIGHTS  # noqa: E402

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign for campaign in (MANIFESTS, WEIGHTS, EXPORTS, IMAGES, TEXTS)
}


def run_cases(name: str, base: Path, keep: Path, seed: int, numbers: list[int]) -> list[Result]:
    """Run cases of a campaign, and print those that do not end well as they come."""
    results = []
    for result in run(CAMPAIGNS[name], base, keep, seed, numbers):
        results.append(result)
        if result.verdict in FAILURES:
            again = f"{name} --seed {seed} --only {result.number}"
            case = f"{result.case.file}: {result.case.what}"
            text = f"{result.verdict}: {case}: {result.why[:300]} [{again}]"
            print(text.encode("unicode_escape").decode(), flush=True)
    return results


def mutate(name: str, keep: Path, seed: int, numbers: list[int], jobs: int) -> Counts:
    """Run a campaign of mutated inputs in so many processes."""
    base = keep / "inputs"
    inputs.make_inputs(base)
    shares = [numbers[job::jobs] for job in range(jobs)]
    work = partial(run_cases, name, base, keep, seed)
    if jobs == 1:
        results = [work(numbers)]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            results = list(pool.map(work, shares))
    return Counts(name, [result for share in results for result in share])


def kill(count: int, seed: int) -> bool:
    """Kill runs of one and of two processes; prints the figures, says whether anything failed."""
    campaigns = []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "digits"
        inputs.write_digits(data)
        for processes, share in ((1, count // 2), (2, count - count // 2)):
            folder = Path(name) / str(processes)
            folder.mkdir()
            done = kills.run_campaign(folder, data, share, seed, compare=True, processes=processes)
            campaigns.append(done)
    print(kills.table(campaigns))
    return any(campaign.failed for campaign in campaigns)


def table(rows: list[list[object]]) -> str:
    """Rows of figures, as Markdown."""
    head = [
        "campaign",
        "cases",
        *VERDICTS,
        "seconds of one case, at most",
        "MiB of one case, at most",
    ]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["kills", *CAMPAIGNS]
    parser.add_argument(
        "campaigns", nargs="+", choices=names, metavar="CAMPAIGN", help=", ".join(names)
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--cases", type=int, metavar="N", help="so many cases, evenly chosen")
    parser.add_argument("--only", type=int, nargs="+", metavar="CASE", help="these cases")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--keep", type=Path, default=Path("faults"), metavar="DIR", help="for inputs and failures"
    )
    return parser


def main() -> int:
    """Run the campaigns; exit code 1 if anything did not end well."""
    args = make_parser().parse_args()
    keep = args.keep.absolute()
    failed, rows = False, []
    for name in args.campaigns:
        began = time.monotonic()
        if name == "kills":
            failed |= kill(args.cases or kills.KILLS, args.seed)
        else:
            whole = CAMPAIGNS[name].cases
            count = args.cases or whole
            numbers = args.only or [number * whole // count for number in range(count)]
            counts = mutate(name, keep, args.seed, numbers, args.jobs)
            rows.append(counts.row())
            failed |= bool(counts.failures)
        print(f"{name}: seed {args.seed}, {time.monotonic() - began:.0f} seconds", flush=True)
    if rows:
        print(table(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
