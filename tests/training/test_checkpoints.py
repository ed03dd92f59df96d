"""Checkpoints on disk: whole or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training import checkpoints

OLD = {"latest.pdparams": b"old weights" * 50, "latest.pdopt": b"old momentum" * 90}
NEW = {
    "latest.pdparams": b"new weights" * 60,
    "latest.pdopt": b"new momentum" * 80,
    "best_model/model.pdparams": b"new weights" * 60,
}
ENDINGS = (".pdparams", ".pdopt")


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
    manifest = json.loads((tmp_path / "latest.manifest.json").read_text())
    assert {name: entry["size"] for name, entry in manifest["files"].items()} == {
        name: len(content) for name, content in NEW.items()
    }
    # As readable for others as the folder is.
    assert (tmp_path / "best_model").stat().st_mode & 0o777 == 0o755


def test_files_that_a_new_checkpoint_lacks_go(tmp_path):
    save(tmp_path, {**OLD, "latest.pdema": b"averages"}, 1)
    save(tmp_path, OLD, 2)
    assert contents(tmp_path) == OLD


# Ends the process, as SIGKILL does, at the given call of what changes the disk.
KILLED = """
import os, shutil, sys
from pathlib import Path

from paddleclas_eca.training import checkpoints

left = int(sys.argv[2])


def counted(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*args, **kwargs)

    return call


for module, names in ((os, "rename replace fsync unlink"), (shutil, "rmtree"), (Path, "mkdir")):
    for name in names.split():
        setattr(module, name, counted(getattr(module, name)))
with checkpoints.write(Path(sys.argv[1]), "latest", {"epoch": 2}) as stage:
    for name, content in eval(sys.argv[3]).items():
        (stage / name).parent.mkdir(exist_ok=True)
        (stage / name).write_bytes(content)
"""


def killed_save(folder: Path, call: int) -> bool:
    """Save NEW and be killed at this call; False if the saving ended before it."""
    words = [sys.executable, "-c", KILLED, folder, call, repr(NEW)]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode in (0, 9), done.stderr
    return done.returncode == 9


def test_a_kill_at_any_moment_leaves_a_complete_checkpoint(tmp_path, warnings):
    epochs = []
    for call in range(1, 200):
        folder = tmp_path / str(call)
        save(folder, OLD, 1)
        if not killed_save(folder, call):
            break
        checkpoints.recover(folder)
        found = checkpoints.find_newest(folder, warnings.append)
        epochs.append(found.age[0])
        assert contents(folder) == (OLD if epochs[-1] == 1 else NEW)
        assert not [entry for entry in folder.iterdir() if entry.name.startswith(".")]
    # It counted calls before and after the moment from which on the new one is complete.
    assert epochs == sorted(epochs) and epochs.count(1) > 5 and epochs.count(2) > 5
    assert not warnings


def test_the_first_checkpoint_of_a_run_is_there_or_not(tmp_path, warnings):
    found = []
    for call in range(1, 200):
        folder = tmp_path / str(call)
        if not killed_save(folder, call):
            break
        if folder.exists():
            checkpoints.recover(folder)
        found.append(checkpoints.find_newest(folder, warnings.append) is not None)
    assert found == sorted(found) and {True, False} == set(found) and not warnings


def test_checkpoints_in_folders_of_their_own_are_recovered(tmp_path, warnings):
    epochs = []
    for call in range(1, 200):
        folder = tmp_path / str(call)
        save(folder / "latest", OLD, 1)
        if not killed_save(folder / "latest", call):
            break
        checkpoints.recover(folder)
        epochs.append(checkpoints.find_newest(folder, warnings.append).age[0])
    assert epochs == sorted(epochs) and {1, 2} == set(epochs) and not warnings


def test_saving_goes_on_after_a_kill_without_recovery(tmp_path, warnings):
    for call in range(1, 200):
        folder = tmp_path / str(call)
        save(folder, OLD, 1)
        if not killed_save(folder, call):
            break
        save(folder, OLD, 3)
        assert checkpoints.find_newest(folder, warnings.append).age[0] == 3
        kept = contents(folder)
        assert {name: kept[name] for name in OLD} == OLD and not warnings


PLACES = [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]


@pytest.mark.parametrize("ending", [*ENDINGS, checkpoints.MANIFEST])
@pytest.mark.parametrize("place", PLACES)
def test_a_truncated_checkpoint_is_left_out(tmp_path, warnings, ending, place):
    save(tmp_path, OLD, 1, "epoch_1")
    save(tmp_path, NEW, 2)
    file = tmp_path / f"latest{ending}"
    os.truncate(file, int(file.stat().st_size * place))
    assert checkpoints.find_newest(tmp_path, warnings.append).path == tmp_path / "epoch_1"
    assert any(str(tmp_path / "latest") in warning for warning in warnings)
    with pytest.raises(UserError, match="latest.*(incomplete or damaged|is damaged)"):
        checkpoints.read(tmp_path / "latest")


def test_changed_and_missing_files_are_told_by_name(tmp_path):
    save(tmp_path, OLD, 1)
    (tmp_path / "latest.pdopt").write_bytes(b"x" * len(OLD["latest.pdopt"]))
    (tmp_path / "latest.pdparams").unlink()
    with pytest.raises(UserError) as error:
        checkpoints.read(tmp_path / "latest")
    assert "latest.pdopt has other content" in str(error.value)
    assert "latest.pdparams cannot be read: No such file" in str(error.value)


def test_checkpoints_of_paddleclas_alone_are_left_out_by_name(tmp_path, warnings):
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    assert checkpoints.find_newest(tmp_path, warnings.append) is None
    assert len(warnings) == 1 and f"Global.checkpoints={tmp_path / 'latest'}" in warnings[0]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": 1, "state": {}, "files": {}}',
        b'{"format": 1, "state": {"epoch": 1}, "files": {"../outside": {"size": 1}}}',
        b'{"format": 1, "state": {"epoch": 1}, "files": {"/etc/passwd": {"size": 1}}}',
    ],
)
def test_a_manifest_that_is_none_is_told(tmp_path, manifest):
    (tmp_path / "latest.manifest.json").write_bytes(manifest)
    with pytest.raises(UserError, match=r"latest\.manifest\.json is damaged"):
        checkpoints.read(tmp_path / "latest")


def test_a_manifest_of_a_later_version_is_told(tmp_path):
    content = '{"format": 99, "state": {"epoch": 1}, "files": {}}'
    (tmp_path / "latest.manifest.json").write_text(content)
    with pytest.raises(UserError, match="later version"):
        checkpoints.read(tmp_path / "latest")


def test_a_manifest_removes_nothing_outside_its_folder(tmp_path):
    (tmp_path / "precious").write_text("kept")
    folder = tmp_path / "run"
    save(folder, OLD, 1)
    manifest = folder / "latest.manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["../precious"] = {"size": 4, "sha256": ""}
    manifest.write_text(json.dumps(content))
    save(folder, OLD, 2)
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_full_disk_is_told_and_keeps_what_was_there(tmp_path):
    save(tmp_path, OLD, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so that a file beyond the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(UserError, match=r"latest cannot be written: File too large\. Check"):
            save(tmp_path, NEW, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path) == OLD
    assert checkpoints.read(tmp_path / "latest").age[0] == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "output").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        checkpoints.require_writable(tmp_path / "output" / "run")


def test_later_training_is_newer(tmp_path, warnings):
    save(tmp_path, OLD, 2, "epoch_2")
    save(tmp_path, OLD, 2, "best_model")
    save(tmp_path, OLD, 2)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "latest"
    save(tmp_path, OLD, 1, "latest", steps=9)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name != "latest"
    save(tmp_path, OLD, 2, "latest", steps=4, trained=True)
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "latest"


def test_only_the_files_of_the_newest_are_read(tmp_path, warnings, monkeypatch):
    for epoch in (1, 2, 3):
        save(tmp_path, OLD, epoch, f"epoch_{epoch}")
    read, digest = [], checkpoints.sha256
    monkeypatch.setattr(checkpoints, "sha256", lambda file: read.append(file.stem) or digest(file))
    assert checkpoints.find_newest(tmp_path, warnings.append).path.name == "epoch_3"
    assert set(read) == {"epoch_3"}


def test_checkpoints_in_folders_of_their_own_are_found(tmp_path, warnings):
    save(tmp_path / "epoch_1", OLD, 1, "epoch_1")
    save(tmp_path / "latest", OLD, 2)
    found = checkpoints.find_newest(tmp_path, warnings.append)
    assert found.path == tmp_path / "latest" / "latest" and not warnings
