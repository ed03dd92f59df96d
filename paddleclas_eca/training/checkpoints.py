"""Checkpoints on disk: atomic saving, verification, and recovery.

A checkpoint ``latest`` is the files ``latest.pdparams``, ``latest.pdopt``, ... and
``latest.manifest.json``, which holds its name, the size and SHA-256 of every file, the state of
the run, and a SHA-256 of all that. Saving goes through these steps, and a kill in any of them
leaves a complete checkpoint:

1. ``.saving-*/`` is being filled; the former checkpoint is in place. :func:`recover` removes it.
2. ``.latest.ready/``, renamed in one step, is complete and flushed to the disk. Its files are
   being moved into place, the manifest last. :func:`recover` moves the rest.
3. The files are in place.

Whoever calls :func:`write` or :func:`recover` holds the lock of the run
(:mod:`paddleclas_eca.training.run_lock`). Reading needs none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Callable

from ..errors import UserError, excerpt
from ..files import flush, parse_json, read_file, sha256
from .run_lock import LOCK

# Given in place of a path: resume from the newest complete checkpoint.
AUTO = "auto"
MANIFEST = ".manifest.json"
# Format 1, of version 0.1, has neither name nor digest.
_FORMAT = 2
_KEYS = {1: {"format", "state", "files"}, 2: {"format", "name", "state", "files", "sha256"}}
# The files that every checkpoint has.
_ENDINGS = (".pdparams", ".pdopt")
_SAVING = ".saving-"
_READY = ".ready"
_LARGEST_MANIFEST = 4 << 20  # bytes


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: the path of its files without their endings.
        state: the state of the run, as given to :func:`write`.
        files: size in bytes and SHA-256 of each file, by its path from the checkpoint's directory.
        digest: SHA-256 of its manifest, so of all its content.
    """

    path: Path
    state: dict[str, Any]
    files: dict[str, tuple[int, str]]
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
    """Finish or remove the incomplete save of a killed run.

    Only the process that holds the lock of the run may do so. Runs in directories of their own
    inside of ``folder`` are left alone.

    Raises:
        UserError: the directory cannot be written.
    """
    try:
        # A checkpoint may have a directory of its own.
        inside = [entry for entry in folder.iterdir() if entry.is_dir()]
        for place in (folder, *(entry for entry in inside if not (entry / LOCK).exists())):
            for left in filter(_is_own_directory, place.glob(f".*{_READY}")):
                _move_in(left)
            for left in filter(_is_own_directory, place.glob(f"{_SAVING}*")):
                shutil.rmtree(left)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _is_own_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def check_writable(folder: Path) -> None:
    """Raise UserError if no checkpoint can be written to ``folder``, which it creates."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=_SAVING, dir=folder)).rmdir()
    except OSError as error:
        raise _cannot_write(folder, error) from error


def find_newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The complete checkpoint with the most training, or None if there is no checkpoint.

    Args:
        folder: directory of the run. A checkpoint may lie in a directory of its own name in it.
        warn: gets a message for each checkpoint that is left out.

    Raises:
        UserError: there are checkpoints, and none is complete.
    """
    found, left_out = [], []
    paths = dict.fromkeys(_paths(folder, MANIFEST))
    for path in paths:
        try:
            found.append(_read_manifest(path))
        except UserError as error:
            left_out.append(str(error))
    for path in _paths(folder, ".pdopt"):
        if path not in paths:
            left_out.append(
                f"checkpoint {path} has no manifest, so it may be incomplete. To resume from it, "
                f"give its path instead of {AUTO!r}"
            )
    # Of the same age, an interrupted run saved latest last. Only the newest is read: reading all
    # of them would take minutes.
    found.sort(key=lambda entry: (entry.age, entry.path.name == "latest"), reverse=True)
    newest = None
    for checkpoint in found:
        try:
            _check_whole(checkpoint)
        except UserError as error:
            left_out.append(str(error))
        else:
            newest = checkpoint
            break
    for reason in left_out:
        warn(f"left out: {reason}")
    if left_out and newest is None:
        raise UserError(
            f"{folder}: none of its checkpoints is complete, and a new run would overwrite them "
            f"({excerpt(left_out, 2)}). Give the path of one to resume from, or move them away"
        )
    return newest


def _paths(folder: Path, ending: str) -> list[Path]:
    """The checkpoints in a directory that have a file with this ending, by their paths."""
    files = [*folder.glob(f"*{ending}"), *folder.glob(f"*/*{ending}")]
    names = [(file, file.name[: -len(ending)]) for file in sorted(files)]
    return [
        file.with_name(name)
        for file, name in names
        if name and (file.parent == folder or file.parent.name == name)
    ]


def read(path: Path) -> Checkpoint:
    """The checkpoint at ``path``.

    Raises:
        UserError: it is incomplete, changed since it was saved, or has no manifest.
    """
    checkpoint = _read_manifest(path)
    _check_whole(checkpoint)
    return checkpoint


def _read_manifest(path: Path) -> Checkpoint:
    """A checkpoint whose files are not read yet."""
    file = path.with_name(path.name + MANIFEST)
    try:
        content = read_file(file, "manifest", _LARGEST_MANIFEST)
        return _parse(path, parse_json(content), hashlib.sha256(content).hexdigest())
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    except ValueError as error:
        raise UserError(f"checkpoint {path}: {file.name} is damaged: {error}") from error


def _parse(path: Path, manifest: Any, digest: str) -> Checkpoint:
    """The checkpoint of a manifest; raises ValueError with the reason if there is a wrong entry."""
    _require(isinstance(manifest, dict), "it is no mapping")
    version = manifest.get("format")
    _require(type(version) is int and version >= 1, "it has no format")
    if version > _FORMAT:
        raise UserError("it is of a later version of paddleclas_eca: use that one")
    for key in sorted(_KEYS[version] ^ manifest.keys()):
        what = "has an unknown" if key in manifest else "lacks the"
        _require(False, f"it {what} key {key[:80]!r}")
    if version > 1:
        _require(manifest["sha256"] == _digest(manifest), "its content was changed")
        _require(
            manifest["name"] == path.name,
            f"it is of the checkpoint {str(manifest['name'])[:80]!r}. Copy a checkpoint to another "
            f"directory, under its own name",
        )
    state, files = manifest["state"], manifest["files"]
    _require(isinstance(state, dict) and "epoch" in state, "its state has no epoch")
    for key, valid in _STATE.items():
        _require(key not in state or valid(state[key]), f"its {key} is not valid")
    steps, length = state.get("steps", 0), state.get("steps_per_epoch")
    # Version 0.1 kept the steps of an epoch that was trained with another length.
    possible = length is None or steps <= length or state.get("trained", False)
    _require(possible, f"{steps} steps of {length} are not possible")
    _require(isinstance(files, dict), "its files are no mapping")
    for name, entry in files.items():
        _require(
            _stays_inside(name)
            and isinstance(entry, dict)
            and entry.keys() == {"size", "sha256"}
            and _is_count(entry["size"])
            and isinstance(entry["sha256"], str),
            f"its file {name[:80]!r} is not valid",
        )
    # Else the files of another checkpoint would be checked in place of its own.
    others = [name for name in files if "/" not in name and not name.startswith(path.name)]
    own = {path.name + ending for ending in _ENDINGS}
    _require(own <= files.keys() and not others, f"it lists other files than those of {path.name}")
    entries = {name: (entry["size"], entry["sha256"]) for name, entry in files.items()}
    return Checkpoint(path, state, entries, digest)


def _require(valid: bool, reason: str) -> None:
    if not valid:
        raise ValueError(reason)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_best(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and _is_number(value.get("metric"))
        and _is_count(value.get("epoch"))
    )


def _is_scaler(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, bool) or _is_number(part)
        for entry in value.values()
        for part in (entry if isinstance(entry, list) else [entry])
    )


# What the state of a run may hold; whoever writes it may leave out all but the epoch.
_STATE: dict[str, Callable[[Any], bool]] = {
    "epoch": _is_count,
    "steps": _is_count,
    "trained": lambda value: isinstance(value, bool),
    "steps_per_epoch": lambda value: _is_count(value) and value > 0,
    "global_step": _is_count,
    "processes": lambda value: _is_count(value) and value > 0,
    "seed": lambda value: type(value) is int,
    "metric": _is_number,
    "best": _is_best,
    "scaler": _is_scaler,
    "settings": lambda value: value is None or isinstance(value, dict),
}


def _digest(manifest: dict[str, Any]) -> str:
    """SHA-256 of what a manifest says, whatever its spaces and the order of its keys."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_whole(checkpoint: Checkpoint) -> None:
    folder = checkpoint.path.parent
    damage = [
        what for name, entry in checkpoint.files.items() if (what := _damage(folder / name, *entry))
    ]
    if damage:
        raise UserError(f"checkpoint {checkpoint.path} is incomplete or damaged: {excerpt(damage)}")


def has_manifest(path: Path) -> bool:
    """Whether the checkpoint at ``path`` has a manifest; those of other tools have none."""
    return os.path.lexists(path.with_name(path.name + MANIFEST))


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}{_READY}")


def _damage(file: Path, size: int, digest: str) -> str | None:
    """What is wrong with a file of a checkpoint, if anything."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"{file.name} is not a regular file"
        if status.st_size != size:
            return f"{file.name} has {status.st_size} bytes instead of {size}"
        if sha256(file) != digest:
            return f"{file.name} has other content than was saved"
    except (OSError, ValueError) as error:
        return f"{file.name} cannot be read: {getattr(error, 'strerror', None) or error}"
    return None


def _seal(stage: Path, name: str, state: dict[str, Any]) -> None:
    """Write the manifest of the files in ``stage``, and flush all of them to the disk."""
    files = [file for file in sorted(stage.rglob("*")) if file.is_file()]
    entries = {
        file.relative_to(stage).as_posix(): {"size": file.stat().st_size, "sha256": sha256(file)}
        for file in files
    }
    manifest = stage / f"{name}{MANIFEST}"
    content = {"format": _FORMAT, "name": name, "state": state, "files": entries}
    # As it will be read: the keys of JSON are text.
    content = json.loads(json.dumps(content))
    content["sha256"] = _digest(content)
    manifest.write_text(json.dumps(content, indent=1), encoding="utf-8")
    for path in [*files, manifest, *(d for d in stage.rglob("*") if d.is_dir()), stage]:
        flush(path)


def _move_in(ready: Path) -> None:
    """Move a complete checkpoint into place; it may be half moved already."""
    folder, name = ready.parent, ready.name[1 : -len(_READY)]
    manifest = ready / f"{name}{MANIFEST}"
    if manifest.exists():
        try:
            checkpoint = _read_manifest(ready / name)
        except UserError:
            return _set_aside(ready)
        for file, entry in checkpoint.files.items():
            if _damage(ready / file, *entry) and _damage(folder / file, *entry):
                return _set_aside(ready)
        try:
            former = _read_manifest(folder / name).files.keys()
        except UserError:
            former = set()
        for file in checkpoint.files:
            if (ready / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(ready / file, folder / file)
        flush(folder)
        os.replace(manifest, folder / manifest.name)
        flush(folder)
        for file in former - checkpoint.files.keys():
            (folder / file).unlink(missing_ok=True)
    elif any(file.is_file() for file in ready.rglob("*")):
        return _set_aside(ready)
    shutil.rmtree(ready)


def _set_aside(ready: Path) -> None:
    """Keep a damaged checkpoint, which is not to replace the former one, under another name."""
    name = ready.name[1 : -len(_READY)]
    os.replace(ready, tempfile.mkdtemp(prefix=f"{name}.damaged-", dir=ready.parent))


def _stays_inside(name: str) -> bool:
    """Whether a file name of a manifest, which may come from elsewhere, stays in its directory."""
    path = PurePosixPath(name)
    return path.as_posix() == name and not path.is_absolute() and ".." not in path.parts


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"checkpoint {path} cannot be written: {error.strerror or error}. Earlier checkpoints are "
        f"untouched"
    )
