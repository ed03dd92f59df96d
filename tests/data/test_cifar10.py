from __future__ import annotations

import errno
import io
import pickle
import tarfile
from pathlib import Path

import cv2
import numpy as np
import paddle.dataset.common
import paddle.vision.datasets.cifar
import pytest
from cifar10_archive import (
    BATCHES,
    TRAIN_BATCHES,
    make_batches,
    pickle_of_python_2,
    pickle_of_python_3,
    write_archive,
)

from paddleclas_eca.data import cifar10, prepare_cifar10
from paddleclas_eca.errors import UserError

WRITERS = [pickle_of_python_2, pickle_of_python_3]
NAMES = [f"cifar-10-batches-py/{name}" for name in BATCHES]


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


@pytest.mark.parametrize("writer", WRITERS)
def test_images_and_labels_are_those_of_the_archive(writer, batches, tmp_path):
    archive = write_archive(
        tmp_path / "a.tar.gz", {name: writer(batch) for name, batch in batches.items()}
    )
    summary = prepare_cifar10(tmp_path / "out", archive=archive)
    assert (summary.train_images, summary.val_images) == (100, 20)
    assert summary.written == 100 + 20 + 3
    for split, names in (("train", TRAIN_BATCHES), ("val", ["test_batch"])):
        data = np.concatenate([batches[name]["data"] for name in names])
        labels = [label for name in names for label in batches[name]["labels"]]
        listed = entries(summary.root / f"{split}_list.txt")
        assert listed == sorted(listed)
        seen = set()
        for name, label in listed:
            folder, cls, file = name.split("/")
            index = int(file.removesuffix(".png"))
            assert (folder, cls) == (split, cifar10.CLASSES[int(label)])
            assert int(label) == labels[index]
            image = cv2.imread(str(summary.root / name), cv2.IMREAD_COLOR)[:, :, ::-1]
            # Planes of red, green and blue, each row by row.
            np.testing.assert_array_equal(image.transpose(2, 0, 1).ravel(), data[index])
            seen.add(index)
        assert seen == set(range(len(labels)))


def test_label_list_is_that_of_the_configs(archive, tmp_path, repository):
    summary = prepare_cifar10(tmp_path / "out", archive=archive)
    shipped = repository / "ppcls_configs" / "cifar10" / "label_list.txt"
    assert summary.label_list.read_text() == shipped.read_text()
    assert shipped.read_text().splitlines()[3] == "3 cat"


def test_subset_has_the_first_images_of_each_class(archive, tmp_path):
    summary = prepare_cifar10(tmp_path / "out", archive=archive, train_images=30, val_images=10)
    assert (summary.train_images, summary.val_images) == (30, 10)
    # Image i is of class i modulo 10.
    assert sorted(int(Path(name).stem) for name, _ in entries(summary.train_list)) == [*range(30)]
    assert sorted(int(Path(name).stem) for name, _ in entries(summary.val_list)) == [*range(10)]


def test_class_with_too_few_images(members, batches, tmp_path):
    few = {**batches["test_batch"], "labels": [0] * 11 + list(range(1, 10))}
    members["test_batch"] = pickle_of_python_2(few)
    archive = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(UserError, match="val images: only 1 are of class automobile; 20 images"):
        prepare_cifar10(tmp_path / "out", archive=archive, val_images=20)
    assert prepare_cifar10(tmp_path / "out", archive=archive).val_images == 20


@pytest.mark.parametrize("count", [0, -10, 15])
def test_number_of_images_that_is_no_multiple_of_ten(archive, tmp_path, count):
    with pytest.raises(UserError, match=f"--val-images {count}: give a positive multiple of 10"):
        prepare_cifar10(tmp_path / "out", archive=archive, val_images=count)
    assert not (tmp_path / "out").exists()


def test_second_run_writes_nothing(archive, tmp_path, read_tree, fail_replace):
    prepare_cifar10(tmp_path / "out", archive=archive)
    before = read_tree(tmp_path / "out")
    with fail_replace(1, AssertionError("a file was written")):
        assert prepare_cifar10(tmp_path / "out", archive=archive).written == 0
    assert read_tree(tmp_path / "out") == before


def test_interrupted_run_is_completed(archive, tmp_path, read_tree, fail_replace):
    prepare_cifar10(tmp_path / "whole", archive=archive)
    with fail_replace(42, OSError(errno.ENOSPC, "No space left")), pytest.raises(UserError):
        prepare_cifar10(tmp_path / "out", archive=archive)
    assert not (tmp_path / "out" / "train_list.txt").exists()
    assert prepare_cifar10(tmp_path / "out", archive=archive).written == 123 - 41
    assert read_tree(tmp_path / "out") == read_tree(tmp_path / "whole")


def test_other_files_in_the_way_are_kept_unless_overwritten(archive, tmp_path, read_tree):
    output = tmp_path / "out"
    prepare_cifar10(output, archive=archive, train_images=30)
    before = read_tree(output)
    with pytest.raises(UserError, match="already holds files with other content: train_list.txt"):
        prepare_cifar10(output, archive=archive)
    assert read_tree(output) == before
    assert prepare_cifar10(output, archive=archive, overwrite=True).train_images == 100


class Malice:
    """Makes a file when it is unpickled by Python's own reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def refusal(archive, tmp_path):
    """The message that refuses an archive; nothing may have been written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as error:
        prepare_cifar10(tmp_path / "out", archive=archive)
    assert sorted(tmp_path.rglob("*")) == before
    return str(error.value)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
def test_pickle_that_runs_a_program_is_refused(members, batches, tmp_path, name):
    trap = tmp_path / "trap"
    hostile = pickle.dumps({**batches[name], "labels": Malice(trap)})
    pickle.loads(hostile)
    assert trap.exists(), "the pickle does no harm, so the test would prove nothing"
    trap.unlink()
    archive = write_archive(tmp_path / "a.tar.gz", {**members, name: hostile})
    message = refusal(archive, tmp_path)
    assert f"cifar-10-batches-py/{name} in {archive} is no batch of CIFAR-10" in message
    assert "open" in message


def test_members_that_lead_elsewhere(members, tmp_path):
    (tmp_path / "secret").write_bytes(members["data_batch_1"])
    with_link = {name: content for name, content in members.items() if name != "data_batch_1"}
    archive = write_archive(tmp_path / "a.tar", with_link)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(link)
        with tarfile.open(archive) as rest:
            for member in rest:
                tar.addfile(member, rest.extractfile(member))
    assert "data_batch_1" in refusal(tmp_path / "b.tar.gz", tmp_path)


def test_members_that_are_no_batch_are_not_unpacked(members, tmp_path, read_tree):
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = write_archive(tmp_path / "a.tar.gz", {"../../outside": b"x", **members})
    prepare_cifar10(inside / "out", archive=archive)
    assert not list(tmp_path.rglob("outside"))
    assert {path.name for path in tmp_path.iterdir()} == {"inside", "a.tar.gz"}


def test_member_too_large_for_a_batch(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "_LARGEST_BATCH", 2**14)
    assert "data_batch_1" in refusal(archive, tmp_path)


def test_batch_that_is_there_twice(members, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for folder in ("one", "two"):
            member = tarfile.TarInfo(f"{folder}/test_batch")
            member.size = len(members["test_batch"])
            tar.addfile(member, io.BytesIO(members["test_batch"]))
    assert f"two/test_batch in {path} is no batch" in refusal(path, tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_archive_cut_short(archive, tmp_path, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    message = refusal(archive, tmp_path)
    assert str(archive) in message
    assert "get cifar-10-python.tar.gz again" in message


@pytest.mark.parametrize("content", [b"", b"no archive" * 100, b"\x1f\x8b\x08\x00" + b"x" * 600])
def test_file_that_is_no_archive(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    assert f"{path} cannot be read as a tar archive" in refusal(path, tmp_path)


def test_file_that_cannot_be_opened(tmp_path):
    for name, reason in (("nowhere.tar.gz", "No such file or directory"), ("", "Is a directory")):
        path = tmp_path / name
        assert refusal(path, tmp_path) == f"{path} cannot be read: {reason}"


def test_missing_batches_are_named(members, tmp_path):
    del members["data_batch_3"], members["test_batch"]
    archive = write_archive(tmp_path / "a.tar.gz", members)
    assert "it lacks data_batch_3, test_batch" in refusal(archive, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"data": np.zeros((20, 3071), np.uint8)},
            "shape [20, 3071], not uint8 of shape [N, 3072]",
        ),
        ({"data": np.zeros((20, 3, 32, 32), np.uint8)}, "shape [20, 3, 32, 32]"),
        ({"data": np.zeros((20, 3072), np.float32)}, "'data' is float32"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "shape [0, 3072]"),
        ({"data": None}, "'data' is"),
        ({"labels": [0] * 19}, "'labels' are int64 of shape [19]"),
        ({"labels": [0.5] * 20}, "'labels' are float64"),
        ({"labels": "0" * 20}, "'labels' are"),
        ({"labels": [0] * 19 + [[1, 2]]}, "no batch of CIFAR-10"),
        ({"labels": [0] * 19 + [10]}, "labels go from 0 to 10, not from 0 to 9"),
        ({"labels": [-1] + [0] * 19}, "labels go from -1 to 0"),
    ],
)
def test_batch_of_another_form(members, batches, tmp_path, change, reason):
    members["data_batch_2"] = pickle.dumps({**batches["data_batch_2"], **change})
    message = refusal(write_archive(tmp_path / "a.tar.gz", members), tmp_path)
    assert "cifar-10-batches-py/data_batch_2 in " in message
    assert reason in message


@pytest.mark.parametrize("key", ["data", "labels"])
def test_batch_without_an_entry(members, batches, tmp_path, key):
    batch = {k: v for k, v in batches["test_batch"].items() if k != key}
    members["test_batch"] = pickle.dumps(batch)
    message = refusal(write_archive(tmp_path / "a.tar.gz", members), tmp_path)
    assert (
        f"test_batch in {tmp_path}/a.tar.gz is no batch of CIFAR-10: it has no '{key}'" in message
    )


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps([1, 2]), pickle.dumps(None), b"\x80\x02}(U"]
)
def test_batch_that_is_no_pickle_of_a_dict(members, tmp_path, content):
    members["data_batch_5"] = content
    message = refusal(write_archive(tmp_path / "a.tar.gz", members), tmp_path)
    assert "data_batch_5 in " in message


def test_md5_sum_is_the_one_that_paddle_knows():
    assert cifar10.ARCHIVE_MD5 == paddle.vision.datasets.cifar.CIFAR10_MD5


def test_archive_is_downloaded_by_paddle(archive, tmp_path, monkeypatch):
    calls = []

    def download(url, module, md5):
        calls.append((url, module, md5))
        return str(archive)

    monkeypatch.setattr(paddle.dataset.common, "download", download)
    summary = prepare_cifar10(tmp_path / "out")
    assert (summary.archive, summary.train_images) == (archive, 100)
    datasets = paddle.vision.datasets.cifar
    assert calls == [(datasets.CIFAR10_URL, "cifar", datasets.CIFAR10_MD5)]


def test_download_without_a_network(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    # Below what Paddle does: its own download runs and fails.
    monkeypatch.setattr(paddle.dataset.common.httpx, "stream", refuse)
    monkeypatch.setattr(paddle.dataset.common, "DATA_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="could not be downloaded from https://.*--archive"):
        prepare_cifar10(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command(archive, tmp_path, monkeypatch, run_prepare):
    monkeypatch.chdir(tmp_path)
    words = ("cifar10", "--archive", archive, "--train-images", "50", "--val-images", "10")
    printed = run_prepare(*words)
    for text in (
        f"Note: {archive} is not the official archive",
        "dataset/cifar10: 50 training and 10 validation images with their lists; written.",
        "paddleclas-eca train -c cifar10/ECA_ResNet18",
    ):
        assert text in printed
    assert "DataLoader" not in printed
    assert "already there and complete" in run_prepare(*words)
    printed = run_prepare(*words, "--output", "elsewhere")
    assert "-o DataLoader.Train.dataset.image_root=./elsewhere" in printed
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", cifar10._md5(archive))
    assert "Note" not in run_prepare(*words)


def test_command_overwrites_on_request(archive, tmp_path, monkeypatch, run_prepare):
    monkeypatch.chdir(tmp_path)
    words = ("cifar10", "--archive", archive)
    run_prepare(*words, "--val-images", "10")
    with pytest.raises(UserError, match="--overwrite"):
        run_prepare(*words)
    assert "100 training and 20 validation" in run_prepare(*words, "--overwrite")
