"""What a campaign of mutated inputs is, and how it runs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from . import sandbox
from .inputs import command
from .mutations import PLACES, mutate_bytes, put, remove

# How a case can end. The first three are right.
HANDLED = "handled"  # refused in the documented way, or reported
HARMLESS = "harmless"  # accepted, and rightly
WRONG = "accepted"  # though a checksum or the format tells
VERDICTS = (HANDLED, HARMLESS, "traceback", "hang", "over memory", WRONG)
FAILURES = VERDICTS[2:]
_COMMAND_EVERY, _COMMAND_TIMEOUT = 50, 300


class Mutated(NamedTuple):
    """A case: a file of the input, and what was done to it."""

    file: str
    what: str


class Case(NamedTuple):
    """A case that is tried: directories of the mutated and the valid input, and what differs."""

    folder: Path
    valid: Path
    file: str
    what: str
    dice: random.Random

    @property
    def path(self) -> Path:
        """The mutated file."""
        return self.folder / self.file


# Changes the input in a directory; where it returns None, there was nothing to change.
Mutate = Callable[[Path, random.Random], "Mutated | None"]


@dataclass(frozen=True)
class Campaign:
    """Mutated inputs of one kind, and the calls that must withstand them.

    Attributes:
        name: what users type.
        cases: how many cases a whole campaign has.
        limits: what one case may use.
        prepare: makes the valid input in a directory from that of :mod:`inputs`.
        special: cases of their own, tried first.
        mutate: makes any number of others.
        attempt: reads the input in a directory; returns the verdict and why, and lets every
            exception through that users would see as a traceback.
        warm: imports what the attempts need, once.
        command: words of the command that every 50th case is also given to, in a process of its
            own, with the mutated file in place of ``{}``.
    """

    name: str
    cases: int
    limits: sandbox.Limits
    prepare: Callable[[Path, Path], None]
    special: dict[str, Mutate]
    mutate: Mutate
    attempt: Callable[[Case], tuple[str, str]]
    warm: Callable[[], None]
    command: tuple[str, ...] = ()


@dataclass
class Result:
    """A finished case."""

    number: int
    case: Mutated
    verdict: str
    why: str
    seconds: float
    memory: int


@dataclass
class Counts:
    """All cases of a campaign."""

    campaign: str
    results: list[Result] = field(default_factory=list)

    @property
    def failures(self) -> list[Result]:
        """The cases that did not end as they should."""
        return [result for result in self.results if result.verdict in FAILURES]

    def row(self) -> list[Any]:
        """The figures: cases, one for each verdict, seconds and MiB of the worst case."""
        counted = Counter(result.verdict for result in self.results)
        seconds = max((r.seconds for r in self.results), default=0)
        memory = max((r.memory for r in self.results), default=0)
        figures = [counted[verdict] for verdict in VERDICTS]
        return [self.campaign, len(self.results), *figures, f"{seconds:.1f}", memory >> 20]


def run(
    campaign: Campaign, base: Path, keep: Path, seed: int, numbers: list[int]
) -> Iterator[Result]:
    """Run these cases of a campaign, one after the other.

    Args:
        campaign: the campaign.
        base: the directory of :mod:`inputs`.
        keep: where the inputs of failures stay, in a directory for each case.
        seed: seed and number of a case determine it.
        numbers: of the cases.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as name, inside(Path(name)) as folder:
        valid = folder / "valid"
        valid.mkdir()
        campaign.prepare(base, valid)
        campaign.warm()
        for number in numbers:
            place, log = folder / "case", folder / "log.txt"
            shutil.copytree(valid, place, copy_function=os.link)
            done = mutated(campaign, place, seed, number)
            dice = random.Random(f"{seed} {campaign.name} {number} attempt")
            case = Case(place, valid, *done, dice)

            def attempt() -> list[str]:
                os.chdir(place)  # noqa: B023 (called before the next case)
                verdict, why = campaign.attempt(case)  # noqa: B023
                return [verdict, why[:2000]]

            log.unlink(missing_ok=True)
            ending = sandbox.call(attempt, campaign.limits, log)
            verdict, why = (ending.problem, ending.answer) if ending.problem else ending.answer
            if campaign.command and number % _COMMAND_EVERY == 0 and verdict not in FAILURES:
                problem = _run_command(campaign, place, done.file)
                verdict, why = problem or (verdict, why)
            result = Result(number, done, verdict, why, ending.seconds, ending.memory)
            if verdict in FAILURES:
                _keep(keep / campaign.name / str(number), place, log, result)
            remove(place)
            yield result


def _run_command(campaign: Campaign, folder: Path, file: str) -> tuple[str, str] | None:
    """What is wrong with how the real command ends, if anything."""
    words = [word.replace("{}", file) for word in campaign.command]
    try:
        finished = command(*words, cwd=folder, timeout=_COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        return "hang", f"{words} takes more than {_COMMAND_TIMEOUT} seconds"
    printed = f"{finished.stdout}{finished.stderr}"
    if finished.returncode not in (0, 1) or sandbox.shows_traceback(printed):
        return "traceback", f"{words} ends with {finished.returncode}: {printed[-1000:]}"
    return None


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[Path]:
    """Work inside a directory."""
    former = os.getcwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(former)


def mutated(campaign: Campaign, folder: Path, seed: int, number: int) -> Mutated:
    """Mutate the input in ``folder`` as case ``number`` says."""
    dice = random.Random(f"{seed} {campaign.name} {number}")
    if number < len(campaign.special):
        name, mutate = list(campaign.special.items())[number]
        case = mutate(folder, dice)
        return Mutated(case.file, name) if case else Mutated("", name)
    while not (case := campaign.mutate(folder, dice)):
        pass
    return case


def _keep(target: Path, place: Path, log: Path, result: Result) -> None:
    """Keep the input of a failure, and what it printed."""
    remove(target)
    target.mkdir(parents=True)
    source = place / result.case.file
    if source.is_symlink():
        (target / source.name).symlink_to(os.readlink(source))
    elif source.is_file() and source.stat().st_size < 1 << 28:
        shutil.copyfile(source, target / source.name)
    if log.exists():
        shutil.copyfile(log, target / "log.txt")
    (target / "case.txt").write_text(
        f"{result.case.file}: {result.case.what}\n{result.verdict}: {result.why}\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


# Mutations of a file in a directory, for all campaigns.


def of_bytes(file: str) -> Mutate:
    """Mutate the bytes of a file."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        content, what = mutate_bytes((folder / file).read_bytes(), dice)
        put(folder / file, content)
        return Mutated(file, what)

    return mutate


def with_place(file: str, name: str) -> Mutate:
    """Put one of :data:`~injection.mutations.PLACES` where a file is."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        remove(folder / file)
        PLACES[name](folder / file)
        return Mutated(file, name)

    return mutate


def with_content(file: str, content: bytes | Callable[[bytes], bytes]) -> Mutate:
    """Give a file another content, or one that is made of its own."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        new = content if isinstance(content, bytes) else content((folder / file).read_bytes())
        put(folder / file, new)
        return Mutated(file, "")

    return mutate


def all_places(*files: str) -> dict[str, Mutate]:
    """Every one of :data:`~injection.mutations.PLACES` in place of every file."""
    return {f"{file}: {name}": with_place(file, name) for file in files for name in PLACES}
