"""Kill a training run over and over, resume it each time, and count the losses.

Each kill is a SIGKILL at a random moment: of the launcher and all its processes, as when a machine
loses power, or of one of the two processes. Every other kill waits until a checkpoint is being
written. The job then starts again with Global.checkpoints=auto. After the last kill it trains to
its end, and its weights are compared with those of a run without kills.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .inputs import CONFIG, NETWORK, REPOSITORY, data_overrides, options

# Of a whole campaign: half of them with one process, half with two.
KILLS = 100
# Epochs of the whole run, so that it does not end before the last kill.
EPOCHS_PER_KILL = 2
# The processes see 200 images in batches of 40.
STEPS_PER_EPOCH = 5
_IMAGES_PER_STEP = 40
START_TIMEOUT = 300
# The launcher itself waits some seconds for the others before it kills them.
END_TIMEOUT = 60


@dataclass
class Kill:
    """One kill, and its effect.

    Attributes:
        victim: ``"job"`` or ``"process"``.
        saving: whether a checkpoint was being written.
        reported: epochs of the newest checkpoint in the log.
        training: the epoch in training.
        resumed: epochs of the checkpoint that the next start resumed from.
        ended_after: seconds until the launcher ended the job, where one process was killed.
        exit_code: of the launcher, there.
    """

    victim: str
    saving: bool
    reported: int
    training: int
    resumed: int = 0
    ended_after: float | None = None
    exit_code: int | None = None


@dataclass
class Campaign:
    """All kills of a run of so many processes, and how it ended."""

    processes: int
    kills: list[Kill] = field(default_factory=list)
    hangs: int = 0
    same_weights: bool | None = None

    @property
    def lost(self) -> int:
        """Number of checkpoints in the log that were not resumed from."""
        return sum(kill.resumed < kill.reported for kill in self.kills)

    @property
    def repeated(self) -> int:
        """Number of epochs that were trained again, at least in part."""
        return sum(max(0, kill.training - kill.resumed) for kill in self.kills)

    @property
    def failed(self) -> bool:
        """Whether anything was lost, or hangs."""
        return bool(self.lost or self.hangs or self.same_weights is False)

    def figures(self) -> dict[str, object]:
        """What was counted."""
        ended = [kill.ended_after for kill in self.kills if kill.ended_after is not None]
        return {
            "kills": len(self.kills),
            "of the whole job": sum(kill.victim == "job" for kill in self.kills),
            "of one of two processes": len(ended) + self.hangs,
            "while a checkpoint was being written": sum(kill.saving for kill in self.kills),
            "checkpoints lost": self.lost,
            "epochs begun again": self.repeated,
            "launchers that did not end within a minute": self.hangs,
            "seconds until the launcher ended, median": _shown(statistics.median, ended),
            "seconds until the launcher ended, longest": _shown(max, ended),
            "same weights as without kills": {None: "", True: "yes", False: "NO"}[
                self.same_weights
            ],
        }


def _shown(figure: Callable[[list[float]], float], seconds: list[float]) -> str:
    return f"{figure(seconds):.1f}" if seconds else ""


def table(campaigns: Sequence[Campaign]) -> str:
    """The figures, as Markdown: a column for each number of processes."""
    columns = [campaign.figures() for campaign in campaigns]
    lines = ["| | " + " | ".join(f"processes: {c.processes}" for c in campaigns) + " |"]
    lines.append("|---|" + "--:|" * len(columns))
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(str(column[name]) for column in columns) + " |")
    return "\n".join(lines)


class Job:
    """A training run: the launcher and its processes, or one process alone."""

    def __init__(self, folder: Path, data: Path, epochs: int, log: str, processes: int) -> None:
        self.output = folder / "output"
        self.processes = processes
        logs = folder / log
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        # As the launcher names it.
        self.log = logs / "workerlog.0"
        overrides = [
            *data_overrides(data),
            f"Arch.name={NETWORK}",
            f"Global.output_dir={self.output}",
            f"Global.epochs={epochs}",
            f"Global.save_interval={10**6}",
            "Global.print_batch_step=1",
            "Global.checkpoints=auto",
            f"DataLoader.Train.sampler.batch_size={_IMAGES_PER_STEP // processes}",
        ]
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
        command = [sys.executable, *(launcher if processes > 1 else [])]
        command += ["--log_dir", str(logs)] if processes > 1 else []
        command += [str(REPOSITORY / "tools" / "train.py"), "-c", CONFIG, *options(overrides)]
        with open(self.log if processes == 1 else os.devnull, "w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        """The log of the first process."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def family(self) -> list[int]:
        """Process ids of the launcher and all its descendants, parents first."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
        family = [self.process.pid]
        for pid in family:
            family += parents.get(pid, [])
        return family

    def kill(self, pids: list[int]) -> None:
        """Send SIGKILL to these processes."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def is_saving(self) -> bool:
        """Whether a checkpoint is being written now."""
        return any(self.output.glob("**/.saving-*")) or any(self.output.glob("**/.*.ready"))

    def wait_for_steps(self, steps: int) -> None:
        """Wait until the job has trained so many steps since its start.

        Raises:
            RuntimeError: the job ended, or took too long.
        """
        until = time.monotonic() + START_TIMEOUT
        while len(re.findall(r"\[Train\].*\[Iter: ", self.text())) < steps:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the job did not begin to train:\n{self.text()[-3000:]}")
            time.sleep(0.05)


@contextlib.contextmanager
def running(*args: object) -> Iterator[Job]:
    """A job that is killed at the end in any case."""
    job = Job(*args)
    try:
        yield job
    finally:
        job.kill(job.family())
        job.process.wait()


def saved_epochs(text: str, before: int) -> int:
    """Epochs of the newest checkpoint in a log, or ``before``."""
    epoch, saved = before, before
    for line in text.splitlines():
        if match := re.search(r"\[Train\]\[Epoch (\d+)/\d+\]\[Avg\]", line):
            epoch = int(match[1])
        elif "Already save model in" in line:
            saved = epoch
    return saved


def kill_once(job: Job, victim: str, while_saving: bool, dice: random.Random) -> Kill:
    """Kill a job, or one process of it, at a random moment after its first step."""
    job.wait_for_steps(1 + dice.randrange(2 * STEPS_PER_EPOCH))
    time.sleep(dice.uniform(0, 0.5))
    # Before the wait: a save takes some hundredths of a second only.
    family = job.family()
    ranks = family[1 : 1 + job.processes]
    victims = family if victim == "job" else [dice.choice(ranks)]
    if while_saving:
        until = time.monotonic() + 60
        while not job.is_saving() and time.monotonic() < until:
            time.sleep(0.0005)
        time.sleep(dice.choice([0, dice.uniform(0, 0.02)]))
    saving = job.is_saving()
    job.kill(victims)
    began = time.monotonic()
    text = job.text()
    epochs = [int(n) for n in re.findall(r"\[Train\]\[Epoch (\d+)/", text)]
    resumed = [int(n) for n in re.findall(r"resumed after (\d+) epochs", text)]
    kill = Kill(victim, saving, saved_epochs(text, resumed[-1] if resumed else 0), max(epochs))
    if victim == "process":
        with contextlib.suppress(subprocess.TimeoutExpired):
            kill.exit_code = job.process.wait(END_TIMEOUT)
            kill.ended_after = time.monotonic() - began
    return kill


def weights_of(output: Path) -> str:
    """Digest of the last weights of a run."""
    return hashlib.sha256(next(output.rglob("latest.pdparams")).read_bytes()).hexdigest()


def run_campaign(
    folder: Path, data: Path, kills: int, seed: int, compare: bool, processes: int = 2
) -> Campaign:
    """Kill a run of so many processes in ``folder`` so many times, then let it end.

    Raises:
        RuntimeError: a start did not train, or the run did not end well.
    """
    dice = random.Random(seed)
    campaign = Campaign(processes)
    epochs = EPOCHS_PER_KILL * kills + 1
    for number in range(kills + 1):
        with running(folder, data, epochs, f"log{number}", processes) as job:
            if number < kills:
                victim = ("job", "process")[processes > 1 and dice.random() < 0.5]
                kill = kill_once(job, victim, number % 2 == 1, dice)
                if victim == "process" and kill.ended_after is None:
                    campaign.hangs += 1
            elif job.process.wait() != 0:
                raise RuntimeError(f"the run did not end:\n{job.text()[-3000:]}")
            resumed = re.search(r"resumed after (\d+) epochs", job.text())
        if campaign.kills:
            campaign.kills[-1].resumed = int(resumed[1]) if resumed else 0
        if number < kills:
            campaign.kills.append(kill)
            print(f"kill {number + 1} of {kills}: {kill}", flush=True)
    if compare:
        whole = folder / "whole"
        whole.mkdir()
        with running(whole, data, epochs, "log", processes) as job:
            if job.process.wait() != 0:
                raise RuntimeError(f"the run without kills did not end:\n{job.text()[-3000:]}")
        campaign.same_weights = weights_of(whole) == weights_of(folder / "output")
    return campaign
