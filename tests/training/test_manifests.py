"""Manifests from elsewhere: whatever is wrong, the checkpoint is left out and another one taken."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training import checkpoints

STATE = {
    "epoch": 4,
    "steps": 2,
    "trained": False,
    "steps_per_epoch": 9,
    "global_step": 38,
    "processes": 1,
    "seed": 42,
    "metric": 0.25,
    "best": {"metric": 0.5, "epoch": 3},
    "scaler": {"scale": [512.0]},
    "settings": {"epochs": 9},
}
FILES = {"latest.pdparams": b"weights" * 9, "latest.pdopt": b"", "latest/model.pdparams": b"w"}
# Values of every type, and those that are hard to read.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 999, 10**25, 0.5, -0.0, float("nan"), float("inf")),
    *("", "1", "latest", "../latest.pdopt", "/etc/passwd", "\0", "\ud800", "x" * 5000),
    *([], [1], {}, {"epoch": 1}),
]
# Bytes that are no manifest.
TEXTS = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "not UTF-8": b"\xff\xfe{",
    "list": b"[]",
    "text": b'"latest"',
    "number": b"1",
    "null": b"null",
    "empty mapping": b"{}",
    "deep lists": b"[" * 100_000,
    "deep mappings": b'{"a":' * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "long number": b'{"format": ' + b"9" * 1_000_000 + b"}",
    "large": b'{"format": 1, "state": "' + b"x" * (5 << 20) + b'"}',
    "another file": b"\x80\x04\x95",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with the checkpoint ``latest``, and with ``epoch_0``."""
    folder = tmp_path_factory.mktemp("run")
    for name, state in (("latest", STATE), ("epoch_0", {"epoch": 0})):
        with checkpoints.write(folder, name, state) as stage:
            for file, content in FILES.items():
                path = stage / file.replace("latest", name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
    return folder


@pytest.fixture
def manifest(folder):
    """The file of the manifest of ``latest``, which the test may change."""
    file = folder / f"latest{checkpoints.MANIFEST}"
    content = file.read_bytes()
    yield file
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink()
    file.write_bytes(content)


def resumed(folder) -> checkpoints.Checkpoint:
    """What ``auto`` resumes from; ``latest`` is refused in one line if it is not that."""
    warnings: list[str] = []
    found = checkpoints.find_newest(folder, warnings.append)
    if found.path.name != "latest":
        assert found.path.name == "epoch_0" and len(warnings) == 1
        assert str(folder / "latest") in warnings[0] and "\n" not in warnings[0]
        assert len(warnings[0]) < 1000
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_manifest_is_left_out(folder, manifest, text):
    manifest.write_bytes(TEXTS[text])
    assert resumed(folder).path.name == "epoch_0"
    with pytest.raises(UserError, match="latest"):
        checkpoints.read(folder / "latest")


def test_what_is_no_file_is_left_out(folder, manifest):
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        manifest.unlink()
        make(manifest)
        assert resumed(folder).path.name == "epoch_0"
        if manifest.is_dir():
            manifest.rmdir()
            manifest.touch()


def test_no_changed_byte_is_taken_for_another_state(folder, manifest):
    content = manifest.read_bytes()
    expected, taken = json.loads(content), 0
    for place in range(0, len(content), 7):
        for changed in (
            content[:place],
            content[:place] + content[place + 1 :],
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :],
        ):
            manifest.write_bytes(changed)
            if resumed(folder).path.name == "latest":
                # A blank was changed.
                assert json.loads(changed) == expected
                taken += 1
    assert taken < 100


def mutated(part: Any) -> Iterator[Any]:
    """Copies of a JSON value, each with one entry exchanged, left out or added."""
    if isinstance(part, dict):
        for key in part:
            yield {other: value for other, value in part.items() if other != key}
            for changed in mutated(part[key]):
                yield {**part, key: changed}
        yield {**part, "other": 1}
    yield from VALUES


def as_format_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """As version 0.1 wrote it."""
    return {"format": 1, "state": manifest["state"], "files": manifest["files"]}


def test_no_changed_entry_is_taken(folder, manifest):
    content = json.loads(manifest.read_text())
    count = 0
    for changed in mutated(content):
        same = json.dumps(changed, sort_keys=True) == json.dumps(content, sort_keys=True)
        manifest.write_text(json.dumps(changed))
        count += 1
        assert (resumed(folder).path.name == "latest") == same
    assert count > 500


def test_without_a_digest_entries_have_their_types(folder, manifest):
    content = as_format_1(json.loads(manifest.read_text()))
    manifest.write_text(json.dumps(content))
    assert resumed(folder).state == STATE
    taken = []
    for changed in mutated(content):
        manifest.write_text(json.dumps(changed))
        found = resumed(folder)
        if found.path.name == "latest":
            state = found.state
            assert 0 <= state.get("steps", 0)
            assert state.get("trained") or state.get("steps", 0) <= state.get("steps_per_epoch", 9)
            assert all(type(part) in (int, bool) for part in found.age)
            assert found.files.keys() >= {"latest.pdparams", "latest.pdopt"}
            taken.append(changed)
    # Those that differ in a value of the right type, or lack what may be left out.
    assert len(taken) < 200


def test_with_a_digest_of_its_own_a_manifest_has_its_types(folder, manifest):
    content = json.loads(manifest.read_text())
    for changed in mutated(content):
        if isinstance(changed, dict):
            rest = {key: value for key, value in changed.items() if key != "sha256"}
            text = json.dumps(rest, sort_keys=True)
            changed = {**changed, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        manifest.write_text(json.dumps(changed))
        found = resumed(folder)
        assert all(type(part) in (int, bool) for part in found.age)


REFUSED = {
    "no files": lambda content: content.update(files={}),
    "steps beyond the epoch": lambda content: content["state"].update(steps=999),
    "a file outside": lambda content: content["files"].update(
        {"../latest.pdopt": content["files"]["latest.pdopt"]}
    ),
    "an absolute file": lambda content: content["files"].update(
        {"/etc/hosts": content["files"]["latest.pdopt"]}
    ),
    "a file of another checkpoint": lambda content: content["files"].update(
        {"epoch_0.pdopt": content["files"]["latest.pdopt"]}
    ),
    "a later format": lambda content: content.update(format=99),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_of_a_run_is_refused_by_old_manifests_too(folder, manifest, what):
    content = as_format_1(copy.deepcopy(json.loads(manifest.read_text())))
    REFUSED[what](content)
    manifest.write_text(json.dumps(content))
    assert resumed(folder).path.name == "epoch_0"


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_key_twice_is_refused(folder, manifest, old):
    content = json.loads(manifest.read_text())
    text = json.dumps(as_format_1(content) if old else content)
    manifest.write_text(text.replace('"epoch": 4', '"epoch": 1, "epoch": 4', 1))
    assert resumed(folder).path.name == "epoch_0"


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_copy_under_another_name_is_refused(folder, manifest, old):
    content = json.loads(manifest.read_text())
    copied = folder / f"late{checkpoints.MANIFEST}"
    copied.write_text(json.dumps(as_format_1(content) if old else content))
    try:
        with pytest.raises(UserError, match=r"late\.manifest\.json is damaged"):
            checkpoints.read(folder / "late")
    finally:
        copied.unlink()


@pytest.mark.parametrize("file", ["latest.pdparams", "latest.pdopt"])
def test_a_pipe_in_place_of_a_file_is_left_out(folder, manifest, file):
    kept = (folder / file).rename(folder / "kept")
    os.mkfifo(folder / file)
    try:
        assert resumed(folder).path.name == "epoch_0"
    finally:
        kept.replace(folder / file)
