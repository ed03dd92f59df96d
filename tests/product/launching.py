"""Launch jobs on one machine and on two, and end all of their processes with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, NamedTuple

import psutil
import pytest
from commands import as_options, descendants, kill_tree

TRAIN = Path(__file__).resolve().parents[2] / "tools" / "train.py"
CONFIG = "digits/ECA_ResNet18"
# Seconds that anything may take: no test is about speed, this only ends what hangs.
TIMEOUT = 300.0


class Launcher:
    """A running ``python -m paddle.distributed.launch``: what it and its ranks have written."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self.process = process
        self.folder = folder

    def log(self, rank: int) -> str:
        """What a rank of this machine has written; counted from 0 on each machine."""
        file = self.folder / "log" / f"workerlog.{rank}"
        return file.read_text(errors="replace") if file.exists() else ""

    def printed(self) -> str:
        """What the launcher has printed."""
        return (self.folder / "printed.txt").read_text(errors="replace")

    def wait_for(self, text: str, rank: int = 0) -> None:
        """Wait until a rank has logged a text."""
        self._wait(lambda: text in self.log(rank), f"{text!r} of rank {rank}")

    def wait(self) -> int:
        """Wait for the end of the launcher; returns its exit code."""
        self._wait(lambda: self.process.poll() is not None, "the end")
        return self.process.returncode

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + TIMEOUT
        while not happened():
            ended = self.process.poll() is not None and not happened()
            if ended or time.monotonic() > until:
                written = self.printed()[-3000:] + self.log(0)[-3000:]
                pytest.fail(f"waited in vain for {what}\n{written}")
            time.sleep(0.1)

    def ranks(self) -> list[int]:
        """Process ids of the running ranks of this machine, in their order."""
        ranks = {}
        for member in descendants(self.process):
            with contextlib.suppress(psutil.Error):
                rank, parent = _local_rank(member), member.parent()
                # Loader processes have the same environment; they are children of ranks.
                if rank is not None and (parent is None or _local_rank(parent) is None):
                    ranks[rank] = member.pid
        return [ranks[rank] for rank in sorted(ranks)]


class Machine(NamedTuple):
    """What makes a process one of a certain machine.

    Attributes:
        address: IPv4 address.
        prefix: words before the command.
        environment: variables that it needs.
        cut_off: take its network away, if that can be done.
    """

    address: str
    prefix: Sequence[str] = ()
    environment: dict[str, str] = {}
    cut_off: Callable[[], None] | None = None


THIS_MACHINE = Machine("127.0.0.1")


@contextlib.contextmanager
def launch(
    folder: Path,
    overrides: Sequence[str],
    *options: str,
    machine: Machine = THIS_MACHINE,
    before: Sequence[str] = (),
) -> Iterator[Launcher]:
    """Train on the digits in a directory, with options of the launcher.

    Args:
        folder: working directory, made where it is missing.
        overrides: of the config.
        options: of the launcher.
        machine: the machine that it runs on.
        before: words before the launcher's command.
    """
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", "log", *options]
    words += [str(TRAIN), "-c", CONFIG]
    words += as_options(overrides)
    with open(folder / "printed.txt", "w") as printed:
        process = subprocess.Popen(
            [*machine.prefix, *before, *words],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **machine.environment},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    launcher = Launcher(process, folder)
    try:
        yield launcher
    finally:
        kill_tree(process)


def namespaces_permitted() -> bool:
    """Whether this user may make network namespaces."""
    if not all(map(shutil.which, ("ip", "unshare"))):
        return False
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True)
    return tried.returncode == 0


@contextlib.contextmanager
def two_namespaces() -> Iterator[list[Machine]]:
    """Two machines with networks of their own, joined by a cable."""
    addresses = {f"eca{os.getpid()}{letter}": f"10.213.0.{n}" for n, letter in ((1, "a"), (2, "b"))}
    first, second = addresses

    def ip(words: str) -> None:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)

    made = []
    try:
        for name in addresses:
            ip(f"netns add {name}")
            made.append(name)
        ip(f"link add {first} netns {first} type veth peer name {second} netns {second}")
        for name, address in addresses.items():
            ip(f"-n {name} addr add {address}/30 dev {name}")
            ip(f"-n {name} link set {name} up")
            ip(f"-n {name} link set lo up")
        yield [
            # The name of the host is 127.0.0.1 in both, so gloo is told where to listen.
            Machine(
                address,
                ("ip", "netns", "exec", name),
                {"GLOO_SOCKET_IFNAME": name},
                lambda name=name: ip(f"-n {name} link set {name} down"),
            )
            for name, address in addresses.items()
        ]
    finally:
        for name in made:
            ip(f"netns del {name}")


@contextlib.contextmanager
def two_loopback_addresses() -> Iterator[list[Machine]]:
    """Two machines that are one, with an address each."""
    yield [Machine("127.0.0.1"), Machine("127.0.0.2")]


@contextlib.contextmanager
def launch_on(
    machines: Sequence[Machine],
    folder: Path,
    overrides: Sequence[str],
    port: int,
    of_second: Sequence[str] = (),
) -> Iterator[list[Launcher]]:
    """Train one process on each machine, the first of which is rank 0.

    ``of_second`` are further overrides of the second machine.
    """
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                launch(
                    folder / f"machine{rank}",
                    [*overrides, *(of_second if rank == 1 else ())],
                    *("--nnodes", str(len(machines)), "--nproc_per_node", "1"),
                    *("--master", f"{machines[0].address}:{port}"),
                    *("--host", machine.address, "--rank", str(rank)),
                    machine=machine,
                )
            )
            for rank, machine in enumerate(machines)
        ]


def _local_rank(process: psutil.Process) -> int | None:
    rank = process.environ().get("PADDLE_LOCAL_RANK")
    return None if rank is None else int(rank)
