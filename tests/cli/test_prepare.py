from __future__ import annotations

import pytest
from cifar10_archive import make_batches, pickle_of_python_3, write_archive

from paddleclas_eca import cli

PATHS = ("Train.dataset.image_root", "Eval.dataset.image_root")
PATHS += ("Train.dataset.cls_label_path", "Eval.dataset.cls_label_path")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def prepare(capsys):
    """Run ``paddleclas-eca prepare`` with these words, and return what it printed."""

    def run(*words, fails=False) -> str:
        assert cli.main(["prepare", *map(str, words)]) == fails
        printed = capsys.readouterr()
        return printed.err if fails else printed.out

    return run


@pytest.fixture
def run_loading(here, run_python):
    """Run ``paddleclas-eca`` with these words; returns what it printed, and all loaded modules."""

    def run(*words) -> tuple[str, set[str]]:
        code = (
            "import sys; from paddleclas_eca.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print('loaded', *sys.modules)"
        )
        printed = run_python("-c", code, *words, cwd=here).stdout
        printed, _, loaded = printed.rpartition("loaded ")
        return printed, set(loaded.split())

    return run


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_digits_are_written_where_the_configs_look(here, run_loading):
    printed, loaded = run_loading("prepare", "digits")
    assert (here / "dataset" / "digits" / "train_list.txt").is_file()
    assert "1437 training" in printed and "360 validation" in printed
    assert printed.endswith("Next:\n  paddleclas-eca train -c digits/ECA_ResNet18\n")
    # Data can be prepared where there is no Paddle.
    assert "sklearn" in loaded and not {"paddle", "paddleclas", "cv2", "matplotlib"} & loaded


def test_cifar10_subset_of_an_archive(here, prepare):
    members = {name: pickle_of_python_3(batch) for name, batch in make_batches(10).items()}
    archive = write_archive(here / "a.tar.gz", members)
    words = ("cifar10", "--archive", archive, "--train-images", 30, "--val-images", 10)
    printed = prepare(*words)
    assert "30 training" in printed and "10 validation" in printed
    assert f"Warning: {archive}" in printed
    assert printed.endswith("Next:\n  paddleclas-eca train -c cifar10/ECA_ResNet18\n")
    val_list = here / "dataset" / "cifar10" / "val_list.txt"
    assert val_list.read_text().count("\n") == 10
    assert "DataLoader" not in prepare(*words, "--output", here / "dataset" / "cifar10")
    val_list.write_text("mine")
    assert "--overwrite" in prepare(*words, fails=True)
    prepare(*words, "--overwrite")
    assert val_list.read_text() != "mine"
    # Elsewhere the configs need the paths.
    printed = prepare(*words, "--output", "my data")
    for key, value in zip(PATHS, ("", "", "/train_list.txt", "/val_list.txt")):
        assert f"-o 'DataLoader.{key}=./my data{value}'" in printed


def test_folder_of_images(here, prepare):
    make(here / "my flowers", *(f"{name}/{i}.jpg" for name in ("daisy", "tulip") for i in range(4)))
    make(here / "my flowers", "tulip/notes.txt")
    printed = prepare("folder", "my flowers", "--val", "0.5", "--model", "ECA_ResNet18")
    for text in ("4 training", "4 validation", "2 classes", "1 other"):
        assert text in printed
    assert "paddleclas-eca train -c 'my flowers/ECA_ResNet18.yaml'" in printed
    before = (here / "my flowers" / "val_list.txt").read_text()
    options = ("--val", "0.5", "--model", "ECA_ResNet18", "--seed", "7")
    prepare("folder", "my flowers", *options, "--overwrite")
    assert (here / "my flowers" / "val_list.txt").read_text() != before
    assert "nowhere" in prepare("folder", "nowhere", fails=True)
    wrong = prepare("folder", "my flowers", "--model", "ECA_ResNet5O", fails=True)
    assert "Did you mean ECA_ResNet50" in wrong and "Traceback" not in wrong


def test_imagenet_of_a_few_classes(here, prepare):
    wnids = ("n01440764", "n01443537")
    make(here / "in", *(f"{split}/{w}/a.JPEG" for split in ("train", "val") for w in wnids))
    make(here / "in", "val/readme.txt")
    (here / "in" / "val" / wnids[0] / "a.JPEG").unlink()
    printed = prepare("imagenet", "in", "--output", "lists")
    for text in (
        *("2 training", "1 validation", "2 classes", "1 other", "Warning: in/val"),
        "-c ppcls_configs/ECA_ResNet50.yaml",
        "-o DataLoader.Train.dataset.image_root=./in ",
        "-o DataLoader.Eval.dataset.cls_label_path=./lists/val_list.txt ",
        "-o Arch.class_num=2",
    ):
        assert text in printed
    (here / "dataset").mkdir()
    (here / "in").rename(here / "dataset" / "ILSVRC2012")
    assert "DataLoader" not in prepare("imagenet", "dataset/ILSVRC2012/")


def test_other_data_sets_are_refused(capsys):
    for words in ([], ["cats"]):
        with pytest.raises(SystemExit):
            cli.main(["prepare", *words])
        assert "DATASET" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["prepare", "folder", "in", "--output", "a"], "ruamel.yaml"),
        (["prepare", "imagenet", "in", "--output", "b"], "tqdm"),
        (["prepare", "folder"], "argparse"),
        (["plot", "nowhere"], "argparse"),
        (["prepare", "--help"], "argparse"),
    ],
)
def test_nothing_heavy_is_loaded_for_little(here, run_loading, words, needed):
    for split in ("train", "val"):
        make(here, f"in/{split}/n01440764/a.jpg", f"in/{split}/n01443537/a.jpg")
    _, loaded = run_loading(*words)
    assert needed in loaded
    assert not {"paddle", "paddleclas", "cv2", "matplotlib", "torch", "numpy", "scipy"} & loaded
