"""Checkpoints on disk: whole or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training import checkpoints
from paddleclas_eca.training.run_lock import LOCK

OLD = {"latest.pdparams": b"old weights" * 50, "latest.pdopt": b"old momentum" * 90}
NEW = {
    "latest.pdparams": b"new weights" * 60,
    "latest.pdopt": b"new momentum" * 80,
    "best_model/model.pdparams": b"new weights" * 60,
}


def save(folder, contents, epoch, name="latest", **state):
    with checkpoints.write(folder, name, {"epoch": epoch, **state}) as stage:
        for file, content in contents.items():
            path = stage / file.replace("latest", name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(checkpoints.MANIFEST)
    }


@pytest.fixture
def warnings():
    return []


def test_what_is_saved_is_found(tmp_path, warnings):
    save(tmp_path, NEW, 3, steps=2, metric=float("nan"))
    found = checkpoints.find_newest(tmp_path, warnings.append)
    assert found.path == tmp_path / "latest" and found.age == (3, 2, False)
    assert contents(tmp_path) == NEW and not warnings
    # As readable for others as the directory is.
    assert (tmp_path / "best_model").stat().st_mode & 0o777 == 0o755


def test_files_that_a_new_checkpoint_lacks_are_removed(tmp_path):
    save(tmp_path, {**OLD, "latest.pdema": b"averages"}, 1)
    save(tmp_path, OLD, 2)
    assert contents(tmp_path) == OLD


# Reads directory and number, saves NEW in a process that dies at this change of the disk, and
# prints its exit code. A small process, which forks faster than that of the tests.
KILLER = f"""
import os, shutil, sys
from pathlib import Path

from paddleclas_eca.training import checkpoints


def count(function):
    def run(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*args, **kwargs)

    return run


def save(folder):
    for module, names in ((os, "rename replace fsync unlink"), (shutil, "rmtree"), (Path, "mkdir")):
        for name in names.split():
            setattr(module, name, count(getattr(module, name)))
    with checkpoints.write(Path(folder), "latest", {{"epoch": 2}}) as stage:
        for name, content in {NEW!r}.items():
            (stage / name).parent.mkdir(exist_ok=True)
            (stage / name).write_bytes(content)


for line in sys.stdin:
    folder, _, number = line.rpartition(" ")
    left, child = int(number), os.fork()
    if child == 0:
        save(folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def killed_save(repository):
    """Save NEW and be killed at a change of the disk; False if the save ended before it."""
    words = [sys.executable, "-c", KILLER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=repository, text=True, **pipes) as process:

        def save(folder, change):
            print(folder, change, file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            assert code in (0, 9)
            return code == 9

        yield save


@pytest.mark.parametrize("own_directory", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_a_complete_checkpoint(
    tmp_path, warnings, killed_save, own_directory
):
    epochs = []
    for call in range(1, 200):
        run = tmp_path / str(call)
        folder = run / "latest" if own_directory else run
        save(folder, OLD, 1)
        if not killed_save(folder, call):
            break
        # The next save works without recovery, too.
        again = shutil.copytree(folder, tmp_path / f"again{call}")
        save(again, OLD, 3)
        assert checkpoints.read(again / "latest").age[0] == 3

        checkpoints.recover(run)
        epochs.append(checkpoints.find_newest(run, warnings.append).age[0])
        assert contents(folder) == (OLD if epochs[-1] == 1 else NEW)
        assert not [entry for entry in folder.iterdir() if entry.name.startswith(".")]
    # It died before and after the moment from which on the new one is complete.
    assert epochs == sorted(epochs) and epochs.count(1) > 5 and epochs.count(2) > 5
    assert not warnings


def test_the_first_checkpoint_of_a_run_is_there_or_not(tmp_path, warnings, killed_save):
    found = []
    for call in range(1, 200):
        folder = tmp_path / str(call)
        if not killed_save(folder, call):
            break
        if folder.exists():
            checkpoints.recover(folder)
        found.append(checkpoints.find_newest(folder, warnings.append) is not None)
    assert found == sorted(found) and {True, False} == set(found) and not warnings


@pytest.mark.parametrize("ending", [".pdparams", ".pdopt", checkpoints.MANIFEST])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_checkpoint_is_left_out(tmp_path, warnings, ending, share):
    save(tmp_path, OLD, 1, "epoch_1")
    save(tmp_path, NEW, 2)
    file = tmp_path / f"latest{ending}"
    os.truncate(file, int(file.stat().st_size * share))
    assert checkpoints.find_newest(tmp_path, warnings.append).path == tmp_path / "epoch_1"
    assert any(str(tmp_path / "latest") in warning for warning in warnings)
    with pytest.raises(UserError, match=rf"latest\b.*{ending}"):
        checkpoints.read(tmp_path / "latest")


def test_changed_and_missing_files_are_named(tmp_path):
    save(tmp_path, OLD, 1)
    (tmp_path / "latest.pdopt").write_bytes(b"x" * len(OLD["latest.pdopt"]))
    (tmp_path / "latest.pdparams").unlink()
    with pytest.raises(UserError, match=r"latest\.pdopt.*latest\.pdparams"):
        checkpoints.read(tmp_path / "latest")


def test_checkpoints_without_manifest_are_left_out_by_name(tmp_path, warnings):
    save(tmp_path, OLD, 1, "epoch_1")
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "epoch_1"
    assert len(warnings) == 1 and str(tmp_path / "latest") in warnings[0]


def test_an_empty_directory_has_no_checkpoint(tmp_path, warnings):
    assert checkpoints.find_newest(tmp_path, warnings.append) is None
    assert not warnings


@pytest.mark.parametrize("ending", [".pdopt", checkpoints.MANIFEST])
def test_no_new_run_begins_over_damaged_checkpoints(tmp_path, warnings, ending):
    save(tmp_path, OLD, 1)
    save(tmp_path, OLD, 1, "epoch_1")
    for name in ("latest", "epoch_1"):
        os.truncate(tmp_path / f"{name}{ending}", 20)
    with pytest.raises(UserError, match=rf"{tmp_path}: none .*{ending}"):
        checkpoints.find_newest(tmp_path, warnings.append)
    assert len(warnings) == 2


def test_a_run_inside_of_the_directory_is_another_run(tmp_path, warnings):
    inner = tmp_path / "other"
    save(inner, NEW, 9)
    (inner / LOCK).touch()
    (inner / ".saving-x").mkdir()
    save(tmp_path, OLD, 1)
    checkpoints.recover(tmp_path)
    assert (inner / ".saving-x").exists()
    assert checkpoints.find_newest(tmp_path, warnings.append).path == tmp_path / "latest"


def test_a_manifest_removes_nothing_outside_its_directory(tmp_path):
    (tmp_path / "precious").write_text("kept")
    folder = tmp_path / "run"
    save(folder, OLD, 1)
    manifest = folder / "latest.manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["../precious"] = {"size": 4, "sha256": ""}
    # As version 0.1 wrote it, without a digest.
    del content["name"], content["sha256"]
    manifest.write_text(json.dumps({**content, "format": 1}))
    save(folder, OLD, 2)
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("damage", ["manifest", "file", "no manifest"])
def test_a_damaged_save_does_not_replace_the_former_checkpoint(tmp_path, damage):
    save(tmp_path / "new", NEW, 2)
    folder = tmp_path / "run"
    save(folder, OLD, 1)
    ready = (tmp_path / "new").rename(folder / ".latest.ready")
    manifest = ready / f"latest{checkpoints.MANIFEST}"
    if damage == "no manifest":
        manifest.unlink()
    else:
        os.truncate(manifest if damage == "manifest" else ready / "latest.pdopt", 10)
    checkpoints.recover(folder)
    assert checkpoints.read(folder / "latest").age[0] == 1
    # What there is of the other is kept, and is in nobody's way.
    assert list(folder.glob("latest.damaged-*/latest.pdparams"))
    save(folder, NEW, 3)
    assert checkpoints.read(folder / "latest").age[0] == 3


def test_a_full_disk_keeps_what_was_there(tmp_path):
    save(tmp_path, OLD, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so that a file beyond the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(UserError, match=r"latest cannot be written: File too large"):
            save(tmp_path, NEW, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path) == OLD
    assert checkpoints.read(tmp_path / "latest").age[0] == 1


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "output").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        checkpoints.check_writable(tmp_path / "output" / "run")


def test_later_training_is_newer(tmp_path, warnings):
    save(tmp_path, OLD, 2, "epoch_2")
    save(tmp_path / "best_model", OLD, 2, "best_model")
    save(tmp_path, OLD, 2)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "latest"
    save(tmp_path, OLD, 1, "latest", steps=9)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name != "latest"
    save(tmp_path, OLD, 2, "latest", steps=4, trained=True)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "latest"
    assert not warnings


def test_only_the_files_of_the_newest_are_read(tmp_path, warnings, monkeypatch):
    for epoch in (1, 2, 3):
        save(tmp_path, OLD, epoch, f"epoch_{epoch}")
    read, digest = [], checkpoints.sha256
    monkeypatch.setattr(checkpoints, "sha256", lambda file: read.append(file.stem) or digest(file))
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "epoch_3"
    assert set(read) == {"epoch_3"}
