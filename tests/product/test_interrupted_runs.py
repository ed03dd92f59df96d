"""Runs that are stopped, killed or out of disk space resume from their checkpoints."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess

import pytest
from commands import as_options
from launching import launch
from stopping import stopped_at
from training_log import logged_steps, run_folder

from paddleclas_eca.training.signals import EXIT_CODE

CONFIG = "digits/ECA_ResNet18"
AUTO = "Global.checkpoints=auto"
FILES = ("latest.pdparams", "latest.pdopt", "latest.pdstates")


def test_a_stopped_run_resumes_exactly(tmp_path, run_python, repository, short_digits, trained):
    script, options = repository / "tools/train.py", ["-c", CONFIG, *as_options(short_digits)]
    words = stopped_at("[Epoch 2/3][Iter: 0/", script, *options, "--resume")
    stopped = run_python(*words, cwd=tmp_path, fails=True)
    assert stopped.returncode == EXIT_CODE and "Traceback" not in stopped.stderr
    assert f"-o {AUTO}" in stopped.stdout
    log = run_python(script, *options, "-o", AUTO, cwd=tmp_path).stdout
    # The rest of the run, with the rates that the whole run had there.
    rates = [(step.epoch, step.learning_rate) for step in logged_steps(log)]
    whole = [(step.epoch, step.learning_rate) for step in logged_steps(trained.log)]
    assert len(rates) == len(whole) - len(logged_steps(stopped.stdout))
    assert rates == whole[-len(rates) :]
    resumed = run_folder(tmp_path / "output")
    for name in FILES:
        assert (resumed / name).read_bytes() == (trained.folder / name).read_bytes(), name


@pytest.fixture
def overrides(short_digits) -> list[str]:
    """A smaller network, of which few checkpoints are kept."""
    return [*short_digits, "Arch.name=ECA_MobileNetV2_x0_25", "Global.save_interval=1000"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["launcher", "second process"])
def test_all_processes_stop_together(tmp_path, overrides, victim):
    two = ("--nproc_per_node", "2")
    # So many epochs that the run does not end by itself meanwhile.
    overrides = [*overrides, "Global.epochs=1000", AUTO]
    with launch(tmp_path, overrides, *two) as job:
        job.wait_for("[Epoch 2/1000][Iter: 0/")
        process = job.process.pid if victim == "launcher" else job.ranks()[1]
        os.kill(process, signal.SIGTERM)
        assert job.wait() == (signal.SIGTERM if victim == "launcher" else EXIT_CODE)
        assert "\nTraceback" not in job.log(0) + job.log(1)  # C++ has others
        last = logged_steps(job.log(0))[-1]
    shutil.rmtree(tmp_path / "log")
    with launch(tmp_path, overrides, *two) as job:
        # There are two steps in each epoch.
        epoch = last.epoch + last.iteration
        job.wait_for(f"[Train][Epoch {epoch}/1000][Iter: ")
        assert f"[Train][Epoch {epoch - 1}/1000][Iter: " not in job.log(0)


@pytest.mark.slow
def test_a_second_run_in_the_same_directory_is_refused(tmp_path, run_tool, overrides):
    endless = [*overrides, "Global.epochs=1000", AUTO]
    with launch(tmp_path, endless, "--nproc_per_node", "1") as job:
        job.wait_for("[Epoch 2/1000][Iter: 0/")
        rank, latest = job.ranks()[0], run_folder(tmp_path / "output")
        error = only_error(run_tool("train", CONFIG, endless, cwd=tmp_path, fails=True))
        for part in (f"process {rank} ", str(latest.relative_to(tmp_path)), "Global.output_dir"):
            assert part in error
        # Others read what it saves.
        weights = f"Global.pretrained_model={latest / 'latest'}"
        run_tool("eval", CONFIG, [*overrides, weights], cwd=tmp_path)
        assert job.process.poll() is None
        os.kill(rank, signal.SIGKILL)
        job.wait()
    log = run_tool("train", CONFIG, [*overrides, "Global.epochs=1", AUTO], cwd=tmp_path).stdout
    # The lock of the killed run is in nobody's way, and its checkpoint is found.
    assert f"nothing is left to train: {latest.relative_to(tmp_path)}" in log


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MiB at ``output``, and a function that mounts it again with other options."""
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


def only_error(finished: subprocess.CompletedProcess) -> str:
    """The one error that a command has printed."""
    assert "Traceback" not in finished.stderr
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.slow
def test_a_full_disk_ends_the_run_which_resumes_when_there_is_room(
    tmp_path, run_tool, overrides, small_disk
):
    overrides = [*overrides, "Global.save_interval=1", AUTO]
    failed = run_tool("train", CONFIG, overrides, cwd=tmp_path, fails=True)
    assert "No space left on device" in only_error(failed)
    small_disk("-o", "remount,size=64m")
    log = run_tool("train", CONFIG, overrides, cwd=tmp_path).stdout
    epochs = {step.epoch for step in logged_steps(log)}
    assert epochs in ({2, 3}, {3}), "it resumes from what was saved before the disk was full"


@pytest.mark.slow
def test_a_read_only_directory_is_reported_before_training(
    tmp_path, run_tool, overrides, small_disk
):
    small_disk("-o", "remount,ro")
    failed = run_tool("train", CONFIG, overrides, cwd=tmp_path, fails=True)
    error = only_error(failed)
    assert "Global.output_dir" in error and "Read-only file system" in error
    assert not logged_steps(failed.stdout)
