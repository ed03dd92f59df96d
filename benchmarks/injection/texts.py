"""Mutated label lists and configs, as ``paddleclas-eca check`` reads them."""

from __future__ import annotations

import contextlib
import io
import math
import random
import re
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
from .exports import laughs
from .inputs import CONFIG, NETWORK, data_overrides
from .mutations import mutate_bytes, mutate_text, mutate_tree, put
from .sandbox import Limits

_CONFIG, _LIST, _NAMES = "config.yaml", "digits/train_few.txt", "digits/label_list.txt"
_CODE = "__import__('os').system('touch hacked')"


def _prepare(base: Path, folder: Path) -> None:
    from paddleclas_eca.configs import read_config

    shutil.copytree(base / "digits", folder / "digits")
    overrides = [
        *data_overrides("digits"),
        f"Arch.name={NETWORK}",
        f"Infer.PostProcess.class_id_map_file={_NAMES}",
    ]
    config = read_config(CONFIG, overrides)[0]
    (folder / _CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))


def _text(old: str, new: str, file: str = _CONFIG) -> Mutate:
    return with_content(file, lambda content: content.replace(old.encode(), new.encode(), 1))


def _set(keys: str, value: Any) -> Mutate:
    def changed(content: bytes) -> bytes:
        config = yaml.safe_load(content)
        here = config
        *path, last = keys.split(".")
        for key in path:
            here = here[int(key) if isinstance(here, list) else key]
        here[last] = value
        return yaml.safe_dump(config, sort_keys=False).encode()

    return with_content(_CONFIG, changed)


_TRANSFORM = "DataLoader.Train.dataset.transform_ops.2.NormalizeImage"
_YAML: dict[str, Mutate] = {
    "a billion laughs": with_content(_CONFIG, laughs(9).encode()),
    "a billion laughs in a section": _text("Global:", laughs(9) + "x: [*a8]\nGlobal:"),
    "an alias in itself": _text("seed: 42", "seed: &x [*x]"),
    "a section in itself": _text("Global:", "Global: &x\n  y: *x"),
    "merged with itself": _text("Global:", "Global: &x\n  <<: *x"),
    "merged 1,000 times": _text(
        "Global:",
        "m0: &m0 {a: 1}\n"
        + "".join(f"m{n}: &m{n}\n  <<: [*m{n - 1}, *m{n - 1}]\n" for n in range(1, 30))
        + "Global:",
    ),
    "lists 100,000 deep": with_content(_CONFIG, b"[" * 100_000),
    "mappings 100,000 deep": with_content(_CONFIG, b"{a: " * 100_000),
    "indented 10,000 deep": with_content(
        _CONFIG, "".join(" " * n + "a:\n" for n in range(2000)).encode()
    ),
    "a million anchors": with_content(
        _CONFIG, b"".join(b"- &a%d x\n" % n for n in range(1_000_000))
    ),
    "200,000 anchors": with_content(_CONFIG, b"".join(b"- &a%d x\n" % n for n in range(200_000))),
    "50,000 keys": with_content(_CONFIG, b"".join(b"a%d: 1\n" % n for n in range(50_000))),
    "a key twice": _text("seed: 42", "seed: 42\n  seed: 43"),
    "a section twice": _text("Global:", "Loss: {}\nGlobal:"),
    "a Python object": _text("seed: 42", "seed: !!python/object/apply:os.system ['touch hacked']"),
    "a number of a million digits": _text("seed: 42", "seed: " + "9" * 1_000_000),
    "a number in base 60": _text("seed: 42", "seed: " + "9:" * 10_000 + "9"),
    "a date that is none": _text("seed: 42", "seed: 2026-99-99"),
    "two documents": _text("Global:", "---\na: 1\n---\nGlobal:"),
    "a list": with_content(_CONFIG, b"- 1\n"),
    "a text": with_content(_CONFIG, b"no config"),
    "a list as key": _text("seed: 42", "? [seed]\n  : 42"),
    "null as key": _text("seed: 42", "null: 42"),
    **{
        f"{keys} -> {value!r:.60}": _set(keys, value)
        for keys, values in {
            f"{_TRANSFORM}.scale": (
                _CODE,
                "1/0",
                "9**9**9",
                "1e999",
                "(1).__class__",
                ".nan",
                -1,
                [1],
            ),
            f"{_TRANSFORM}.mean": (_CODE, [_CODE] * 3, float("nan"), [0.5], None, True),
            f"{_TRANSFORM}.order": (_CODE, 1, [1]),
            "DataLoader.Train.dataset.name": (_CODE, "os.system", 1, None, ["ImageNetDataset"]),
            "DataLoader.Train.sampler.name": (_CODE, "exit", 1),
            "DataLoader.Train.sampler.batch_size": (0, -1, 1.5, "32", 10**9, 10**400, None, True),
            "DataLoader.Train.loader.num_workers": (-1, "0", 10**9, None),
            "DataLoader.Train.loader.batch_size": (1,),
            "DataLoader.Train.dataset.transform_ops": (None, "x", [_CODE], [None], [[]], {}, []),
            "DataLoader.Train.dataset.transform_ops.1.ResizeImage.size": (
                *(0, -1, 10**6, [10**6, 10**6], "32", [32], [32, 32, 32], None, _CODE, 1.5),
            ),
            "DataLoader.Train.dataset.image_root": (
                "a\0b",
                "/dev/zero",
                "x" * 300,
                None,
                1,
                "\udce9",
            ),
            "DataLoader.Train.dataset.cls_label_path": (
                "/dev/zero",
                "a\0b",
                "digits",
                None,
                [],
                "~",
            ),
            "Arch.name": (_CODE, "os.system", "", None, 1, "ECA_ResNet1", "x" * 100_000, "é"),
            "Arch.class_num": (0, -1, 9, 10**9, 10**400, "10", 1.5, None, True),
            "Arch.k_size": (0, 2, -1, 10**9, "3", _CODE, [3] * 1000, None),
            "Arch.pretrained": (_CODE, "missing", 1, [1], "/dev/zero", "file:///etc/passwd"),
            "Arch.attention": (_CODE, "none", 1, None, {}),
            "Arch.norm_layer": (_CODE,),
            "Arch.lr_mult_list": (_CODE, [_CODE]),
            "Arch.Neck": ({"name": _CODE},),
            "Arch.Head": ({"name": _CODE},),
            "Loss.Train": (
                None,
                [],
                [{_CODE: {}}],
                [{"CELoss": {"weight": "x"}}],
                {"CELoss": 1},
                "x",
            ),
            "Metric.Train": (None, [{_CODE: {}}], [{"TopkAcc": {"topk": 0}}], "x"),
            "Metric": (None, {}, {"Train": None}, []),
            "Optimizer.name": (_CODE, "os.system", None, 1),
            "Optimizer.momentum": ("x", -1, float("nan"), None, [1]),
            "Optimizer.lr": (None, _CODE, 0.1, {"name": _CODE}, {"name": "Cosine"}, []),
            "Optimizer.lr.learning_rate": (
                0,
                -1,
                float("nan"),
                float("inf"),
                "0.1",
                None,
                True,
                10**400,
            ),
            "Optimizer.lr.warmup_epoch": (-1, 10**9, "1", None, 1.5),
            "Optimizer.regularizer": (None, {"name": _CODE}, {"name": "L2", "coeff": "x"}, []),
            "Global.epochs": (0, -1, 1.5, "6", None, True, 10**400, float("inf")),
            "Global.device": (_CODE, "gpux", None, 1, "xpu", "GPU"),
            "Global.seed": ("42", -1, 2**64, 1.5, True, [1]),
            "Global.output_dir": ("/proc/x", "a\0b", None, 1, "/dev/null/x", "x" * 300),
            "Global.checkpoints": ("missing", 1, True, [], "a\0b"),
            "Global.image_shape": (
                None,
                [3],
                [3, 10**6, 10**6],
                "3,32,32",
                [3, -1, -1],
                [3, "32", 32],
            ),
            "Global.max_corrupt_images": (2, -1, "x", float("nan")),
            "Global.unknown": (1,),
            "Unknown": ({"a": 1},),
            "AMP": (None, [], {"use_amp": True, "level": "O3"}, {"use_amp": "yes"}),
            "AMP.scale_loss": (-1, 0, "x", float("inf")),
        }.items()
        for value in values
    },
}


def _lines(change: Callable[[list[bytes]], object]) -> Mutate:
    def changed(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        change(lines)
        return b"".join(lines)

    return with_content(_LIST, changed)


def _first(line: bytes) -> Mutate:
    return _lines(lambda lines: lines.insert(0, line + b"\n"))


_IMAGE = b"train/0/0000.png"
_LISTS: dict[str, Mutate] = {
    "one line of 100 MB": with_content(_LIST, b"x" * 100_000_000),
    "a million blank lines": _lines(lambda lines: lines.insert(0, b"\n" * 1_000_000)),
    "a million images that are missing": with_content(
        _LIST, b"".join(b"train/%d.png 1\n" % n for n in range(1_000_000))
    ),
    "spaces alone": with_content(_LIST, b" " * 10_000_000),
    "10 million NULs": with_content(_LIST, bytes(10_000_000)),
    "a line of 10 million spaces": _first(b"a" + b" " * 10_000_000 + b"b 1"),
    "a line of a million tabs": _first(b"a" + b" \t" * 500_000 + b"b"),
    **{
        f"a line {line[:40]!r}": _first(line)
        for line in (
            *(
                b"x",
                b"x y",
                b"1",
                b" 1",
                b"x 1.5",
                b"x 1e3",
                b"x -1",
                b"x 10",
                b"x 99999999999999999999",
            ),
            *(
                b"x " + b"9" * 1_000_000,
                b"x \xd9\xa3",
                b"x +1",
                b"x 0x1",
                b"x 1_0",
                b"x nan",
                b"x\x001 1",
            ),
            *(
                b"/dev/zero 1",
                b"/etc/passwd 1",
                b"../config.yaml 1",
                b". 1",
                b"train 1",
                b"\xff\xfe 1",
            ),
            *(
                b"x" * 5000 + b" 1",
                b"x\x0b1",
                b"x\xe2\x80\xa81",
                b"x\x1c1",
                b"x,1",
                b"x\t1\t2",
                b"# x 1",
            ),
        )
    },
    "a pipe in the list": lambda folder, dice: _with_special_image(folder, "pipe"),
    "a device in the list": lambda folder, dice: _with_special_image(folder, "zero"),
}


def _with_special_image(folder: Path, kind: str) -> Mutated:
    import os

    path = folder / "digits" / "special.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    content = (folder / _LIST).read_bytes()
    put(folder / _LIST, b"".join(b"special.png %d\n" % n for n in range(10)) + content)
    return Mutated(_LIST, "")


_SPECIAL: dict[str, Mutate] = {
    **all_places(_CONFIG, _LIST, _NAMES),
    **{f"config: {name}": mutate for name, mutate in _YAML.items()},
    **{f"list: {name}": mutate for name, mutate in _LISTS.items()},
}


def _mutate(folder: Path, dice: random.Random) -> Mutated | None:
    file = dice.choice([_CONFIG, _CONFIG, _LIST, _NAMES])
    content = (folder / file).read_bytes()
    kind = dice.choice(["tree", "tree", "text", "bytes"])
    if kind == "bytes":
        mutated, what = mutate_bytes(content, dice)
    elif kind == "text" or file != _CONFIG:
        mutated, what = mutate_text(content.decode(), dice)
    else:
        tree, what = mutate_tree(yaml.safe_load(content), dice)
        mutated = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode(
            "utf-8", "surrogateescape"
        )
    if mutated == content:
        return None
    put(folder / file, mutated)
    return Mutated(file, what)


def _attempt(case: Case) -> tuple[str, str]:
    from paddleclas_eca.cli import main

    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        code = main(["check", "-c", str(case.folder / _CONFIG)])
    said = f"{printed.getvalue()}{errors.getvalue()}"
    print(said)
    if (case.folder / "hacked").exists():
        return WRONG, "it ran code"
    if code or not re.search(r"\b0 errors, 0 warnings", said):
        return HANDLED, said.strip()
    reason = _told(case)
    return (WRONG, reason) if reason else (HARMLESS, "other values of the same types")


def _told(case: Case) -> str:
    """What tells that a config or a list is wrong; or ``""``.

    Of the images of a list, check opens a sample only.
    """
    saved, found = ((place / case.file).read_bytes() for place in (case.valid, case.folder))
    if case.file == _CONFIG:
        try:
            return "; ".join(_not_numbers(yaml.safe_load(saved), yaml.safe_load(found)))
        except (ValueError, yaml.YAMLError) as error:
            return str(error)
    text = found.decode("utf-8-sig", "surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if case.file == _NAMES:
        ids = [line.split(" ")[0] for line in lines]
        return (
            "" if len(ids) == len(set(ids)) and all(map(str.isdigit, ids)) else "a line is no name"
        )
    for line in lines:
        _, _, label = re.sub(r"\s+(?=\S+$)", "\0", line).partition("\0")
        if not (re.fullmatch(r"\+?[0-9]+", label) and int(label) < 10):
            return f"{line[:100]!r} has no label below 10"
    return "" if lines else "it has no line"


def _not_numbers(saved: Any, found: Any) -> list[str]:
    """Texts, NaN and infinity where there were numbers; of bits PaddleClas takes the truth."""
    if isinstance(saved, dict) and isinstance(found, dict):
        pairs = [(saved[key], found[key]) for key in saved if key in found]
    elif isinstance(saved, list) and isinstance(found, list):
        pairs = list(zip(saved, found))
    else:
        try:
            # PaddleClas computes with the text of a number, too.
            odd = isinstance(found, (float, str)) and not math.isfinite(float(found))
        except ValueError:
            odd = True
        number = isinstance(saved, (int, float)) and not isinstance(saved, bool)
        return [f"{saved!r} -> {found!r:.80}"] if number and odd else []
    return [wrong for pair in pairs for wrong in _not_numbers(*pair)]


def _warm() -> None:
    import cv2  # noqa: F401

    import paddleclas_eca.cli.check

    paddleclas_eca.register()
    import paddleclas_eca.hosts.paddleclas.config_check  # noqa: F401


CAMPAIGN = Campaign(
    name="texts",
    cases=500,
    limits=Limits(memory=1 << 30, seconds=20),
    prepare=_prepare,
    special=_SPECIAL,
    mutate=_mutate,
    attempt=_attempt,
    warm=_warm,
    command=("check", "-c", _CONFIG),
)
