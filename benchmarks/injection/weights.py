"""Mutated weight files: pickles of Paddle, zip archives and older files of PyTorch, safetensors.

Half of the cases load the file into a network, if it is Paddle's; the others convert it, as
``paddleclas-eca convert`` does.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

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
from .inputs import NETWORK, RUN
from .mutations import as_json, mutate_bytes, mutate_tree, put
from .pickles import PICKLES, mutate_opcodes
from .sandbox import Limits

PADDLE, ZIP, LEGACY, SAFETENSORS = FILES = (
    "weights.pdparams",
    "weights.pth",
    "legacy.pth",
    "weights.safetensors",
)


def _prepare(base: Path, folder: Path) -> None:
    shutil.copy(base / RUN / "latest.pdparams", folder / PADDLE)
    for name in FILES[1:]:
        shutil.copy(base / name, folder)


# Zip archives.


def _rezipped(
    content: bytes, change: Callable[[dict[str, bytes]], object], **options: int
) -> bytes:
    """An archive with other entries, whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _entry(entries: dict[str, bytes], ending: str) -> str:
    return next(name for name in entries if name.endswith(ending))


def _with_zip(change: Callable[[dict[str, bytes]], object], **options: int) -> Mutate:
    return with_content(ZIP, lambda content: _rezipped(content, change, **options))


def _with_pickle(data: bytes) -> Mutate:
    return _with_zip(lambda entries: entries.update({_entry(entries, "data.pkl"): data}))


def _saved(make: Callable[[], object], zipped: bool = True) -> Mutate:
    """What torch saves of a value."""

    def mutate(folder: Path, dice: random.Random) -> Mutated:
        import torch

        packed = io.BytesIO()
        torch.save(make(), packed, _use_new_zipfile_serialization=zipped)
        file = ZIP if zipped else LEGACY
        put(folder / file, packed.getvalue())
        return Mutated(file, "")

    return mutate


def _views(count: int, values: int) -> dict[str, object]:
    """Tensors of very many values that all are one number."""
    import torch

    return {f"layer{i}.weight": torch.zeros(1).expand(values) for i in range(count)}


def _tensor(make: str) -> Callable[[], dict[str, object]]:
    def made() -> dict[str, object]:
        import torch

        return {"fc.weight": eval(make, {"torch": torch})}  # noqa: S307 (texts of this file)

    return made


_GIGABYTE = bytes(1 << 30)
_TORCH: dict[str, Mutate] = {
    "a pickle of a gigabyte": _with_zip(
        lambda e: e.update({_entry(e, "data.pkl"): e[_entry(e, "data.pkl")] + _GIGABYTE}),
        compression=zipfile.ZIP_DEFLATED,
    ),
    "a tensor of a gigabyte": _with_zip(
        lambda e: e.update({_entry(e, "data/0"): _GIGABYTE}), compression=zipfile.ZIP_DEFLATED
    ),
    "an entry of a gigabyte that nothing needs": _with_zip(
        lambda e: e.update({"archive/x": _GIGABYTE}), compression=zipfile.ZIP_DEFLATED
    ),
    "compressed": _with_zip(lambda e: None, compression=zipfile.ZIP_DEFLATED),
    "no pickle": _with_zip(lambda e: e.pop(_entry(e, "data.pkl"))),
    "no tensors": _with_zip(lambda e: e.pop(_entry(e, "data/0"))),
    "a short tensor": _with_zip(lambda e: e.update({_entry(e, "data/0"): b"x"})),
    "big-endian": _with_zip(lambda e: e.update({_entry(e, "byteorder"): b"big"})),
    "another byte order": _with_zip(lambda e: e.update({_entry(e, "byteorder"): b"x"})),
    "a version of 10^9": _with_zip(lambda e: e.update({_entry(e, "version"): b"1000000000"})),
    "a TorchScript archive": _with_zip(
        lambda e: e.update({"archive/constants.pkl": b"\x80\x02)."})
    ),
    "100,000 entries": _with_zip(
        lambda e: e.update({f"archive/x{i}": b"" for i in range(100_000)})
    ),
    "names outside": _with_zip(lambda e: e.update({"../../x": b"", "/x": b""})),
    "an empty archive": _with_zip(lambda e: e.clear()),
    "40 views of 200 million values": _saved(lambda: _views(40, 200_000_000)),
    "40 views of 200 million values, older": _saved(lambda: _views(40, 200_000_000), zipped=False),
    "a view of 2^40 values": _saved(lambda: _views(1, 2**40)),
    "30,000 views of a million values": _saved(lambda: _views(30_000, 1_000_000)),
    **{
        f"{what}{', older' * (not zipped)}": _saved(_tensor(text), zipped)
        for what, text in {
            "a sparse tensor": "torch.sparse_coo_tensor([[0], [0]], [1.0], (2**30, 2**30))",
            "a sparse CSR tensor": "torch.eye(3).to_sparse_csr()",
            "a quantised tensor": "torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.quint8)",
            "complex numbers": "torch.ones(3, dtype=torch.complex64)",
            "bits": "torch.ones(3, dtype=torch.bool)",
            "half precision": "torch.ones(3, dtype=torch.float16)",
            "a parameter": "torch.nn.Parameter(torch.ones(3))",
            "a meta tensor": "torch.ones(2**40, device='meta')",
            "an empty tensor": "torch.ones(0, 2**40)",
            "no dimensions": "torch.tensor(1.0)",
            "a module": "torch.nn.Linear(2, 2)",
            "a size": "torch.Size([2**40])",
            "a conjugate view": "torch.ones(3, dtype=torch.complex64).conj()",
            "a negative view": "torch._neg_view(torch.ones(3))",
            "eight bits": "torch.ones(3).to(torch.float8_e4m3fn)",
        }.items()
        for zipped in (True, False)
    },
}

# safetensors: the length of a header, a header in JSON, and the values.


def _parts(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header: bytes, values: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + values


def _with_header(header: bytes, length: int | None = None) -> Mutate:
    def change(content: bytes) -> bytes:
        joined = _joined(header, _parts(content)[1])
        return joined if length is None else length.to_bytes(8, "little") + joined[8:]

    return with_content(SAFETENSORS, change)


def _one(dtype: str, shape: list[int], start: int, end: int) -> Mutate:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return with_content(SAFETENSORS, _joined(json.dumps({"fc.weight": entry}).encode(), bytes(64)))


_SAFETENSORS: dict[str, Mutate] = {
    "lists 100,000 deep": _with_header(b'{"a":' + b"[" * 100_000),
    "mappings 100,000 deep": _with_header(b'{"a":' * 100_000),
    "no JSON": _with_header(b"{x"),
    "an empty header": _with_header(b"{}"),
    "a key twice": _with_header(b'{"__metadata__": {}, "__metadata__": {}}'),
    "a header of 2^62 bytes": _with_header(b"{}", 2**62),
    "a header of all the file": _with_header(b"{" + b" " * 100, 10**6),
    "metadata of numbers": _with_header(b'{"__metadata__": {"a": 1}}'),
    "a million names": _with_header(
        json.dumps(
            {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(10**6)}
        ).encode()
    ),
    "a shape of 2^40": _one("F32", [2**40], 0, 64),
    "a shape beyond 2^64": _one("F32", [2**40, 2**40], 0, 64),
    "a shape of 0 x 2^60": _one("F32", [0, 2**60], 0, 64),
    "a negative shape": _one("F32", [-16], 0, 64),
    "a shape of fractions": _one("F32", [16.5], 0, 64),
    "no values": _one("F32", [16], 0, 0),
    "values beyond the end": _one("F32", [1016], 0, 4064),
    "values that end before they begin": _one("F32", [16], 64, 0),
    "an unknown type": _one("F33", [16], 0, 64),
    "values that nothing names": _one("F32", [15], 0, 60),
    "complex numbers": _one("C64", [8], 0, 64),
    "four bits": _one("F4", [128], 0, 64),
    "eight bits": _one("F8_E4M3", [64], 0, 64),
    "bits": _one("BOOL", [64], 0, 64),
}

_SPECIAL: dict[str, Mutate] = {
    **all_places(*FILES),
    **{f"pickle: {name}": with_content(PADDLE, data) for name, data in PICKLES.items()},
    **{f"zip: {name}": _with_pickle(data) for name, data in PICKLES.items()},
    **_TORCH,
    **{f"safetensors: {name}": mutate for name, mutate in _SAFETENSORS.items()},
    "the file of another format": with_content(PADDLE, b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": 1}'),
    "a web page": with_content(PADDLE, b"<!DOCTYPE html><html>404</html>"),
    "a pointer of Git LFS": with_content(PADDLE, b"version https://git-lfs.github.com/spec/v1\n"),
}


def _mutate(folder: Path, dice: random.Random) -> Mutated | None:
    file = dice.choice(FILES)
    content = (folder / file).read_bytes()
    structured = dice.random() < 0.5
    if file == PADDLE and structured:
        mutated, what = mutate_opcodes(content, dice)
    elif file == ZIP and structured:
        done: list[str] = []

        def change(entries: dict[str, bytes]) -> None:
            name = _entry(entries, "data.pkl")
            entries[name], what = mutate_opcodes(entries[name], dice)
            done.append(what)

        mutated = _rezipped(content, change)
        what = f"{done[0]} in the archive"
    elif file == SAFETENSORS and structured:
        header, values = _parts(content)
        tree, what = mutate_tree(header, dice)
        mutated = _joined(as_json(tree), values)
    else:
        mutated, what = mutate_bytes(content, dice)
    if mutated == content:
        return None
    put(folder / file, mutated)
    return Mutated(file, what)


def _attempt(case: Case) -> tuple[str, str]:
    from paddleclas_eca import create_model
    from paddleclas_eca.errors import UserError
    from paddleclas_eca.weights import convert_file
    from paddleclas_eca.weights.pretrained import load_weights

    try:
        if case.file == PADDLE and case.dice.random() < 0.5:
            report = load_weights(create_model(NETWORK, class_num=10), str(case.path))
            if not report.complete:
                return HANDLED, str(report)
        else:
            convert_file(case.path, NETWORK, case.folder / "converted.pdparams")
    except UserError as error:
        return HANDLED, str(error)
    if (case.folder / "hacked").exists():
        return WRONG, "it ran code"
    reason = _told(case.file, case.path.read_bytes())
    return (WRONG, reason) if reason else (HARMLESS, "at most values differ")


def _told(file: str, content: bytes) -> str:
    """What tells that a file is not as it was written; or ``""``.

    The names and shapes of its tensors are right. Pickles and safetensors have no checksum of
    values.
    """
    if file == ZIP:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                wrong = archive.testzip()
        except Exception as error:
            return f"the archive is damaged: {error}"
        return f"the checksum of {wrong} is wrong" if wrong else ""
    stream = io.BytesIO(content)
    if file == PADDLE:
        for _ in pickletools.genops(stream):
            pass
    elif file == LEGACY:
        # Number, protocol and system, then the tensors and the keys of their values.
        for _ in range(4):
            for _ in pickletools.genops(stream):
                pass
        for _ in pickle.load(stream):
            count = int.from_bytes(stream.read(8), "little")
            stream.seek(4 * count, io.SEEK_CUR)
    else:
        return ""
    left = len(content) - stream.tell()
    return f"{left} bytes are behind its end" if left else ""


def _warm() -> None:
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401

    import paddleclas_eca.weights.conversion
    import paddleclas_eca.weights.pretrained  # noqa: F401


CAMPAIGN = Campaign(
    name="weights",
    cases=1000,
    limits=Limits(memory=512 << 20, seconds=10),
    prepare=_prepare,
    special=_SPECIAL,
    mutate=_mutate,
    attempt=_attempt,
    warm=_warm,
    command=("convert", "{}", "--model", NETWORK, "--output", "command.pdparams"),
)
