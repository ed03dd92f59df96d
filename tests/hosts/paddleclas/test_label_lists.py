"""Label lists as people write them: what is read, and errors that name their line."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from hypothesis import strategies as st
from properties import property_test

from paddleclas_eca.data.label_lists import check_labels, read_list
from paddleclas_eca.errors import UserError

# Content of a list, and what of it is read, with the images a.jpg, "b c.jpg" and so on there.
READ = {
    "plain": (b"a.jpg 0\nd/e.jpg 12\n", [("a.jpg", 0), ("d/e.jpg", 12)]),
    "no end of line at the end": (b"a.jpg 0\nd/e.jpg 1", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "blank lines": (b"\n\na.jpg 0\n  \n\t\nd/e.jpg 1\n\n", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "blanks at the end": (b"a.jpg 0  \nd/e.jpg 1\t\n", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "several blanks": (b"a.jpg   0\n", [("a.jpg", 0)]),
    "tab": (b"a.jpg\t0\nd/e.jpg\t 1\n", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "Windows line ends": (b"a.jpg 0\r\nd/e.jpg 1\r\n", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "old Macintosh line ends": (b"a.jpg 0\rd/e.jpg 1\r", [("a.jpg", 0), ("d/e.jpg", 1)]),
    "byte-order mark": (b"\xef\xbb\xbfa.jpg 0\n", [("a.jpg", 0)]),
    "UTF-8": ("größe/ü.jpg 3\n图像.jpg 4\n".encode(), [("größe/ü.jpg", 3), ("图像.jpg", 4)]),
    "blanks in a name": (b"b c.jpg 5\n", [("b c.jpg", 5)]),
    "two blanks in a name": (b"b  c.jpg 5\n", [("b  c.jpg", 5)]),
    "a number in a name": (b"x 3 y.jpg 5\n", [("x 3 y.jpg", 5)]),
    "more columns": (b"a.jpg 3 0.5\na.jpg 4 5\n", [("a.jpg", 3), ("a.jpg", 4)]),
    "a name that is no UTF-8": (b"\xfcber.jpg 1\n", [(os.fsdecode(b"\xfcber.jpg"), 1)]),
    "plus sign and zeros": (b"a.jpg +1\na.jpg 007\n", [("a.jpg", 1), ("a.jpg", 7)]),
}
DELIMITED = {
    "comma": (b"b c.jpg,5\r\n\r\na.jpg, 1\n", ",", [("b c.jpg", 5), ("a.jpg", 1)]),
    "comma in a name": (b"x,y.jpg,5\n", ",", [("x,y.jpg", 5)]),
    "semicolon and more columns": (b"a.jpg;2;x\n", ";", [("a.jpg", 2)]),
    "tab": (b"b c.jpg\t5\n", "\t", [("b c.jpg", 5)]),
    "word": (b"a.jpg => 3\n", " => ", [("a.jpg", 3)]),
}


@pytest.fixture
def dataset(ppcls, tmp_path):
    """Build an ImageNetDataset of a list; the images that are named are made first."""

    def build(content, images=(), name="ImageNetDataset", **options):
        for image in images:
            (tmp_path / image).parent.mkdir(exist_ok=True)
            (tmp_path / image).touch()
        path = tmp_path / "list.txt"
        path.write_bytes(content)
        kind = getattr(ppcls.module("data"), name)
        return kind(image_root=str(tmp_path), cls_label_path=str(path), **options)

    return build


def _entries(dataset, root):
    names = [os.path.relpath(image, root) for image in dataset.images]
    return [(name, int(label)) for name, label in zip(names, dataset.labels)]


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("kind", ["ImageNetDataset", "MultiScaleDataset"])
def test_lists_that_are_read(dataset, tmp_path, case, kind):
    content, expected = READ[case]
    built = dataset(content, [name for name, _ in expected], kind)
    assert _entries(built, tmp_path) == expected
    assert {type(label) for label in built.labels} == {np.int64}


@pytest.mark.parametrize("case", DELIMITED)
def test_delimiters_are_respected(dataset, tmp_path, case):
    content, delimiter, expected = DELIMITED[case]
    built = dataset(content, [name for name, _ in expected], delimiter=delimiter)
    assert _entries(built, tmp_path) == expected


NO_LABEL = r"line 2: 'd/e.jpg' has no label: a space or a tab and a number should follow"
REFUSED = {
    "no label": (b"a.jpg 0\nd/e.jpg\n", NO_LABEL),
    "word for a label": (b"a.jpg 0\n\na.jpg cat\n", r"line 3: 'a.jpg cat' has 'cat' for a label"),
    "fraction": (
        b"a.jpg 1.5\n",
        r"line 1: 'a.jpg 1.5' has '1.5' for a label, which is not an integer",
    ),
    "too large": (b"a.jpg 99999999999999999999\n", r"line 1: .* which is not an integer"),
    "digits of another script": (
        "a.jpg ٣\n".encode(),
        r"line 1: .* which is not an integer",
    ),
    "expression": (b"a.jpg 1+1\n", r"line 1: 'a.jpg 1\+1' has '1\+1' for a label"),
    "missing images": (
        b"a.jpg 0\nm1.jpg 0\nm2.jpg 1\n\nm 3.jpg 2\nm4.jpg 3\n",
        r"lists 4 of 5 images that are not in \S+: line 2 'm1.jpg 0', line 3 'm2.jpg 1', "
        r"line 5 'm 3.jpg 2' and 1 more. Check image_root",
    ),
    "empty": (b"", r"the label list \S+ is empty. Write a line"),
    "blank": (b"\n \r\n\t\n", r"the label list \S+ is empty"),
    "UTF-16": ("a.jpg 0\n".encode("utf-16"), r"is not UTF-8 text: line 1 is .* Save it as UTF-8"),
    "UTF-16, the other order": ("\ufeffa 0\n".encode("utf-16-be"), r"is not UTF-8 text: line 1"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"is not UTF-8 text: line 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lists_that_are_refused(dataset, tmp_path, case):
    content, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as error:
        dataset(content, ["a.jpg", "d/e.jpg"])
    assert str(tmp_path / "list.txt") in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("case", ["blank lines", "tab", "blanks in a name", "byte-order mark"])
def test_lists_that_paddleclas_alone_does_not_read(dataset, tmp_path, case):
    content, expected = READ[case]
    built = dataset(content, [name for name, _ in expected])
    assert _entries(built, tmp_path) == expected


def test_missing_label_with_a_delimiter_of_its_own(dataset):
    with pytest.raises(UserError, match="no label: the delimiter ',' and a number"):
        dataset(b"a.jpg 0\n", ["a.jpg"], delimiter=",")


def test_a_missing_list(dataset, tmp_path):
    with pytest.raises(UserError, match=r"no\.txt cannot be read: No such file"):
        read_list(str(tmp_path / "no.txt"))
    with pytest.raises(UserError, match="a label list: it is a directory"):
        read_list(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a label list: it is not a regular file"):
        read_list(str(tmp_path / "pipe"))


def test_nothing_in_a_list_is_run(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "__import__('os').system('touch trace')"
    for line in (f"a.jpg {code}", f"{code} 0", f"$(touch trace) `touch trace` {code}"):
        with pytest.raises(UserError):
            dataset(f"{line}\n".encode(), ["a.jpg"])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.jpg", "list.txt"]


# Labels and classes


@pytest.fixture
def engine_of(make_engine, digits, tmp_path):
    """Build an Engine whose training list has these labels."""

    def build(labels, **changes):
        name = (digits / "train_40.txt").read_text().split()[0]
        path = tmp_path / "list.txt"
        path.write_text("".join(f"{name} {label}\n" for label in labels))
        changes = {"DataLoader.Train.dataset.cls_label_path": str(path), **changes}
        return make_engine({"Global.preflight": False, **changes})

    return build


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 9, 10, 12], r"list.txt has 2 labels that are not below Arch.class_num, 10: line 3 "),
        ([0, -1], r"list.txt, line 2: '\S+ -1': the label -1 is negative. Labels count .* from 0"),
    ],
)
def test_labels_that_are_no_classes(engine_of, labels, message):
    with pytest.raises(UserError, match=message):
        engine_of(labels)


def test_what_to_do_about_large_labels_is_said(engine_of):
    with pytest.raises(UserError, match="for these set -o Arch.class_num=13"):
        engine_of([10, 12, 11])


def test_labels_of_a_network_with_other_numbers_of_classes(engine_of):
    engine_of([0, 12], **{"Arch.class_num": 13})


def test_relabelled_lists_may_have_any_labels(ppcls, engine_of):
    import inspect

    kind = ppcls.module("data").ImageNetDataset
    if "relabel" not in inspect.signature(kind.__init__).parameters:
        pytest.skip("this PaddleClas does not relabel")
    engine = engine_of([700, -3, 700, 50], **{"DataLoader.Train.dataset.relabel": True})
    labels = [int(label) for label in engine.train_dataloader.dataset.labels]
    assert sorted(set(labels)) == [0, 1, 2] and labels[0] == labels[2]


def test_lists_outside_an_engine_may_have_any_labels(dataset, tmp_path):
    assert _entries(dataset(b"a.jpg -1\n", ["a.jpg"]), tmp_path) == [("a.jpg", -1)]


# Other data sets


@pytest.mark.parametrize("kind", ["ICartoonDataset", "MultiLabelDataset", "VeriWild"])
def test_other_data_sets_read_their_lists(dataset, tmp_path, kind):
    content = b"\xef\xbb\xbfa.jpg\t3\t1\r\n\r\n\xc3\xbc.jpg\t4\t1\r\n"
    built = dataset(content, ["a.jpg", "ü.jpg"], kind)
    assert [os.path.basename(image) for image in built.images] == ["a.jpg", "ü.jpg"]
    labels = [[3], [4]] if kind == "MultiLabelDataset" else [3, 4]
    assert np.array_equal(built.labels, labels)


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        ("MultiLabelDataset", "a.jpg 0,1", "a column is missing"),
        ("MultiLabelDataset", "a.jpg\t0,x", r"ValueError: .*'x'"),
        ("MultiLabelDataset", "no.jpg\t0,1", "a file that it names does not exist"),
        ("VeriWild", "a.jpg x 1", r"ValueError: .*'x'"),
        ("VeriWild", "no.jpg 1 1", "does not exist|path .*no.jpg"),
        ("LogoDataset", "a\tb\tc\ta.jpg", r"ValueError: .*'b'"),
    ],
)
def test_what_other_data_sets_cannot_read_is_told_with_its_line(dataset, kind, line, reason):
    good = {"VeriWild": "a.jpg 1 1", "LogoDataset": "1\t1\tx\ta.jpg"}.get(kind, "a.jpg\t0,1")
    with pytest.raises(UserError, match=rf"list.txt, line 3: .* read by {kind}: .*{reason}"):
        dataset(f"{good}\n\n{line}\n".encode(), ["a.jpg"], kind)


def test_ratio_of_labels_is_still_computed(dataset):
    built = dataset(b"a.jpg\t0,1\na.jpg\t1,1\n", ["a.jpg"], "MultiLabelDataset", label_ratio=True)
    assert built.label_ratio.tolist() == [0.5, 1.0]


def test_bounding_boxes_of_cars_are_still_read(dataset, tmp_path):
    (tmp_path / "a.txt").write_text("1\n1\n3 4 5 6\n")
    built = dataset(b"\na.jpg 2\n", ["a.jpg"], "CompCars", label_root=str(tmp_path), bbox_crop=True)
    assert built.bboxes == [[3, 4, 5, 6]] and built.labels == [2]


# Any list

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from(" \t"),
    min_size=1,
    max_size=12,
).filter(lambda name: name == name.strip() and not name.startswith("\ufeff"))
LABELS = st.integers(0, 10**17)


@pytest.fixture(scope="module")
def any_list(tmp_path_factory):
    return tmp_path_factory.mktemp("lists") / "list.txt"


@property_test(
    rows=st.lists(st.tuples(NAMES, LABELS), min_size=1, max_size=8),
    separator=st.sampled_from([" ", "\t", "  ", " \t"]),
    end=st.sampled_from(["\n", "\r\n", " \n", "\n\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_any_list_comes_back(any_list, rows, separator, end, mark):
    text = "".join(f"{name}{separator}{label}{end}" for name, label in rows)
    any_list.write_bytes(mark + text.encode())
    entries = read_list(str(any_list), exists=lambda name: False)
    assert [(entry.name, entry.label) for entry in entries] == rows


@property_test(content=st.binary(max_size=80) | st.text("a.jpg 01\t\n\r-+,").map(str.encode))
def test_lists_raise_nothing_but_user_errors(any_list, content):
    any_list.write_bytes(content)
    try:
        entries = read_list(str(any_list))
        check_labels(str(any_list), entries, 10)
    except UserError as error:
        assert str(any_list) in str(error) and str(error).isprintable()
    else:
        assert entries and all(0 <= entry.label < 10 and entry.name for entry in entries)
        assert re.search(rb"[0-9]", content)


def test_a_line_of_a_million_blanks(tmp_path):
    """A regular expression took hours for it."""
    name = "a" + " " * 10**6 + "b.jpg"
    (tmp_path / "list.txt").write_text(f"{name} \t 3\n")
    (entry,) = read_list(str(tmp_path / "list.txt"))
    assert (entry.name, entry.label) == (name, 3)
