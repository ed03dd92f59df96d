"""Runs that are stopped, killed or out of disk go on from their checkpoints."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launching import launch
from training_log import logged_steps, run_folder

from paddleclas_eca.training import checkpoints
from paddleclas_eca.training.signals import EXIT_CODE

MODEL = "Arch.name=ECA_MobileNetV2_x0_25"  # the smallest, and it has dropout
CONFIG = "digits/ECA_ResNet18"
FILES = ("latest.pdparams", "latest.pdopt", "latest.pdstates")


@pytest.fixture
def overrides(short_digits) -> list[str]:
    return [*short_digits, MODEL, "Global.save_interval=100"]


def checkpoint_of(folder: Path) -> checkpoints.Checkpoint:
    return checkpoints.read(run_folder(folder / "output") / "latest")


def train_until(text: str, overrides, cwd: Path, repository: Path) -> tuple[int, str]:
    """Train in one process, send SIGTERM when it prints ``text``; exit code and output."""
    words = [word for override in overrides for word in ("-o", override)]
    process = subprocess.Popen(
        [sys.executable, str(repository / "tools/train.py"), "-c", CONFIG, "--resume", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if text in line:
                process.send_signal(signal.SIGTERM)
                text = "\0"
        return process.wait(), "".join(printed)
    finally:
        process.kill()
        process.wait()


def test_a_preempted_run_goes_on_exactly(tmp_path, run_tool, repository, overrides):
    (tmp_path / "whole").mkdir()
    run_tool("train", CONFIG, overrides, cwd=tmp_path / "whole")
    code, log = train_until("[Epoch 2/3][Iter: 1/", overrides, tmp_path, repository)
    assert code == EXIT_CODE and "Traceback" not in log
    assert "SIGTERM: this step is finished" in log and "begins anew" in log
    epochs, steps, _ = checkpoint_of(tmp_path).age
    assert epochs == 1 and 2 <= steps <= 3
    log = run_tool("train", CONFIG, [*overrides, "Global.checkpoints=auto"], cwd=tmp_path).stdout
    assert f"resumed after 1 epochs and {steps} steps" in log
    assert {step.epoch for step in logged_steps(log)} <= {2, 3}
    whole, resumed = (run_folder(folder / "output") for folder in (tmp_path / "whole", tmp_path))
    for name in FILES:
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["launcher", "second process"])
def test_all_processes_stop_together(tmp_path, overrides, victim):
    two = ("--nproc_per_node", "2")
    overrides = [*overrides, "Global.epochs=6", "Global.checkpoints=auto"]
    with launch(tmp_path, overrides, *two) as job:
        job.wait_for("[Epoch 2/6][Iter: 0/")
        process = job.process.pid if victim == "launcher" else job.ranks()[1]
        os.kill(process, signal.SIGTERM)
        assert job.wait(45) == (signal.SIGTERM if victim == "launcher" else EXIT_CODE)
        assert "stopped after" in job.log(0) and "Traceback" not in job.log(0) + job.log(1)
    epochs, steps, _ = checkpoint_of(tmp_path).age
    with launch(tmp_path, overrides, *two) as job:
        assert job.wait(240) == 0
        assert f"resumed after {epochs} epochs" in job.log(0)
    assert checkpoint_of(tmp_path).age == (6, 0, False)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MiB in a folder, and a function that mounts it anew with other options."""
    folder = tmp_path / "output"
    folder.mkdir()

    def mount(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)

    try:
        made = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if made.returncode:
        pytest.skip(f"this user may not mount: {made.stderr.strip()}")
    try:
        yield mount
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_full_disk_is_told_and_training_goes_on_when_there_is_room(
    tmp_path, run_tool, overrides, small_disk
):
    overrides = [*overrides, "Global.save_interval=1", "Global.checkpoints=auto"]
    failed = run_tool("train", CONFIG, overrides, cwd=tmp_path, fails=True)
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "cannot be written: No space left on device" in errors[0]
    assert "Traceback" not in failed.stderr
    said = []
    found = checkpoints.find_newest(
        next((tmp_path / "output").rglob("train.log")).parent, said.append
    )
    assert found is not None and not said
    small_disk("-o", "remount,size=64m")
    log = run_tool("train", CONFIG, overrides, cwd=tmp_path).stdout
    assert f"resumed after {found.age[0]} epochs" in log
    assert checkpoint_of(tmp_path).age == (3, 0, False)


def test_a_read_only_folder_is_told_before_training(tmp_path, run_tool, overrides, small_disk):
    small_disk("-o", "remount,ro")
    failed = run_tool("train", CONFIG, overrides, cwd=tmp_path, fails=True)
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Global.output_dir" in errors[0] and "Read-only file system" in errors[0]
    assert "Traceback" not in failed.stderr and not logged_steps(failed.stdout)


@pytest.mark.slow
def test_a_short_campaign_of_kills_loses_nothing(tmp_path, repository):
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import faults
    finally:
        sys.path.pop(0)
    campaign = faults.run_campaign(
        tmp_path, faults.prepare(tmp_path), kills=3, seed=3, compare=True
    )
    assert len(campaign.kills) == 3
    assert campaign.lost == campaign.hangs == 0
    assert all(kill.exit_code for kill in campaign.kills if kill.victim == "process")
    assert campaign.same_weights
