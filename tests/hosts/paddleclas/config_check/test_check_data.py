"""What is found in label lists and images, and in what transforms make of these."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR, WARNING, data

TRAIN = "DataLoader.Train.dataset"
LIST, ROOT, OPS = f"{TRAIN}.cls_label_path", f"{TRAIN}.image_root", f"{TRAIN}.transform_ops"
DECODE = {"DecodeImage": {"to_rgb": True, "channel_first": False}}
NAMES = "Infer.PostProcess.class_id_map_file"

EVAL_SAMPLER = "DataLoader.Eval.sampler"


@pytest.fixture
def with_list(digits, tmp_path):
    """Changes that train on a list of these lines, after those of the digits."""

    def changes(lines):
        path = tmp_path / "list.txt"
        path.write_text((digits / "train_40.txt").read_text() + "".join(f"{x}\n" for x in lines))
        return {LIST: str(path)}

    return changes


def test_all_that_is_wrong_with_a_list(look, with_list, digits):
    image = (digits / "train_40.txt").read_text().split()[0]
    lines = [image, f"{image} cat", f"{image} 1.5", image, f"{image} -1", f"{image} 12", image]
    found = look(with_list(lines))
    assert {(f.severity, f.place) for f in found} == {(ERROR, LIST)}
    texts = [f.message for f in found]
    for number, text in zip((41, 42, 43), texts):
        assert f"line {number}: " in text
    assert "2 more lines" in texts[3]
    assert "line 45" in texts[4] and "-1" in texts[4]
    assert "Arch.class_num=13" in texts[5] and "line 46" in texts[5]
    assert len(found) == 6


def test_a_list_of_another_kind_ends_soon(look, with_list, monkeypatch):
    monkeypatch.setattr(data, "MALFORMED", 10)
    assert "at least 7 more lines" in look(with_list(["x"] * 100))[-1].message


def test_an_empty_list(look, tmp_path):
    (tmp_path / "list.txt").touch()
    (found,) = look({LIST: str(tmp_path / "list.txt")})
    assert (found.severity, found.place) == (ERROR, LIST)


@pytest.mark.parametrize(
    ("changes", "processes", "ok"),
    [
        ({"batch_size": 40}, 1, True),
        ({"batch_size": 41}, 1, False),
        ({"batch_size": 21}, 2, False),
        ({"batch_size": 14}, 3, True),
        ({"batch_size": 40, "name": "BatchSampler"}, 2, True),
        ({"batch_size": 41, "drop_last": False}, 1, True),
    ],
)
def test_an_epoch_has_a_step(look, changes, processes, ok):
    sampler = {"drop_last": True, **changes}
    changes = {f"DataLoader.Train.sampler.{key}": value for key, value in sampler.items()}
    errors = [f.place for f in look(changes, processes) if f.severity == ERROR]
    assert errors == ([] if ok else ["DataLoader.Train.sampler.batch_size"])


@pytest.mark.parametrize(
    ("batch", "processes", "left"), [(20, 1, None), (8, 1, "4 of 20"), (7, 2, "6 of 20")]
)
def test_an_evaluation_of_a_part_is_a_warning(look, batch, processes, left):
    sampler = {f"{EVAL_SAMPLER}.batch_size": batch, f"{EVAL_SAMPLER}.drop_last": True}
    found = [f for f in look(sampler, processes) if f.place == f"{EVAL_SAMPLER}.drop_last"]
    assert [(f.severity, left in f.message) for f in found] == [(WARNING, True)] * bool(left)


def test_an_evaluation_of_nothing_is_an_error(look):
    (found,) = look({f"{EVAL_SAMPLER}.batch_size": 21, f"{EVAL_SAMPLER}.drop_last": True})
    assert (found.severity, found.place) == (ERROR, f"{EVAL_SAMPLER}.batch_size")


def test_classes_without_images(look, tmp_path):
    found = look({"Arch.class_num": 14, NAMES: None})
    assert [finding.severity for finding in found] == [WARNING, WARNING]
    assert "10, 11, 12 and 1 more" in found[0].message and "Arch.class_num" in found[0].message


def test_a_huge_number_of_classes_takes_no_memory(look):
    import tracemalloc

    tracemalloc.start()
    found = look({"Arch": {"name": "TinyNet", "class_num": 10**8}, NAMES: None})
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()
    assert any("99,999,990 of 100,000,000" in finding.message for finding in found)


def test_images_that_do_not_exist_or_do_not_decode(look, with_list, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    missing, corrupt = look(with_list([f"{tmp_path}/x.png 0", "no/such.png 3"]))
    assert missing.severity == ERROR and "line 42 'no/such.png 3'" in missing.message
    assert corrupt.severity == WARNING and "line 41" in corrupt.message
    (missing,) = look({ROOT: "no"})
    assert (missing.severity, missing.place) == (ERROR, ROOT)


def test_mostly_corrupt_images_are_an_error(look, with_list, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    changes = with_list([f"{tmp_path}/x.png 0"] * 50)
    assert [f.severity for f in look(changes)] == [ERROR]
    for key in ("max_corrupt_images", "max_broken_images"):
        assert [f.severity for f in look({**changes, f"Global.{key}": 1})] == [WARNING]


def test_lists_of_other_forms_are_left_alone(look, tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg\t0,1\n")
    dataset = {"name": "MultiLabelDataset", "image_root": str(tmp_path), "transform_ops": []}
    dataset["cls_label_path"] = str(tmp_path / "list.txt")
    assert look({TRAIN: dataset}) == []


# Images through transforms.


@pytest.fixture
def with_images(tmp_path):
    """Changes that train on images of these shapes."""
    import cv2

    def changes(*shapes):
        for number, shape in enumerate(shapes):
            cv2.imwrite(str(tmp_path / f"{number}.png"), np.full(shape, 9, dtype="uint8"))
        lines = [f"{number}.png {number % 10}\n" for number in range(len(shapes))]
        (tmp_path / "list.txt").write_text("".join(lines))
        return {LIST: str(tmp_path / "list.txt"), ROOT: str(tmp_path), "Arch.class_num": 10}

    return changes


def _errors(found):
    return [finding for finding in found if finding.severity == ERROR]


def test_images_of_different_sizes_need_a_common_one(look, with_images):
    changes = with_images(*[(16, 16, 3)] * 200, (16, 20, 3))
    (found,) = _errors(look({**changes, OPS: [DECODE]}))
    assert found.place == OPS and "ResizeImage" in found.message
    assert _errors(look({**changes, OPS: [DECODE, {"ResizeImage": {"size": 16}}]})) == []
    alone = {"DataLoader.Train.sampler.batch_size": 1}
    assert _errors(look({**changes, OPS: [DECODE], **alone})) == []


def test_grey_images_and_grey_networks(look, with_images):
    changes = {**with_images(*[(16, 16)] * 20), OPS: [DECODE]}
    # They are decoded to three equal channels.
    assert _errors(look(changes)) == []
    wanted = {
        finding.place for finding in _errors(look({**changes, "Arch.input_image_channel": 1}))
    }
    assert OPS in wanted and "Global.image_shape" in wanted


# Shared memory.

LOADER = "DataLoader.Train.loader"


@pytest.mark.parametrize(
    ("workers", "shared", "free", "fits"),
    [
        # A batch is 10 x 3 x 16 x 16 numbers of 4 bytes, 30 KB, and each worker has two.
        (2, True, 100 << 10, False),
        (2, True, 130 << 10, True),
        (2, False, 0, True),
        (0, True, 0, True),
    ],
)
def test_shared_memory_must_hold_the_batches(look, monkeypatch, workers, shared, free, fits):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    changes = {f"{LOADER}.num_workers": workers, f"{LOADER}.use_shared_memory": shared}
    places = [found.place for found in _errors(look(changes))]
    assert places == ([] if fits else [f"{LOADER}.use_shared_memory"])


# Names of classes.


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        ("".join(f"{i} c{i}\n" for i in range(9)), "9"),
        ("".join(f"c{i}\n" for i in range(10)), "line 1"),
        ("".join(f"{i} c{i}\n" for i in range(10)) + "3 again\n", "line 11"),
    ],
)
def test_names_that_do_not_suit_the_classes(look, tmp_path, content, cure):
    (tmp_path / "names.txt").write_text(content)
    (found,) = look({NAMES: str(tmp_path / "names.txt")})
    assert (found.severity, found.place) == (ERROR, NAMES) and cure in found.message


def test_more_names_than_classes_are_a_warning(look, digits):
    found = [f for f in look({"Arch.class_num": 4}) if f.place == NAMES]
    assert [finding.severity for finding in found] == [WARNING]
