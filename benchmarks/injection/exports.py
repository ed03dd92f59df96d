"""Mutated folders of exported models, as the ``Predictor`` reads them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

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
from .inputs import EXPORTED
from .judging import strict_json, unlike
from .mutations import (
    as_json,
    mutate_bytes,
    mutate_text,
    mutate_tree,
    put,
    with_deep_json,
)
from .sandbox import Limits

PROGRAM, WEIGHTS, ONNX = "inference.json", "inference.pdiparams", "inference.onnx"
DESCRIPTION, METADATA = "inference.yml", "metadata.json"
_IMAGE = "image.png"
_LIST = "label_list:"


def _prepare(base: Path, folder: Path) -> None:
    shutil.copytree(base / EXPORTED, folder / EXPORTED)
    shutil.copy(next((base / "digits" / "val").rglob("*.png")), folder / _IMAGE)


def _in(file: str) -> str:
    return f"{EXPORTED}/{file}"


def _text(file: str, old: str, new: str) -> Mutate:
    return with_content(_in(file), lambda content: content.replace(old.encode(), new.encode(), 1))


def _metadata(change: Callable[[dict[str, Any]], object]) -> Mutate:
    def changed(content: bytes) -> bytes:
        metadata = json.loads(content)
        change(metadata)
        return as_json(metadata)

    return with_content(_in(METADATA), changed)


def laughs(levels: int) -> str:
    """Aliases of aliases: a short text for 10 to the power of ``levels`` values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def _swapped(one: str, other: str) -> Mutate:
    def mutate(folder: Path, dice: random.Random) -> Mutated:
        shutil.copy(folder / _in(other), folder / "kept")
        put(folder / _in(one), (folder / "kept").read_bytes())
        return Mutated(_in(one), "")

    return mutate


_YAML: dict[str, Mutate] = {
    f"{DESCRIPTION}: {name}": mutate
    for name, mutate in {
        "a billion laughs": with_content(_in(DESCRIPTION), laughs(9).encode()),
        "a billion laughs as names": _text(
            DESCRIPTION, "Global:", laughs(9) + "names: [*a8]\nGlobal:"
        ),
        "an alias in itself": _text(DESCRIPTION, "label_list:", "label_list: &x\n    - *x"),
        "a mapping in itself": _text(DESCRIPTION, "Topk:", "Topk: &x\n    y: *x"),
        "merged with itself": _text(DESCRIPTION, "Topk:", "Topk: &x\n    <<: *x"),
        "lists 100,000 deep": with_content(_in(DESCRIPTION), b"[" * 100_000),
        "mappings 100,000 deep": with_content(_in(DESCRIPTION), b"{a: " * 100_000),
        "indented 10,000 deep": with_content(
            _in(DESCRIPTION), "".join(" " * n + "a:\n" for n in range(10_000)).encode()
        ),
        "a million anchors": with_content(
            _in(DESCRIPTION), b"".join(b"- &a%d x\n" % n for n in range(1_000_000))
        ),
        "a Python object": _text(
            DESCRIPTION, "topk: 3", "topk: !!python/object/apply:os.system ['touch hacked']"
        ),
        "a date": _text(DESCRIPTION, "- three", "- 2026-11-28"),
        "a time": _text(DESCRIPTION, "topk: 3", "topk: 2026-99-99"),
        "a number in base 60": _text(DESCRIPTION, "topk: 3", "topk: " + "9:" * 10_000 + "9"),
        "a number of a million digits": _text(DESCRIPTION, "topk: 3", "topk: " + "9" * 1_000_000),
        "bytes": _text(DESCRIPTION, "- three", "- !!binary aGFsbG8="),
        "a set": _text(DESCRIPTION, "- three", "- !!set {a}"),
        "a list as key": _text(DESCRIPTION, "topk: 3", "? [topk]\n    : 3"),
        "two documents": _text(DESCRIPTION, "Global:", "---\na: 1\n---\nGlobal:"),
        "a key twice": _text(DESCRIPTION, "topk: 3", "topk: 3\n    topk: 1"),
        "a name twice": _text(DESCRIPTION, "- three", "- three\n    - three"),
        "a name less": _text(DESCRIPTION, "    - three\n", ""),
        "no names": _text(DESCRIPTION, _LIST, "names:"),
        "names are null": _text(DESCRIPTION, _LIST, "label_list: null\n    x:"),
        "a million names": _text(DESCRIPTION, _LIST, _LIST + "\n    - x" * 1_000_000),
        "topk of 0": _text(DESCRIPTION, "topk: 3", "topk: 0"),
        "topk of -1": _text(DESCRIPTION, "topk: 3", "topk: -1"),
        "topk of 1.5": _text(DESCRIPTION, "topk: 3", "topk: 1.5"),
        "topk is true": _text(DESCRIPTION, "topk: 3", "topk: true"),
        "topk is text": _text(DESCRIPTION, "topk: 3", "topk: '3'"),
        "topk without end": _text(DESCRIPTION, "topk: 3", "topk: .inf"),
        "images of 10^6 pixels a side": _text(
            DESCRIPTION, "- 32\n      - 32", "- 1000000\n      - 1000000"
        ),
        "images of 10^9 x 1": _text(DESCRIPTION, "- 32\n      - 32", "- 1000000000\n      - 1"),
        "images of 0": _text(DESCRIPTION, "- 32\n      - 32", "- 0\n      - 0"),
        "images of 32.5": _text(DESCRIPTION, "- 32\n      - 32", "- 32.5\n      - 32"),
        "images of 16": _text(DESCRIPTION, "- 32\n      - 32", "- 16\n      - 16"),
        "a short side of 10^6": _text(
            DESCRIPTION, "size:\n      - 32\n      - 32", "resize_short: 1000000"
        ),
        "a mean of NaN": _text(DESCRIPTION, "- 0.485", "- .nan"),
        "a mean of 10^400": _text(DESCRIPTION, "- 0.485", "- " + "9" * 400),
        "a mean of text": _text(DESCRIPTION, "- 0.485", "- '0.485'"),
        "a mean of true": _text(DESCRIPTION, "- 0.485", "- true"),
        "a mean of four": _text(DESCRIPTION, "- 0.485", "- 0.485\n      - 0.5"),
        "a std of 0": _text(DESCRIPTION, "- 0.229", "- 0"),
        "a std of infinity": _text(DESCRIPTION, "- 0.229", "- .inf"),
        "a scale of code": _text(DESCRIPTION, "0.00392156862745098", "open('hacked','w')"),
        "a scale of NaN": _text(DESCRIPTION, "0.00392156862745098", ".nan"),
        "four channels": _text(DESCRIPTION, "channel_num: 3", "channel_num: 4"),
        "a step twice": _text(
            DESCRIPTION, "- ToCHWImage: null", "- ToCHWImage: null\n  - ToCHWImage: null"
        ),
        "a step of two names": _text(
            DESCRIPTION, "- ToCHWImage: null", "- ToCHWImage: null\n    Pad: {padding: 1}"
        ),
        "a pad of 10^6": _text(
            DESCRIPTION, "- ToCHWImage: null", "- Pad: {padding: 1000000}\n  - ToCHWImage: null"
        ),
        "100,000 steps": _text(
            DESCRIPTION,
            "- ToCHWImage: null",
            "- ToCHWImage: null" + "\n  - ToCHWImage: null" * 100_000,
        ),
        "an unknown step": _text(DESCRIPTION, "- ToCHWImage", "- DecodeFile"),
        "steps are null": _text(DESCRIPTION, "transform_ops:", "transform_ops: null\n  x:"),
    }.items()
}
_JSON: dict[str, Mutate] = {
    f"{file}: {name}": with_content(_in(file), content)
    for file in (METADATA, PROGRAM)
    for name, content in {
        "lists 100,000 deep": b"[" * 100_000,
        "mappings 100,000 deep": b'{"a":' * 100_000,
        "a deep list in a key": with_deep_json,
        "a list": b"[]",
        "null": b"null",
        "an empty mapping": b"{}",
        "a number": b"1",
        "no JSON": b"{x",
        "a number of a million digits": b'{"format": ' + b"9" * 1_000_000 + b"}",
        "a text of 40 MB": b'{"format": "' + b"x" * 40_000_000 + b'"}',
        "ten million values": b"[" + b"0," * 10_000_000 + b"0]",
    }.items()
}
_METADATA: dict[str, Mutate] = {
    f"{METADATA}: {name}": _metadata(change)
    for name, change in {
        "a shape of 10^6": lambda m: m["input"].update(shape=[None, 3, 10**6, 10**6]),
        "a negative shape": lambda m: m["input"].update(shape=[None, -3, 32, 32]),
        "a shape of text": lambda m: m["input"].update(shape=[None, "3", "32", "32"]),
        "a shape of fractions": lambda m: m["input"].update(shape=[None, 3, 32.7, 32]),
        "a short shape": lambda m: m["input"].update(shape=[None, 3, 32]),
        "a shape of infinity": lambda m: m["input"].update(shape=[None, 3, float("inf"), 32]),
        "an unknown activation": lambda m: m["output"].update(activation="tanh"),
        "11 classes": lambda m: m.update(classes=11),
        "classes of text": lambda m: m.update(classes="10"),
        "10^400 classes": lambda m: m.update(classes=10**400),
        "another format": lambda m: m.update(format=99),
        "the format is true": lambda m: m.update(format=True),
        "the model is null": lambda m: m.update(model=None),
        "an unknown decoder": lambda m: m["decode"].update(backend="os"),
        "an unknown option of the decoder": lambda m: m["decode"].update(x=1),
        "the decoder is a list": lambda m: m.update(decode=[["to_rgb", True]]),
        "channels reversed by text": lambda m: m["decode"].update(to_rgb="no"),
    }.items()
}
_SPECIAL: dict[str, Mutate] = {
    **all_places(*map(_in, (PROGRAM, WEIGHTS, DESCRIPTION, METADATA))),
    **_YAML,
    **_JSON,
    **_METADATA,
    **{
        f"{other} as {one}": _swapped(one, other)
        for one in (PROGRAM, WEIGHTS, ONNX, DESCRIPTION, METADATA)
        for other in (PROGRAM, WEIGHTS, ONNX, METADATA)
        if one != other
    },
}


def _mutate(folder: Path, dice: random.Random) -> Mutated | None:
    file = dice.choice([PROGRAM, WEIGHTS, ONNX, DESCRIPTION, DESCRIPTION, METADATA, METADATA])
    content = (folder / _in(file)).read_bytes()
    kind = dice.choice(["tree", "tree", "text", "bytes"])
    if kind == "bytes" or file in (WEIGHTS, ONNX):
        mutated, what = mutate_bytes(content, dice)
    elif kind == "text":
        mutated, what = mutate_text(content.decode(), dice)
    elif file == DESCRIPTION:
        tree, what = mutate_tree(yaml.safe_load(content), dice)
        mutated = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode(
            "utf-8", "surrogateescape"
        )
    else:
        tree, what = mutate_tree(json.loads(content), dice)
        mutated = as_json(tree)
    if mutated == content:
        return None
    put(folder / _in(file), mutated)
    return Mutated(_in(file), what)


def _attempt(case: Case) -> tuple[str, str]:
    import numpy as np

    from paddleclas_eca import Predictor
    from paddleclas_eca.errors import UserError

    backend = "onnxruntime" if case.file.endswith(ONNX) else "paddle"
    try:
        predictor = Predictor(case.folder / EXPORTED, backend=backend)
        [found] = predictor.predict([case.folder / _IMAGE])
    except UserError as error:
        return HANDLED, str(error)
    if (case.folder / "hacked").exists():
        return WRONG, "it ran code"
    if not np.isfinite(found.scores).all():
        return WRONG, f"scores {found.scores}"
    reason = _told(case)
    if reason:
        # Of what nothing reads, nobody can tell.
        [right] = Predictor(case.valid / EXPORTED, backend=backend).predict([case.folder / _IMAGE])
        reason = reason if found != right else ""
    return (WRONG, reason) if reason else (HARMLESS, "values that any export may have")


def _told(case: Case) -> str:
    """What tells that the folder is not as it was exported; or ``""``.

    Users may edit the names and the steps in the description.
    """
    saved, found = ((place / case.file).read_bytes() for place in (case.valid, case.folder))
    name = Path(case.file).name
    if name in (PROGRAM, WEIGHTS, ONNX):
        return f"the SHA-256 of {name}"
    try:
        read = yaml.safe_load if name == DESCRIPTION else strict_json
        wrong = unlike(_typed(read(saved)), _typed(read(found)))
    except (ValueError, yaml.YAMLError) as error:
        return str(error)
    return "; ".join(wrong)


# The names of classes, and null for a network without softmax.
_OF_ANY_TYPE = ("label_list", "activation")


def _typed(value: Any) -> Any:
    """The values without those that may be of several types."""
    if isinstance(value, dict):
        return {key: _typed(entry) for key, entry in value.items() if key not in _OF_ANY_TYPE}
    return [_typed(entry) for entry in value] if isinstance(value, list) else value


def _warm() -> None:
    import cv2  # noqa: F401
    import onnxruntime  # noqa: F401
    from paddle import inference  # noqa: F401

    import paddleclas_eca

    paddleclas_eca.Predictor  # noqa: B018 (imported when it is asked for)


CAMPAIGN = Campaign(
    name="exports",
    cases=500,
    limits=Limits(memory=1 << 30, seconds=20),
    prepare=_prepare,
    special=_SPECIAL,
    mutate=_mutate,
    attempt=_attempt,
    warm=_warm,
    command=("predict", EXPORTED, _IMAGE),
)
