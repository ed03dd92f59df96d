from __future__ import annotations

import contextlib
import io
import shutil
import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from paddleclas_eca.data import prepare_imagenet
from paddleclas_eca.errors import UserError

# By name, so that the index is the label; the IDs of the kit are in another order, as in the
# real one.
WNIDS = ["n01440764", "n01443537", "n02102040"]
CLASS_IDS = {"n01440764": 2, "n01443537": 3, "n02102040": 1}
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KIT = "ILSVRC2012_devkit_t12"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def val_image(number):
    return f"val/ILSVRC2012_val_{number:08d}.JPEG"


def write_synsets(path, rows):
    """Write rows of ID, WNID and number of children as the kit does: a struct array."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children"]
    synsets = np.empty((len(rows), 1), dtype=[(name, object) for name in fields])
    for i, (class_id, wnid, children) in enumerate(rows):
        inner = np.arange(children, dtype=np.uint16)
        synsets[i, 0] = (float(class_id), wnid, "a, b", "gloss", np.uint8(children), inner)
    savemat(path, {"synsets": synsets})


def write_devkit(data, truth=(1, 3, 2, 2)):
    data.mkdir(parents=True, exist_ok=True)
    (data / GROUND_TRUTH).write_text("".join(f"{value}\n" for value in truth))
    leaves = [(class_id, wnid, 0) for wnid, class_id in CLASS_IDS.items()]
    write_synsets(data / "meta.mat", [*leaves, (1001, "n00001740", 2), (1002, "n00001930", 1)])


@pytest.fixture
def in_folders(tmp_path):
    """An ImageNet of three classes, the validation images in class directories."""
    root = tmp_path / "imagenet"
    for wnid in reversed(WNIDS):
        touch(root, f"train/{wnid}/{wnid}_10.JPEG", f"train/{wnid}/{wnid}_9.JPEG")
        touch(root, f"val/{wnid}/ILSVRC2012_val_{CLASS_IDS[wnid]:08d}.JPEG")
    return root


@pytest.fixture
def flat(in_folders):
    """The same with four validation images as distributed, and no development kit."""
    shutil.rmtree(in_folders / "val")
    touch(in_folders, *map(val_image, [1, 2, 3, 4]))
    return in_folders


def lines(path):
    return path.read_text().splitlines()


def test_class_directories(in_folders):
    prepared = prepare_imagenet(in_folders)
    assert lines(in_folders / "train_list.txt") == [
        "train/n01440764/n01440764_10.JPEG 0",
        "train/n01440764/n01440764_9.JPEG 0",
        "train/n01443537/n01443537_10.JPEG 1",
        "train/n01443537/n01443537_9.JPEG 1",
        "train/n02102040/n02102040_10.JPEG 2",
        "train/n02102040/n02102040_9.JPEG 2",
    ]
    assert lines(in_folders / "val_list.txt") == [
        "val/n01440764/ILSVRC2012_val_00000002.JPEG 0",
        "val/n01443537/ILSVRC2012_val_00000003.JPEG 1",
        "val/n02102040/ILSVRC2012_val_00000001.JPEG 2",
    ]
    assert prepared.classes == tuple(WNIDS)
    assert (prepared.train_images, prepared.val_images, prepared.written) == (6, 3, 2)
    assert (prepared.ignored, prepared.warnings) == (0, ())
    assert prepare_imagenet(in_folders).written == 0


@pytest.mark.parametrize("place", [f"imagenet/{KIT}/data", f"imagenet/{KIT}", "kit/data", "kit"])
def test_val_as_distributed(flat, tmp_path, place):
    if not place.startswith("imagenet"):  # The given kit wins over the one in root.
        write_devkit(flat / KIT, truth=(3, 3, 3, 3))
    write_devkit(tmp_path / place)
    devkit = None if place.startswith("imagenet") else tmp_path / "kit"
    prepared = prepare_imagenet(flat, devkit=devkit)
    assert lines(prepared.val_list) == [
        f"{val_image(1)} 2",
        f"{val_image(2)} 1",
        f"{val_image(3)} 0",
        f"{val_image(4)} 0",
    ]
    assert (prepared.val_images, prepared.ignored, prepared.warnings) == (4, 0, ())


def test_subset_of_the_numbered_images(flat):
    write_devkit(flat / KIT / "data")
    (flat / val_image(1)).unlink()
    (flat / val_image(3)).unlink()
    prepared = prepare_imagenet(flat)
    assert lines(prepared.val_list) == [f"{val_image(2)} 1", f"{val_image(4)} 0"]
    (warning,) = prepared.warnings
    assert f"{flat}/val" in warning and "n02102040" in warning


def test_thousand_classes_in_the_order_of_their_names(tmp_path):
    wnids = [f"n{i:08d}" for i in range(1000)]
    for wnid in wnids:
        touch(tmp_path, f"train/{wnid}/a.JPEG", f"val/{wnid}/b.JPEG")
    prepared = prepare_imagenet(tmp_path)
    assert len(prepared.classes) == 1000
    assert lines(prepared.train_list) == [f"train/{w}/a.JPEG {i}" for i, w in enumerate(wnids)]


def test_what_is_no_image_is_ignored_and_counted(in_folders):
    touch(
        in_folders,
        "train/readme.txt",
        "train/misc/a.JPEG",
        "train/n1/a.JPEG",
        "train/n01440764/._n01440764_9.JPEG",
        "train/n01440764/n01440764_1.xml",
        "train/n01440764/more/n01440764_2.JPEG",
        "val/stray.JPEG",
        "val/n01440764/.DS_Store",
    )
    (in_folders / "val" / "n01440764" / "gone.JPEG").symlink_to("nowhere")
    prepared = prepare_imagenet(in_folders)
    assert prepared.ignored == 9
    assert (prepared.train_images, prepared.val_images) == (6, 3)


def test_ignored_beside_numbered_images(flat):
    write_devkit(flat / KIT / "data")
    touch(flat, "val/stray.JPEG", "val/notes.txt", "val/misc/a.JPEG", "val/.hidden")
    prepared = prepare_imagenet(flat)
    assert (prepared.val_images, prepared.ignored) == (4, 4)


def test_linked_directories_and_images_are_followed(in_folders, tmp_path):
    subset = tmp_path / "subset"
    (subset / "train" / WNIDS[0]).mkdir(parents=True)
    (subset / "train" / WNIDS[1]).symlink_to(in_folders / "train" / WNIDS[1])
    image = f"train/{WNIDS[0]}/{WNIDS[0]}_9.JPEG"
    (subset / image).symlink_to(in_folders / image)
    (subset / "val").mkdir()
    (subset / "val" / WNIDS[1]).symlink_to(in_folders / "val" / WNIDS[1])
    assert prepare_imagenet(subset).train_images == 3


def test_classes_without_images_keep_their_label_and_are_warned_of(in_folders):
    for path in (in_folders / "train" / "n01443537").iterdir():
        path.unlink()
    shutil.rmtree(in_folders / "val" / "n01440764")
    prepared = prepare_imagenet(in_folders)
    assert len(prepared.classes) == 3
    assert {line[-1] for line in lines(prepared.train_list)} == {"0", "2"}
    for warning, split, wnid in zip(prepared.warnings, ("train", "val"), (WNIDS[1], WNIDS[0])):
        assert f"{in_folders}/{split}" in warning and wnid in warning


def refusal(root, **options):
    """The message that refuses a directory; nothing may have been written."""
    before = {path.name for path in root.iterdir()} if root.is_dir() else None
    with pytest.raises(UserError) as error:
        prepare_imagenet(root, **options)
    if before is not None:
        assert {path.name for path in root.iterdir()} == before
    assert str(root) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "nothing"),
        (["n01440764/a.JPEG", "b.txt"], "n01440764, b.txt"),
        (["train/n01440764/a.JPEG", "test/a.JPEG"], "test, train"),
        ([f"{i}.tar" for i in range(7)], "0.tar, 1.tar"),
    ],
)
def test_not_an_imagenet_directory(tmp_path, names, found):
    refusal(tmp_path / "nowhere")
    touch(tmp_path, *names)
    message = refusal(tmp_path)
    assert "train/ and val/" in message and found in message


def test_train_without_class_directories(in_folders):
    shutil.rmtree(in_folders / "train")
    touch(in_folders, "train/n01440764.tar", "train/cats/a.JPEG")
    message = refusal(in_folders)
    assert f"{in_folders}/train" in message and "cats, n01440764.tar" in message
    assert "Unpack" in message


def test_train_without_images(in_folders):
    for path in in_folders.glob("train/*/*"):
        path.rename(path.with_suffix(".npy"))
    message = refusal(in_folders)
    assert f"{in_folders}/train/n01440764" in message and ".jpeg, .jpg" in message


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["val/n09999999/a.JPEG"], ["val", "n09999999"]),
        ([val_image(7), val_image(8)], ["val", "2 images", "ILSVRC2012_val_00000007"]),
        (["train/n01440764/a b.JPEG"], ["train/n01440764/a b.JPEG", "Rename"]),
        (["val/n01440764/a\tb.png"], ["val/n01440764/a\tb.png", "Rename"]),
    ],
)
def test_files_that_do_not_belong(in_folders, names, named):
    touch(in_folders, *names)
    message = refusal(in_folders)
    assert all(text in message for text in named)


def test_val_of_neither_form(in_folders):
    shutil.rmtree(in_folders / "val")
    touch(in_folders, "val/cat.JPEG", "val/notes.txt")
    assert "cat.JPEG, notes.txt" in refusal(in_folders)


def test_space_beside_numbered_images(flat):
    write_devkit(flat / KIT)
    touch(flat, "val/ILSVRC2012_val_00000001 (copy).JPEG")
    assert "00000001 (copy).JPEG" in refusal(flat)


@pytest.mark.parametrize("absent", [KIT, GROUND_TRUTH, "meta.mat"])
def test_missing_or_incomplete_kit(flat, absent):
    if absent != KIT:
        write_devkit(flat / KIT)
        (flat / KIT / absent).unlink()
    message = refusal(flat)
    for text in (GROUND_TRUTH, "meta.mat", f"{flat}/{KIT}", f"{KIT}.tar.gz", "--devkit"):
        assert text in message


@pytest.mark.parametrize("value", ["0", "4", "1001", "-1", "2.5", "", "\x80\xff", "9" * 5000])
def test_ground_truth_that_is_no_class(flat, value):
    write_devkit(flat / KIT)
    (flat / KIT / GROUND_TRUTH).write_bytes(f"1\n3\n{value}\n2\n".encode("latin-1"))
    message = refusal(flat)
    assert f"Line 3 of {flat}/{KIT}/{GROUND_TRUTH}" in message
    assert len(message) < 500


@pytest.mark.parametrize("number", [0, 5, 50001])
def test_image_that_the_ground_truth_lacks(flat, number):
    write_devkit(flat / KIT)
    touch(flat, val_image(number))
    message = refusal(flat)
    assert GROUND_TRUTH in message and f"{flat}/{val_image(number)}" in message


def test_numbered_image_of_a_class_unknown_to_train(flat):
    write_devkit(flat / KIT)
    shutil.rmtree(flat / "train" / "n01443537")
    message = refusal(flat)
    assert f"{flat}/{val_image(2)}" in message and "n01443537" in message


def truncated_mat():
    content = io.BytesIO()
    write_synsets(content, [(i, f"n{i:08d}", 0) for i in range(1, 50)])
    return content.getvalue()[:700]


def other_mat(**variables):
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()


def mat_without_leaves():
    content = io.BytesIO()
    write_synsets(content, [(1, "n01440764", 3), (1001, "n01443537", 0)])
    return content.getvalue()


def mat_of_zeros():
    head = other_mat(other=[1])[:128]
    compressed = zlib.compress(bytes(2**27), 1)
    return head + struct.pack("<II", 15, len(compressed)) + compressed


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no mat file at all, but long enough to be taken for one" * 10,
        truncated_mat(),
        other_mat(other=[1]),
        other_mat(synsets=np.arange(3)),
        other_mat(synsets=np.array([(1, "n01440764")], dtype=[("ID", "O"), ("WNID", "O")])),
        mat_without_leaves(),
        mat_of_zeros(),
    ],
    ids=["empty", "text", "truncated", "no synsets", "numbers", "fields", "no leaves", "zeros"],
)
def test_corrupt_synsets(flat, content):
    write_devkit(flat / KIT)
    (flat / KIT / "meta.mat").write_bytes(content)
    message = refusal(flat)
    assert f"{flat}/{KIT}/meta.mat" in message and "Unpack" in message


def test_output_keeps_root_untouched(in_folders, tmp_path, read_tree):
    before = read_tree(in_folders)
    prepared = prepare_imagenet(in_folders, output=tmp_path / "a" / "lists")
    assert read_tree(in_folders) == before
    assert sorted(read_tree(tmp_path / "a" / "lists")) == ["train_list.txt", "val_list.txt"]
    assert lines(prepared.train_list)[0] == "train/n01440764/n01440764_10.JPEG 0"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_progress_bar_on_a_terminal_only(in_folders, stream, shown):
    with contextlib.redirect_stderr(stream()) as stderr:
        prepare_imagenet(in_folders)
    assert ("3/3" in stderr.getvalue()) == shown
