from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys

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
    """An ImageNet of three classes, the validation images in class folders."""
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


def test_train_list(in_folders):
    summary = prepare_imagenet(in_folders)
    assert lines(in_folders / "train_list.txt") == [
        "train/n01440764/n01440764_10.JPEG 0",
        "train/n01440764/n01440764_9.JPEG 0",
        "train/n01443537/n01443537_10.JPEG 1",
        "train/n01443537/n01443537_9.JPEG 1",
        "train/n02102040/n02102040_10.JPEG 2",
        "train/n02102040/n02102040_9.JPEG 2",
    ]
    assert summary == (
        in_folders,
        3,
        6,
        3,
        in_folders / "train_list.txt",
        in_folders / "val_list.txt",
        0,
        (),
        2,
    )


def test_val_in_class_folders(in_folders):
    prepare_imagenet(in_folders)
    assert lines(in_folders / "val_list.txt") == [
        "val/n01440764/ILSVRC2012_val_00000002.JPEG 0",
        "val/n01443537/ILSVRC2012_val_00000003.JPEG 1",
        "val/n02102040/ILSVRC2012_val_00000001.JPEG 2",
    ]


@pytest.mark.parametrize("place", [f"imagenet/{KIT}/data", f"imagenet/{KIT}", "kit/data", "kit"])
def test_val_as_distributed(flat, tmp_path, place):
    write_devkit(tmp_path / place)
    devkit = None if place.startswith("imagenet") else tmp_path / "kit"
    summary = prepare_imagenet(flat, devkit=devkit)
    assert lines(summary.val_list) == [
        f"{val_image(1)} 2",
        f"{val_image(2)} 1",
        f"{val_image(3)} 0",
        f"{val_image(4)} 0",
    ]
    assert (summary.val_images, summary.ignored, summary.warnings) == (4, 0, ())


def test_data_folder_of_the_kit_is_accepted(flat, tmp_path):
    write_devkit(tmp_path / "kit" / "data")
    assert prepare_imagenet(flat, devkit=tmp_path / "kit" / "data").val_images == 4


def test_given_kit_wins_over_the_one_in_root(flat, tmp_path):
    write_devkit(flat / KIT / "data")
    write_devkit(tmp_path / "kit", truth=(3, 3, 3, 3))
    prepare_imagenet(flat, devkit=tmp_path / "kit")
    assert {line[-1] for line in lines(flat / "val_list.txt")} == {"1"}


def test_subset_of_the_numbered_images(flat):
    write_devkit(flat / KIT / "data")
    (flat / val_image(1)).unlink()
    (flat / val_image(3)).unlink()
    summary = prepare_imagenet(flat)
    assert lines(summary.val_list) == [f"{val_image(2)} 1", f"{val_image(4)} 0"]
    assert summary.warnings == (f"{flat}/val has no images of 1 of the 3 classes: n02102040.",)


def test_thousand_classes_in_the_order_of_their_names(tmp_path):
    wnids = [f"n{i:08d}" for i in range(1000)]
    for wnid in wnids:
        touch(tmp_path, f"train/{wnid}/a.JPEG", f"val/{wnid}/b.JPEG")
    summary = prepare_imagenet(tmp_path)
    assert summary.classes == 1000
    assert lines(summary.train_list) == [f"train/{w}/a.JPEG {i}" for i, w in enumerate(wnids)]


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
    summary = prepare_imagenet(in_folders)
    assert summary.ignored == 9
    assert (summary.train_images, summary.val_images) == (6, 3)


def test_ignored_beside_numbered_images(flat):
    write_devkit(flat / KIT / "data")
    touch(flat, "val/stray.JPEG", "val/notes.txt", "val/misc/a.JPEG", "val/.hidden")
    summary = prepare_imagenet(flat)
    assert (summary.val_images, summary.ignored) == (4, 4)


@pytest.mark.parametrize("name", ["a.JPEG", "a.jpg", "a.jpeg", "a.png", "a.JPG", "a.PnG"])
def test_suffixes(in_folders, name):
    touch(in_folders, f"train/n01440764/{name}")
    assert f"train/n01440764/{name} 0" in lines(prepare_imagenet(in_folders).train_list)


@pytest.mark.parametrize("name", ["a.bmp", "a.JPEG.part", "JPEG", "a.npy"])
def test_other_suffixes(in_folders, name):
    touch(in_folders, f"train/n01440764/{name}")
    assert prepare_imagenet(in_folders).train_images == 6


def test_linked_folders_and_images_are_followed(in_folders, tmp_path):
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
    summary = prepare_imagenet(in_folders)
    assert summary.classes == 3
    assert {line[-1] for line in lines(summary.train_list)} == {"0", "2"}
    assert summary.warnings == (
        f"{in_folders}/train has no images of 1 of the 3 classes: n01443537.",
        f"{in_folders}/val has no images of 1 of the 3 classes: n01440764.",
    )


def refusal(root, **options):
    """The message that refuses a folder; nothing may have been written."""
    before = {path.name for path in root.iterdir()} if root.is_dir() else None
    with pytest.raises(UserError) as error:
        prepare_imagenet(root, **options)
    if before is not None:
        assert {path.name for path in root.iterdir()} == before
    return str(error.value)


def test_missing_root(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert message.startswith(f"{tmp_path}/nowhere is not a folder.")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "it holds nothing."),
        (["n01440764/a.JPEG", "b.txt"], "it holds n01440764, b.txt."),
        (["train/n01440764/a.JPEG", "test/a.JPEG"], "it holds test, train."),
        ([f"{i}.tar" for i in range(7)], "it holds 0.tar, 1.tar, 2.tar, 3.tar, 4.tar and 2 more."),
    ],
)
def test_not_an_imagenet_folder(tmp_path, names, found):
    touch(tmp_path, *names)
    message = refusal(tmp_path)
    assert "should hold train/ and val/" in message
    assert message.endswith(found)


def test_train_without_class_folders(in_folders):
    shutil.rmtree(in_folders / "train")
    touch(in_folders, "train/n01440764.tar", "train/cats/a.JPEG")
    message = refusal(in_folders)
    assert f"{in_folders}/train should hold a folder of images per class" in message
    assert "it holds cats, n01440764.tar." in message
    assert "Unpack" in message


def test_train_without_images(in_folders):
    for path in in_folders.glob("train/*/*"):
        path.rename(path.with_suffix(".npy"))
    message = refusal(in_folders)
    assert f"{in_folders}/train/n01440764 should hold files that end in .jpeg, .jpg" in message


def test_val_class_unknown_to_train(in_folders):
    touch(in_folders, "val/n09999999/a.JPEG")
    message = refusal(in_folders)
    assert f"{in_folders}/val holds class folders that train/ does not: n09999999." in message


def test_val_of_neither_form(in_folders):
    shutil.rmtree(in_folders / "val")
    touch(in_folders, "val/cat.JPEG", "val/notes.txt")
    message = refusal(in_folders)
    assert "ILSVRC2012_val_00000001.JPEG; it holds cat.JPEG, notes.txt." in message


def test_val_half_sorted_into_folders(in_folders):
    touch(in_folders, val_image(7), val_image(8))
    message = refusal(in_folders)
    assert "both class folders and 2 images without one, such as ILSVRC2012_val_0000" in message


@pytest.mark.parametrize(
    ("name", "char"), [("train/n01440764/a b.JPEG", " "), ("val/n01440764/a\tb.png", "\t")]
)
def test_space_in_a_file_name(in_folders, name, char):
    touch(in_folders, name)
    message = refusal(in_folders)
    assert str(in_folders / name) in message
    assert "Rename" in message


def test_space_beside_numbered_images(flat):
    write_devkit(flat / KIT)
    touch(flat, "val/ILSVRC2012_val_00000001 (copy).JPEG")
    assert "00000001 (copy).JPEG has a space" in refusal(flat)


def test_missing_kit(flat):
    message = refusal(flat)
    for text in (
        GROUND_TRUTH,
        "meta.mat",
        f"not in {flat}/{KIT}/data or {flat}/{KIT}.",
        f"Unpack {KIT}.tar.gz in {flat}",
        "--devkit",
    ):
        assert text in message


@pytest.mark.parametrize("absent", [GROUND_TRUTH, "meta.mat"])
def test_incomplete_kit(flat, tmp_path, absent):
    write_devkit(tmp_path / "kit")
    (tmp_path / "kit" / absent).unlink()
    message = refusal(flat, devkit=tmp_path / "kit")
    assert f"not in {tmp_path}/kit/data or {tmp_path}/kit." in message


@pytest.mark.parametrize("value", ["0", "4", "1001", "-1", "2.5", "", "x", "\x80\xff", "9" * 5000])
def test_ground_truth_that_is_no_class(flat, value):
    write_devkit(flat / KIT)
    (flat / KIT / GROUND_TRUTH).write_bytes(f"1\n3\n{value}\n2\n".encode("latin-1"))
    message = refusal(flat)
    assert f"Line 3 of {flat}/{KIT}/{GROUND_TRUTH}" in message
    assert "not one of the 3 class IDs" in message
    assert len(message) < 500


@pytest.mark.parametrize("number", [0, 5, 50001])
def test_image_that_the_ground_truth_lacks(flat, number):
    write_devkit(flat / KIT)
    touch(flat, val_image(number))
    message = refusal(flat)
    assert f"{GROUND_TRUTH} has 4 lines, none for {flat}/{val_image(number)}." in message


def test_numbered_image_of_a_class_unknown_to_train(flat):
    write_devkit(flat / KIT)
    shutil.rmtree(flat / "train" / "n01443537")
    message = refusal(flat)
    assert f"{flat}/{val_image(2)} is of class n01443537, which has no folder" in message


def truncated_mat():
    content = io.BytesIO()
    write_synsets(content, [(i, f"n{i:08d}", 0) for i in range(1, 50)])
    return content.getvalue()[:700]


def other_mat(**variables):
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no mat file at all, but long enough to be taken for one" * 10,
        truncated_mat(),
        other_mat(other=[1]),
        other_mat(synsets=np.arange(3)),
        other_mat(synsets=np.array([(1, "n01440764")], dtype=[("ID", "O"), ("WNID", "O")])),
    ],
    ids=["empty", "text", "truncated", "no synsets", "numbers", "other fields"],
)
def test_broken_synsets(flat, content):
    write_devkit(flat / KIT)
    (flat / KIT / "meta.mat").write_bytes(content)
    message = refusal(flat)
    assert f"{flat}/{KIT}/meta.mat cannot be read as the synsets" in message
    assert "Unpack" in message


def test_synsets_without_leaves(flat):
    write_devkit(flat / KIT)
    write_synsets(flat / KIT / "meta.mat", [(1, "n01440764", 3), (1001, "n01443537", 0)])
    assert "meta.mat names no class" in refusal(flat)


def test_unreadable_folder(in_folders, monkeypatch):
    # Permissions do not stop root, which tests may run as.
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == WNIDS[1]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"val/{WNIDS[1]} cannot be read: Permission denied" in refusal(in_folders)


def test_lists_that_are_right_are_not_written_again(in_folders, fail_replace):
    prepare_imagenet(in_folders)
    with fail_replace(1, AssertionError("a file was written")):
        assert prepare_imagenet(in_folders).written == 0


def test_lists_that_differ_are_kept_unless_overwritten(in_folders, read_tree):
    prepare_imagenet(in_folders)
    touch(in_folders, "train/n01440764/n01440764_11.JPEG")
    before = read_tree(in_folders)
    message = refusal(in_folders)
    for text in (
        f"{in_folders} already holds files with other content: train_list.txt.",
        "train_list.txt differs first in line 2: 'train/n01440764/n01440764_9.JPEG 0\\n', "
        "not 'train/n01440764/n01440764_11.JPEG 0\\n'",
        "--output",
        "--overwrite",
    ):
        assert text in message
    assert read_tree(in_folders) == before

    assert prepare_imagenet(in_folders, overwrite=True).written == 1
    assert "train/n01440764/n01440764_11.JPEG 0" in lines(in_folders / "train_list.txt")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_interrupted_run_keeps_the_old_lists(in_folders, read_tree, fail_replace, error):
    for name in ("train_list.txt", "val_list.txt"):
        (in_folders / name).write_text("mine\n")
    before = read_tree(in_folders)
    with fail_replace(1, error), pytest.raises((KeyboardInterrupt, UserError)):
        prepare_imagenet(in_folders, overwrite=True)
    assert read_tree(in_folders) == before
    assert prepare_imagenet(in_folders, overwrite=True).written == 2


def test_neither_list_changes_until_both_are_on_disk(in_folders, read_tree, monkeypatch):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    before = read_tree(in_folders)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        prepare_imagenet(in_folders)
    assert read_tree(in_folders) == before


def test_output_keeps_root_untouched(in_folders, tmp_path, read_tree):
    before = read_tree(in_folders)
    summary = prepare_imagenet(in_folders, output=tmp_path / "a" / "lists")
    assert read_tree(in_folders) == before
    assert sorted(read_tree(tmp_path / "a" / "lists")) == ["train_list.txt", "val_list.txt"]
    assert lines(summary.train_list)[0] == "train/n01440764/n01440764_10.JPEG 0"


def test_output_that_is_a_file(in_folders, tmp_path):
    (tmp_path / "lists").touch()
    assert "lists is a file, not a folder" in refusal(in_folders, output=tmp_path / "lists")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_names_that_are_no_text_keep_their_bytes(in_folders):
    name = b"\xff\xfe.JPEG"
    with open(os.fsencode(in_folders / "train" / WNIDS[0]) + b"/" + name, "wb"):
        pass
    assert b"/" + name + b" 0\n" in prepare_imagenet(in_folders).train_list.read_bytes()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)],
)
def test_progress_bar_on_a_terminal_only(in_folders, stream, progress, shown):
    with contextlib.redirect_stderr(stream()) as stderr:
        prepare_imagenet(in_folders, progress=progress)
    assert ("3/3" in stderr.getvalue()) == shown


def test_command_on_a_subset(in_folders, run_prepare):
    shutil.rmtree(in_folders / "val" / "n02102040")
    touch(in_folders, "val/readme.txt")
    printed = run_prepare("imagenet", in_folders)
    for text in (
        "6 training and 2 validation images of 3 classes; "
        "files or folders that are no part of them: 1, ignored.",
        f"Warning: {in_folders}/val has no images of 1 of the 3 classes: n02102040.",
        f"{in_folders}/train_list.txt and val_list.txt: written.",
        "python -m paddle.distributed.launch tools/train.py -c ppcls_configs/ECA_ResNet50.yaml",
        f"-o DataLoader.Train.dataset.image_root={in_folders} ",
        f"-o DataLoader.Eval.dataset.cls_label_path={in_folders}/val_list.txt ",
        "-o Arch.class_num=3",
    ):
        assert text in printed
    assert "already there, unchanged" in run_prepare("imagenet", in_folders)


def test_command_where_the_configuration_looks(in_folders, tmp_path, monkeypatch, run_prepare):
    (tmp_path / "dataset").mkdir()
    in_folders.rename(tmp_path / "dataset" / "ILSVRC2012")
    monkeypatch.chdir(tmp_path)
    assert "DataLoader" not in run_prepare("imagenet", "dataset/ILSVRC2012/")
    printed = run_prepare("imagenet", "dataset/ILSVRC2012", "--output", "my lists")
    assert "-o 'DataLoader.Train.dataset.cls_label_path=./my lists/train_list.txt'" in printed
    assert "-o DataLoader.Train.dataset.image_root=./dataset/ILSVRC2012" in printed


def test_command_passes_the_kit_on(flat, tmp_path, run_prepare):
    write_devkit(tmp_path / "kit")
    assert "4 validation images" in run_prepare("imagenet", flat, "--devkit", tmp_path / "kit")


def test_command_overwrites_on_request(in_folders, run_prepare):
    (in_folders / "val_list.txt").write_text("mine\n")
    with pytest.raises(UserError, match="--overwrite"):
        run_prepare("imagenet", in_folders)
    assert "written" in run_prepare("imagenet", in_folders, "--overwrite")
