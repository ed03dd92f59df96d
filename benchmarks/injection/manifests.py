"""Mutated manifests and files of checkpoints, as ``Global.checkpoints=auto`` finds them.

Whatever happens to one checkpoint, the run must resume from another one that is whole.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .campaign import (
    HANDLED,
    HARMLESS,
    WRONG,
    Campaign,
    Case,
    Mutate,
    Mutated,
    all_places,
    with_content,
)
from .inputs import RUN
from .judging import strict_json, unlike
from .mutations import as_json, mutate_bytes, mutate_text, mutate_tree, put, with_deep_json
from .sandbox import Limits

_NEWEST, _OTHER = "latest", "best_model"
_MANIFEST = ".manifest.json"
_FILE = f"{_NEWEST}{_MANIFEST}"
_DATA = tuple(f"{_NEWEST}{ending}" for ending in (".pdparams", ".pdopt", ".pdstates"))


def _prepare(base: Path, folder: Path) -> None:
    for file in (base / RUN).iterdir():
        if file.name.startswith((_NEWEST, _OTHER)):
            shutil.copy(file, folder)


def _edit(change: Callable[[dict[str, Any]], object]) -> Mutate:
    """A change of the newest manifest that leaves any checksum in it as it was."""

    def changed(content: bytes) -> bytes:
        manifest = json.loads(content)
        change(manifest)
        return as_json(manifest)

    return with_content(_FILE, changed)


def _with_file(name: str, size: Any = 0, sha256: Any = "0" * 64) -> Mutate:
    return _edit(lambda m: m["files"].update({name: {"size": size, "sha256": sha256}}))


def _copied(*names: str) -> Mutate:
    """Files of the newest checkpoint under the name of a newer one."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        for name in names:
            shutil.copy(folder / name, folder / name.replace(_NEWEST, "epoch_9"))
        return Mutated(f"epoch_9{_MANIFEST}", "")

    return mutate


def _with_pipe(folder: Path, dice: random.Random) -> Mutated:
    os.mkfifo(folder / "pipe")
    return _with_file("pipe")(folder, dice)


def _with_device(folder: Path, dice: random.Random) -> Mutated:
    (folder / "latest.pdema").symlink_to("/dev/zero")
    return _with_file("latest.pdema")(folder, dice)


def _with_ready(content: bytes) -> Mutate:
    """A save that was interrupted, with this manifest."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        ready = folder / f".{_NEWEST}.ready"
        ready.mkdir()
        (ready / _FILE).write_bytes(content)
        return Mutated(_FILE, "")

    return mutate


def _set(*path: str, to: Any) -> Mutate:
    def change(manifest: dict[str, Any]) -> None:
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = to

    return _edit(change)


_SPECIAL: dict[str, Mutate] = {
    **{
        f"{key} -> {value!r:.30}": _set("state", key, to=value)
        for key, values in {
            "epoch": (1, 3, 999, True, -1, 1.5, "2", None, [2], 10**400, float("nan")),
            "steps": (1, 999, -1, "0", None, [0], {}, 2**64),
            "trained": (True, 0, "false", None),
            "steps_per_epoch": (0, 2, -1, 1e300, "1", None),
            "global_step": (0, 1, -1, "2", None, 2**64),
            "processes": (0, 2, -1, "1", None),
            "seed": (43, None, "42", 2**64, -1, 1.5),
            "metric": (float("nan"), "0.1", None, [0.1], 1e999),
            "best": ([], 0, {"metric": "x"}, {"epoch": 1}, {"metric": None, "epoch": None}),
            "scaler": (None, [], {"scale": "x"}, {"x": [0] * 1000}),
        }.items()
        for value in values
    },
    **{
        f"{key} -> {value!r:.30}": _set(key, to=value)
        for key, values in {
            "format": (0, 2, 3, 1.0, "1", True, None, 1e400, [1], {}),
            "state": (None, [], "x", {}, 1, {"epoch": 2}, [["epoch", 2]]),
            "files": (None, [], {}, "x", 1, {"x": None}, {"latest.pdparams": {}}, [["a", {}]]),
        }.items()
        for value in values
    },
    **{
        f"files: {name!r}": _with_file(name)
        for name in (
            *("", ".", "..", "/dev/zero", "/dev/stdin", "/etc/passwd", "../x", "a/../../x"),
            *("a\0b", "\udce9", "x" * 5000, "C:\\x", "//x", "a" * 255 + "/" + "b" * 255, "\n"),
        )
    },
    "files: a pipe": _with_pipe,
    "files: a device": _with_device,
    "files: size is text": _with_file("latest.pdema", "0"),
    "files: sizes of all are null": _edit(
        lambda m: [entry.update(size=None) for entry in m["files"].values()]
    ),
    "files: no size": _edit(lambda m: [entry.pop("size") for entry in m["files"].values()]),
    "files: no sha256": _edit(lambda m: [entry.pop("sha256") for entry in m["files"].values()]),
    "files: no .pdparams": _edit(lambda m: m["files"].pop(_DATA[0])),
    "files: no .pdopt": _edit(lambda m: m["files"].pop(_DATA[1])),
    "files: 100,000 of them": _edit(
        lambda m: m["files"].update({f"latest.{i}": {"size": 0} for i in range(100_000)})
    ),
    "a manifest under another name": _copied(_FILE),
    "a checkpoint under another name": _copied(_FILE, *_DATA),
    "the files of another checkpoint": _edit(
        lambda m: m.update(
            files={name.replace(_NEWEST, _OTHER): entry for name, entry in m["files"].items()}
        )
    ),
    "no manifest but a list": with_content(_FILE, b"[]"),
    "no manifest but a number": with_content(_FILE, b"1"),
    "no manifest but NaN": with_content(_FILE, b"NaN"),
    "a number of a million digits": with_content(
        _FILE, lambda content: content.replace(b'"epoch": 2', b'"epoch": ' + b"9" * 1_000_000)
    ),
    "lists 100,000 deep": with_content(_FILE, b"[" * 100_000),
    "mappings 100,000 deep": with_content(_FILE, b'{"a":' * 100_000),
    "a deep list in a key": with_content(_FILE, with_deep_json),
    "a key twice": with_content(
        _FILE, lambda content: content.replace(b'"state"', b'"state": {"epoch": 1}, "state"', 1)
    ),
    "an epoch twice": with_content(
        _FILE, lambda content: content.replace(b'"epoch": 2', b'"epoch": 2, "epoch": 1', 1)
    ),
    "3 million values": with_content(_FILE, b"[" + b"0," * 3_000_000 + b"0]"),
    **{
        f"half saved: {content[:20]!r}": _with_ready(content)
        for content in (b"", b"[]", b"1", b"null", b"{}", b'{"files": 1}', b'{"files": {"a": 1}}')
    },
    "half saved: files outside": _with_ready(
        b'{"files": {"/etc/x": {}, "../x": {}, "a\\u0000": {}}}'
    ),
    "half saved: nested deep": _with_ready(b'{"files":' + b"[" * 100_000),
    **all_places(_FILE, *_DATA),
}


def _as_format_1(content: bytes) -> bytes:
    """The manifest as version 0.1 writes it, without a checksum of its own."""
    manifest = json.loads(content)
    state = {k: v for k, v in manifest["state"].items() if k != "settings"}
    return as_json({"format": 1, "state": state, "files": manifest["files"]})


def _mutate(folder: Path, dice: random.Random) -> Mutated | None:
    kind = dice.choice(["tree", "tree", "tree", "text", "bytes", "data"])
    file = dice.choice(_DATA) if kind == "data" else _FILE
    content = (folder / file).read_bytes()
    old = ""
    if kind in ("tree", "text") and dice.random() < 0.2:
        content, old = _as_format_1(content), "of format 1: "
    if kind == "tree":
        tree, what = mutate_tree(json.loads(content), dice)
        mutated = as_json(tree)
    elif kind == "text":
        mutated, what = mutate_text(content.decode(), dice)
    else:
        mutated, what = mutate_bytes(content, dice)
    if mutated == content:
        return None
    put(folder / file, mutated)
    return Mutated(file, old + what)


def _attempt(case: Case) -> tuple[str, str]:
    from paddleclas_eca.errors import UserError
    from paddleclas_eca.training.checkpoints import find_newest, read, recover

    said: list[str] = []
    recover(case.folder)
    newest = find_newest(case.folder, said.append)
    name = case.file.split(".")[0]
    try:
        state = read(case.folder / name).state
        accepted = True
    except UserError as error:
        said.append(str(error))
        accepted = False
    if newest is None or not accepted and newest.path.name == name:
        return WRONG, f"auto resumes from {newest}, and another checkpoint is whole"
    if not accepted:
        return HANDLED, said[-1]
    reason = _told(case, state)
    return (WRONG, reason) if reason else (HARMLESS, "it says the same")


def _told(case: Case, state: dict[str, Any]) -> str:
    """What tells that an accepted checkpoint is not as it was saved; or ``""``."""
    if case.file != _FILE:
        return "its files or its name are not those that were saved"
    try:
        saved, found = (
            strict_json((place / _FILE).read_bytes()) for place in (case.valid, case.folder)
        )
    except ValueError as error:
        return str(error)
    if json.dumps(saved, sort_keys=True) == json.dumps(found, sort_keys=True):
        return ""
    if found.get("format") == 1:
        # Without a checksum only the types can tell.
        wrong = unlike(saved["state"], state)
        negative = [
            k for k, v in state.items() if k != "seed" and type(v) in (int, float) and v < 0
        ]
        if found["files"] == saved["files"] and saved["format"] != 1:
            return "; ".join([*wrong, *negative])
    return f"the state is {state}"


def _warm() -> None:
    import paddleclas_eca.training.checkpoints  # noqa: F401


CAMPAIGN = Campaign(
    name="manifests",
    cases=1000,
    limits=Limits(memory=256 << 20, seconds=10),
    prepare=_prepare,
    special=_SPECIAL,
    mutate=_mutate,
    attempt=_attempt,
    warm=_warm,
)
