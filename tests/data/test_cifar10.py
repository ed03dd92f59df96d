from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cifar10_archive import (
    TRAIN_BATCHES,
    make_batches,
    pickle_of_python_2,
    pickle_of_python_3,
    write_archive,
)
from hostile import Call
from PIL import Image

from paddleclas_eca.data import cifar10, prepare_cifar10
from paddleclas_eca.errors import UserError


@pytest.fixture(scope="module")
def batches():
    return make_batches(20)


@pytest.fixture
def members(batches):
    """The files of an archive by name, for a test to change."""
    return {name: pickle_of_python_2(batch) for name, batch in batches.items()}


@pytest.fixture
def archive(members, tmp_path):
    return write_archive(tmp_path / "cifar-10-python.tar.gz", members)


def entries(label_list):
    return [line.split(" ") for line in label_list.read_text().splitlines()]


@pytest.mark.parametrize("writer", [pickle_of_python_2, pickle_of_python_3])
def test_images_and_labels_are_those_of_the_archive(writer, batches, tmp_path):
    archive = write_archive(
        tmp_path / "a.tar.gz", {name: writer(batch) for name, batch in batches.items()}
    )
    prepared = prepare_cifar10(tmp_path / "out", archive=archive)
    assert (prepared.train_images, prepared.val_images) == (100, 20)
    for split, names in (("train", TRAIN_BATCHES), ("val", ["test_batch"])):
        data = np.concatenate([batches[name]["data"] for name in names])
        labels = [label for name in names for label in batches[name]["labels"]]
        listed = entries(prepared.root / f"{split}_list.txt")
        assert listed == sorted(listed)
        seen = set()
        for name, label in listed:
            folder, cls, file = name.split("/")
            index = int(file.removesuffix(".png"))
            assert (folder, cls) == (split, cifar10.CLASSES[int(label)])
            assert int(label) == labels[index]
            # Planes of red, green and blue, each row by row.
            image = np.asarray(Image.open(prepared.root / name))
            np.testing.assert_array_equal(image.transpose(2, 0, 1).ravel(), data[index])
            seen.add(index)
        assert seen == set(range(len(labels)))


def test_label_list_is_that_of_the_configs(archive, tmp_path, repository):
    prepared = prepare_cifar10(tmp_path / "out", archive=archive)
    shipped = repository / "ppcls_configs" / "cifar10" / "label_list.txt"
    assert (prepared.output / "label_list.txt").read_text() == shipped.read_text()
    assert shipped.read_text().splitlines()[3] == "3 cat"


def test_subset_has_the_first_images_of_each_class(archive, tmp_path):
    prepared = prepare_cifar10(tmp_path / "out", archive=archive, train_images=30, val_images=10)
    assert (prepared.train_images, prepared.val_images) == (30, 10)
    # Image i is of class i modulo 10.
    for listed, count in ((prepared.train_list, 30), (prepared.val_list, 10)):
        assert sorted(int(Path(name).stem) for name, _ in entries(listed)) == [*range(count)]


def test_class_with_too_few_images(members, batches, tmp_path):
    few = {**batches["test_batch"], "labels": [0] * 11 + list(range(1, 10))}
    members["test_batch"] = pickle_of_python_2(few)
    archive = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(UserError, match="val images.*automobile"):
        prepare_cifar10(tmp_path / "out", archive=archive, val_images=20)
    assert prepare_cifar10(tmp_path / "out", archive=archive).val_images == 20


@pytest.mark.parametrize("count", [0, -10, 15])
def test_number_of_images_that_is_not_a_multiple_of_ten(archive, tmp_path, count):
    with pytest.raises(UserError, match=f"--val-images {count}.*10"):
        prepare_cifar10(tmp_path / "out", archive=archive, val_images=count)
    assert not (tmp_path / "out").exists()


def refusal(archive, tmp_path):
    """The message that refuses an archive; nothing may have been written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as error:
        prepare_cifar10(tmp_path / "out", archive=archive)
    assert sorted(tmp_path.rglob("*")) == before
    assert str(archive) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
def test_pickle_that_runs_a_program_is_refused(members, batches, tmp_path, name):
    trap = tmp_path / "trap"
    hostile = pickle.dumps({**batches[name], "labels": Call(open, str(trap), "w")})
    pickle.loads(hostile)
    assert trap.exists(), "the pickle does no harm, so the test would prove nothing"
    trap.unlink()
    archive = write_archive(tmp_path / "a.tar.gz", {**members, name: hostile})
    message = refusal(archive, tmp_path)
    assert f"cifar-10-batches-py/{name}" in message and "open" in message


def test_links_are_not_followed(members, tmp_path):
    (tmp_path / "secret").write_bytes(members.pop("data_batch_1"))
    archive = write_archive(tmp_path / "a.tar", members)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(link)
        with tarfile.open(archive) as rest:
            for member in rest:
                tar.addfile(member, rest.extractfile(member))
    assert "data_batch_1" in refusal(tmp_path / "b.tar.gz", tmp_path)


def test_other_members_are_not_unpacked(members, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = write_archive(tmp_path / "a.tar.gz", {"../../outside": b"x", **members})
    prepare_cifar10(inside / "out", archive=archive)
    assert {path.name for path in tmp_path.rglob("*") if path.suffix != ".png"} >= {"inside", "out"}
    assert not list(tmp_path.rglob("outside"))


def test_small_archive_of_a_huge_batch(members, tmp_path):
    members["data_batch_1"] = bytes(65 * 2**20)
    archive = write_archive(tmp_path / "a.tar.gz", members)
    assert archive.stat().st_size < 2**20
    assert "data_batch_1" in refusal(archive, tmp_path)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives(archive, tmp_path, compress):
    with gzip.open(archive) as file:
        content = file.read()
    (tmp_path / "a.tar").write_bytes(compress(content))
    assert prepare_cifar10(tmp_path / "out", archive=tmp_path / "a.tar").train_images
    (tmp_path / "a.tar").write_bytes(compress(content)[:-9])
    with pytest.raises(UserError, match=r"a\.tar cannot be read as a tar archive"):
        prepare_cifar10(tmp_path / "out", archive=tmp_path / "a.tar")


@pytest.mark.slow
def test_a_small_archive_of_nothing_but_zeros(tmp_path):
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as file:
        for _ in range(33):
            file.write(bytes(2**24))
    with pytest.raises(UserError, match=r"a\.tar\.gz cannot be read .* MiB"):
        prepare_cifar10(tmp_path / "out", archive=tmp_path / "a.tar.gz")


def test_batch_that_is_there_twice(members, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for folder in ("one", "two"):
            member = tarfile.TarInfo(f"{folder}/test_batch")
            member.size = len(members["test_batch"])
            tar.addfile(member, io.BytesIO(members["test_batch"]))
    assert "two/test_batch" in refusal(path, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_archive_cut_short(archive, tmp_path, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    assert "get cifar-10-python.tar.gz again" in refusal(archive, tmp_path)


@pytest.mark.parametrize("content", [b"no archive" * 100, b"\x1f\x8b\x08\x00" + b"x" * 600])
def test_file_that_is_no_archive(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    refusal(path, tmp_path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.tar.gz", tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        refusal(path, tmp_path)


def test_missing_batches_are_named(members, tmp_path):
    del members["data_batch_3"], members["test_batch"]
    archive = write_archive(tmp_path / "a.tar.gz", members)
    assert "data_batch_3, test_batch" in refusal(archive, tmp_path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"data": np.zeros((20, 3071), np.uint8)}, "'data'.*3071.*3072"),
        ({"data": np.zeros((20, 3, 32, 32), np.uint8)}, "'data'.*3, 32, 32"),
        ({"data": np.zeros((20, 3072), np.float32)}, "'data'.*float32"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "'data'"),
        ({"data": None}, "'data'"),
        ({"labels": [0] * 19}, "'labels'.*19"),
        ({"labels": [0.5] * 20}, "'labels'.*float64"),
        ({"labels": "0" * 20}, "'labels'"),
        ({"labels": [0] * 19 + [[1, 2]]}, ""),
        ({"labels": [0] * 19 + [10]}, "labels.*0 to 10"),
        ({"labels": [-1] + [0] * 19}, "labels.*-1 to 0"),
        ("data", "'data'"),
        ("labels", "'labels'"),
        (b"", ""),
        (b"text", ""),
        (pickle.dumps([1, 2]), ""),
        (b"\x80\x02}(U", ""),
    ],
)
def test_batch_of_another_form(members, batches, tmp_path, change, key):
    batch = batches["data_batch_2"]
    if isinstance(change, dict):
        change = pickle.dumps({**batch, **change})
    elif isinstance(change, str):
        change = pickle.dumps({k: v for k, v in batch.items() if k != change})
    members["data_batch_2"] = change
    message = refusal(write_archive(tmp_path / "a.tar.gz", members), tmp_path)
    assert "cifar-10-batches-py/data_batch_2" in message
    assert re.search(key, message)


def test_other_archives_are_warned_of(archive, tmp_path, monkeypatch):
    assert str(archive) in prepare_cifar10(tmp_path / "a", archive=archive).warnings[0]
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert not prepare_cifar10(tmp_path / "b", archive=archive).warnings


def test_archive_is_downloaded_by_paddle(archive, tmp_path, monkeypatch):
    import paddle.dataset.common
    from paddle.vision.datasets.cifar import CIFAR10_MD5, CIFAR10_URL

    calls = []

    def download(*words):
        calls.append(words)
        return str(archive)

    monkeypatch.setattr(paddle.dataset.common, "download", download)
    assert prepare_cifar10(tmp_path / "out").train_images == 100
    assert calls == [(CIFAR10_URL, "cifar", CIFAR10_MD5)]


def test_download_without_a_network(tmp_path, monkeypatch):
    import paddle.dataset.common

    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    # Below what Paddle does: its own download runs and fails.
    monkeypatch.setattr(paddle.dataset.common.httpx, "stream", refuse)
    monkeypatch.setattr(paddle.dataset.common, "DATA_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="https://.*--archive"):
        prepare_cifar10(tmp_path / "out")
    assert not (tmp_path / "out").exists()
