"""A process of a job is killed, or hangs."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest
from commands import descendants, is_running
from launching import TIMEOUT, launch
from training_log import logged_steps, run_folder

pytestmark = pytest.mark.slow
FIRST_STEPS = "[Train][Epoch 1/100][Iter: 1/2]"


@pytest.fixture
def overrides(short_digits):
    return [*short_digits, "Global.save_interval=1000"]


@pytest.mark.parametrize("lost", [0, 1])
def test_killed_rank_ends_the_job(tmp_path, overrides, lost):
    overrides = [*overrides, "Global.epochs=100"]
    with launch(tmp_path, overrides, "--nproc_per_node", "2") as launcher:
        launcher.wait_for(FIRST_STEPS)
        ranks = launcher.ranks()
        os.kill(ranks[lost], signal.SIGKILL)
        # The first rank's exit code: of SIGKILL, as the shell sees -9, or our own.
        assert launcher.wait() == (247 if lost == 0 else 75)
        assert not any(map(is_running, ranks))
        assert f"error: rank {1 - lost} ends, because rank {lost} ended" in launcher.log(1 - lost)
        assert "C++ Traceback" not in launcher.log(1 - lost)


def test_rank_that_hangs_ends_the_job(tmp_path, overrides):
    overrides = [*overrides, "Global.epochs=100", "Global.peer_timeout=10"]
    with launch(tmp_path, overrides, "--nproc_per_node", "2") as launcher:
        launcher.wait_for(FIRST_STEPS)
        ranks = launcher.ranks()
        os.kill(ranks[1], signal.SIGSTOP)
        assert launcher.wait() == 75
        assert not any(map(is_running, ranks))
        assert "error: rank 0 ends, because nothing was heard of rank 1 for 10 s" in launcher.log(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_launcher_stops_the_ranks(tmp_path, overrides, workers):
    overrides = [
        *overrides,
        "Global.epochs=100",
        *(f"DataLoader.{part}.loader.num_workers={workers}" for part in ("Train", "Eval")),
    ]
    with launch(tmp_path, overrides, "--nproc_per_node", "2") as launcher:
        launcher.wait_for(FIRST_STEPS)
        family = descendants(launcher.process)
        launcher.process.kill()
        try:
            _, left = psutil.wait_procs(family, timeout=TIMEOUT)
            assert left == []
        finally:
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        assert "the launcher has ended" in launcher.log(0)
        assert "Global.checkpoints=auto resumes there" in launcher.log(0)
        assert "Traceback" not in launcher.log(0) + launcher.log(1)
    assert (run_folder(tmp_path / "output") / "latest.pdparams").exists()


# The loop of docs/distributed.md; "$@" is the launcher's command.
LOOP = """
for attempt in 1 2 3; do
    "$@" && break
    [ $? -eq 1 ] && break
    sleep 1
done
"""


def test_loop_around_the_launcher_resumes_from_the_checkpoint(tmp_path, overrides):
    overrides = [*overrides, "Global.epochs=4", "Global.checkpoints=auto"]
    before = ("bash", "-c", LOOP, "loop")
    with launch(tmp_path, overrides, "--nproc_per_node", "2", before=before) as launcher:
        launcher.wait_for("[Train][Epoch 2/4][Iter: 1/2]")
        os.kill(launcher.ranks()[1], signal.SIGKILL)
        assert launcher.wait() == 0
        epochs = [step.epoch for step in logged_steps(launcher.log(0))]
    # Each epoch once, but for the one in which the rank was killed.
    assert epochs[:2] == [1, 1] and epochs[-4:] == [3, 3, 4, 4]
    assert epochs.count(1) == 2 and epochs.count(2) in (2, 3, 4)
