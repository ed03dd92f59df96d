"""Archives in the format of CIFAR-10's python version, with images of noise."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

TRAIN_BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
BATCHES = [*TRAIN_BATCHES, "test_batch"]


def make_batches(images_per_batch: int) -> dict[str, dict]:
    """Content of the six batches, with interleaved classes."""
    random = np.random.default_rng(0)
    return {
        name: {
            "batch_label": f"noise of {name}",
            "labels": [i % 10 for i in range(images_per_batch)],
            "data": random.integers(0, 256, (images_per_batch, 3072), dtype=np.uint8),
            "filenames": [f"noise_{i}.png" for i in range(images_per_batch)],
        }
        for name in BATCHES
    }


def pickle_of_python_2(batch: Mapping) -> bytes:
    """A batch as Python 2 and its NumPy wrote the official ones, opcode by opcode."""

    def text(value: str | bytes) -> bytes:
        value = value.encode() if isinstance(value, str) else value
        return b"T" + len(value).to_bytes(4, "little") + value

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    data = batch["data"]
    dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text("|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b")
    array += b"\x87R(K\x01" + number(data.shape[0]) + number(data.shape[1]) + b"\x86" + dtype
    array += b"\x89" + text(data.tobytes()) + b"tb"
    entries = {
        "data": array,
        "labels": b"](" + b"".join(map(number, batch["labels"])) + b"e",
        "batch_label": text(batch["batch_label"]),
        "filenames": b"](" + b"".join(map(text, batch["filenames"])) + b"e",
    }
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in entries.items()) + b"u."


def pickle_of_python_3(batch: Mapping) -> bytes:
    """The same by today's Python, with the keys as bytes."""
    return pickle.dumps({key.encode(): value for key, value in batch.items()})


def write_archive(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar.gz file with these members in the directory that the official one has."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
