"""Checkpoints on disk: atomic saving, verification, and recovery.

A checkpoint ``latest`` is the files ``latest.pdparams``, ``latest.pdopt``, ... and
``latest.manifest.json``, which holds the size and SHA-256 of every file, and the state of the
run. Saving goes through these steps, and a kill in any of them leaves a complete checkpoint:

1. ``.saving-*/`` is being filled; the former checkpoint is in place. :func:`recover` removes it.
2. ``.latest.ready/``, renamed in one step, is complete and flushed to the disk. Its files are
   being moved into place, the manifest last. :func:`recover` moves the rest.
3. The files are in place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Callable

from ..errors import UserError
from ..files import flush, read_file, sha256

# Given in place of a path: resume from the newest complete checkpoint.
AUTO = "auto"
MANIFEST = ".manifest.json"
_FORMAT = 1
_SAVING = ".saving-"
_READY = ".ready"
_LARGEST_MANIFEST = 16 << 20  # bytes


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: the path of its files without their endings.
        state: the state of the run, as given to :func:`write`.
        digest: SHA-256 of its manifest, so of all its content.
    """

    path: Path
    state: dict[str, Any]
    digest: str

    @property
    def age(self) -> tuple[int, int, bool]:
        """How far the run had got, for comparison: epochs, steps, whether that epoch is trained."""
        state = self.state
        return state["epoch"], state.get("steps", 0), state.get("trained", False)


@contextlib.contextmanager
def write(folder: Path, name: str, state: dict[str, Any]) -> Iterator[Path]:
    """Save a checkpoint: yields an empty directory to write its files to.

    Args:
        folder: directory of the checkpoint; created if it is missing.
        name: its name; its files begin with it, or lie in directories of their own.
        state: state of the run, as JSON can hold it; ``epoch`` is required.

    Raises:
        UserError: it cannot be written. The former checkpoint is untouched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=_SAVING, dir=folder))
    except OSError as error:
        raise _cannot_write(folder / name, error) from error
    try:
        yield stage
        _seal(stage, name, state)
        ready = _ready(folder / name)
        if ready.exists():
            _move_in(ready)
        os.rename(stage, ready)
        flush(folder)
        _move_in(ready)
    except OSError as error:
        raise _cannot_write(folder / name, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def is_half_saved(path: str) -> bool:
    """Whether a killed run left files of the checkpoint at ``path`` for :func:`recover`."""
    return os.path.exists(_ready(Path(path)))


def recover(folder: Path) -> None:
    """Finish or remove the incomplete save of a killed run; only one process may do so.

    Raises:
        UserError: the directory cannot be written.
    """
    try:
        # A checkpoint may have a directory of its own.
        for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
            for left in place.glob(f".*{_READY}"):
                _move_in(left)
            for left in place.glob(f"{_SAVING}*"):
                shutil.rmtree(left)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def check_writable(folder: Path) -> None:
    """Raise UserError if no checkpoint can be written to ``folder``, which it creates."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=_SAVING, dir=folder)).rmdir()
    except OSError as error:
        raise _cannot_write(folder, error) from error


def find_newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The complete checkpoint in ``folder`` or a directory in it with the most training, or None.

    ``warn`` gets a message for each checkpoint that is left out.
    """
    found = []
    files = [*folder.glob(f"*{MANIFEST}"), *folder.glob(f"*/*{MANIFEST}")]
    for file in files:
        try:
            found.append(_read_manifest(file.with_name(file.name[: -len(MANIFEST)])))
        except UserError as error:
            warn(f"left out: {error}")
    known = {file.name[: -len(MANIFEST)] for file in files}
    for file in sorted([*folder.glob("*.pdopt"), *folder.glob("*/*.pdopt")]):
        path = file.with_suffix("")
        if path.name not in known:
            warn(
                f"left out: {path} has no manifest, so it may be incomplete. To resume from it, "
                f"give its path instead of {AUTO!r}"
            )
    # Of the same age, an interrupted run saved latest last. Only the newest is read: reading all
    # of them would take minutes.
    found.sort(key=lambda entry: (entry[0].age, entry[0].path.name == "latest"), reverse=True)
    for checkpoint, entries in found:
        try:
            _check_whole(checkpoint, entries)
        except UserError as error:
            warn(f"left out: {error}")
        else:
            return checkpoint
    return None


def read(path: Path) -> Checkpoint:
    """The checkpoint at ``path``.

    Raises:
        UserError: it is incomplete, changed since it was saved, or has no manifest.
    """
    checkpoint, entries = _read_manifest(path)
    _check_whole(checkpoint, entries)
    return checkpoint


def _read_manifest(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint, and the entries of its files; the files themselves are not read."""
    file = path.with_name(path.name + MANIFEST)
    try:
        content = read_file(file, "manifest", _LARGEST_MANIFEST)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    damaged = UserError(f"checkpoint {path}: {file.name} is damaged")
    try:
        manifest = json.loads(content)
        version, files = manifest["format"], manifest["files"]
        checkpoint = Checkpoint(path, manifest["state"], hashlib.sha256(content).hexdigest())
        valid = all(isinstance(part, int) for part in checkpoint.age) and all(
            _stays_inside(name) and isinstance(entry, dict) for name, entry in files.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged from error
    if version != _FORMAT:
        raise UserError(f"checkpoint {path} is of a later version of paddleclas_eca: use that one")
    if not valid:
        raise damaged
    return checkpoint, files


def _check_whole(checkpoint: Checkpoint, entries: dict[str, Any]) -> None:
    folder = checkpoint.path.parent
    damage = [what for name in entries if (what := _damage(folder / name, entries[name]))]
    if damage:
        raise UserError(
            f"checkpoint {checkpoint.path} is incomplete or damaged: {'; '.join(damage)}"
        )


def has_manifest(path: Path) -> bool:
    """Whether the checkpoint at ``path`` has a manifest; those of other tools have none."""
    return path.with_name(path.name + MANIFEST).is_file()


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}{_READY}")


def _damage(file: Path, entry: dict[str, Any]) -> str | None:
    """What is wrong with a file of a checkpoint, if anything."""
    try:
        size = file.stat().st_size
        if size != entry.get("size"):
            return f"{file.name} has {size} bytes instead of {entry.get('size')}"
        if sha256(file) != entry.get("sha256"):
            return f"{file.name} has other content than was saved"
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"
    return None


def _seal(stage: Path, name: str, state: dict[str, Any]) -> None:
    """Write the manifest of the files in ``stage``, and flush all of them to the disk."""
    files = [file for file in sorted(stage.rglob("*")) if file.is_file()]
    entries = {
        file.relative_to(stage).as_posix(): {"size": file.stat().st_size, "sha256": sha256(file)}
        for file in files
    }
    manifest = stage / f"{name}{MANIFEST}"
    content = {"format": _FORMAT, "state": state, "files": entries}
    manifest.write_text(json.dumps(content, indent=1), encoding="utf-8")
    for path in [*files, manifest, *(d for d in stage.rglob("*") if d.is_dir()), stage]:
        flush(path)


def _move_in(ready: Path) -> None:
    """Move a complete checkpoint into place; it may be half moved already."""
    folder = ready.parent
    manifest = ready / f"{ready.name[1 : -len(_READY)]}{MANIFEST}"
    if manifest.exists():
        former = _files_of(folder / manifest.name)
        files = _files_of(manifest)
        for name in files:
            if (ready / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(ready / name, folder / name)
        flush(folder)
        os.replace(manifest, folder / manifest.name)
        flush(folder)
        for name in former - files:
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(ready)


def _files_of(manifest: Path) -> set[str]:
    try:
        names = json.loads(read_file(manifest, "manifest", _LARGEST_MANIFEST))["files"]
        return {name for name in names if _stays_inside(name)}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def _stays_inside(name: str) -> bool:
    """Whether a file name of a manifest, which may come from elsewhere, stays in its directory."""
    return not PurePath(name).is_absolute() and ".." not in PurePath(name).parts


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"checkpoint {path} cannot be written: {error.strerror or error}. Earlier checkpoints are "
        f"untouched"
    )
