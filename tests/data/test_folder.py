from __future__ import annotations

import os
import sys
from collections import Counter

import pytest
import yaml

from paddleclas_eca.configs import find_config, load_yaml
from paddleclas_eca.data import prepare_folder
from paddleclas_eca.data.folder import TEMPLATE
from paddleclas_eca.errors import UserError

COUNTS = {"daisy": 10, "red rose": 5, "tulip": 2}


def make(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{name[0]} {i}.jpg").touch()
    return root


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "flowers", COUNTS).relative_to(tmp_path)


def entries(path):
    return [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]


def test_share_of_each_class_is_for_validation(flowers):
    prepared = prepare_folder(flowers)
    assert prepared.classes == ("daisy", "red rose", "tulip")
    train, val = entries(flowers / "train_list.txt"), entries(flowers / "val_list.txt")
    assert Counter(label for _, label in val) == {"0": 2, "1": 1, "2": 1}
    assert Counter(label for _, label in train + val) == {"0": 10, "1": 5, "2": 2}
    names = [name for name, _ in train + val]
    assert len(set(names)) == len(names) == sum(COUNTS.values())
    for name, label in train + val:
        assert (flowers / name).is_file()
        assert name.split("/")[0] == prepared.classes[int(label)]
    assert (flowers / "label_list.txt").read_text() == "0 daisy\n1 red rose\n2 tulip\n"
    assert (prepared.train_images, prepared.val_images) == (len(train), len(val))


def test_split_is_that_of_the_seed_and_a_new_class_does_not_change_the_others(flowers):
    def drawn(**options):
        prepare_folder(flowers, overwrite=True, **options)
        return {name for name, label in entries(flowers / "val_list.txt") if "daisy" in name}

    first = drawn()
    # Lists that are there must not change with the version of this package.
    assert first == {"daisy/d 1.jpg", "daisy/d 6.jpg"}
    assert any(drawn(seed=seed) != first for seed in (1, 2, 3))
    make(flowers, {"aster": 4})
    assert drawn() == first


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "VAL")])
def test_splits_that_are_there_are_kept(tmp_path, names):
    make(tmp_path / names[0], COUNTS)
    make(tmp_path / names[1], {"daisy": 1, "tulip": 1})
    (tmp_path / "test").mkdir()
    prepared = prepare_folder(tmp_path)
    assert (prepared.train_images, prepared.val_images, prepared.ignored) == (17, 2, 1)
    listed = entries(tmp_path / "val_list.txt")
    assert listed == [[f"{names[1]}/daisy/d 0.jpg", "0"], [f"{names[1]}/tulip/t 0.jpg", "2"]]
    assert "red rose" in prepared.warnings[0]
    assert (tmp_path / load_yaml(prepared.config)["Infer"]["infer_imgs"]).is_file()


def test_config_is_the_template_changed_for_the_images(flowers):
    prepared = prepare_folder(flowers, model="ECA_MobileNetV2")
    assert prepared.config == flowers / "ECA_MobileNetV2.yaml"
    written, template = load_yaml(prepared.config), load_yaml(find_config(TEMPLATE))
    expected = yaml.safe_load(yaml.safe_dump(template))
    expected["Global"].update(
        output_dir="./output/flowers/", save_inference_dir="./inference/flowers"
    )
    expected["Arch"].update(name="ECA_MobileNetV2", class_num=3)
    for loader, split in (("Train", "train"), ("Eval", "val")):
        expected["DataLoader"][loader]["dataset"].update(
            image_root="flowers", cls_label_path=f"flowers/{split}_list.txt"
        )
        expected["Metric"][loader][0]["TopkAcc"]["topk"] = [1, 3]
    expected["Infer"]["infer_imgs"] = f"flowers/{entries(flowers / 'val_list.txt')[0][0]}"
    expected["Infer"]["PostProcess"].update(topk=3, class_id_map_file="flowers/label_list.txt")
    assert written == expected
    # Comments of the template, which say what the values are.
    text = prepared.config.read_text(encoding="utf-8")
    assert "# for a batch of 64" in text
    assert "images of flowers" in text.splitlines()[0]


def test_nothing_is_replaced_unless_asked(flowers):
    assert prepare_folder(flowers).ignored == 0
    config = flowers / "ECA_ResNet50.yaml"
    again = prepare_folder(flowers)
    # Its own files are not those of anybody else.
    assert (again.written, again.ignored) == (0, 0)
    config.write_text(config.read_text().replace("epochs: 40", "epochs: 3"))
    with pytest.raises(UserError, match=r"ECA_ResNet50\.yaml.*--overwrite"):
        prepare_folder(flowers)
    assert "epochs: 3" in config.read_text()
    assert prepare_folder(flowers, overwrite=True).written == 1


def test_what_is_ignored_is_counted(flowers):
    make(flowers, {"empty": 0, ".cache": 2})
    for name in ("a.jpg", "notes.md", "daisy/notes.md", "empty/notes.md", "tulip/.t 1.jpg"):
        (flowers / name).touch()
    prepared = prepare_folder(flowers)
    assert prepared.classes == tuple(COUNTS)
    assert prepared.ignored == 7


@pytest.mark.parametrize(
    ("counts", "options", "names"),
    [
        ({}, {}, "images per class"),
        ({"daisy": 3}, {}, "daisy"),
        ({"daisy": 3, "tulip": 1}, {}, "tulip"),
        ({"train/daisy": 2, "train/tulip": 1, "val/dasy": 1}, {}, "val.*dasy"),
        ({"train/daisy": 2, "val/daisy": 0}, {}, "val"),
        (COUNTS, {"val_share": 1.0}, "--val 1"),
        (COUNTS, {"val_share": float("nan")}, "--val nan"),
        (COUNTS, {"model": "ECA_ResNet5O"}, "ECA_ResNet50"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(tmp_path, counts, options, names):
    make(tmp_path, counts)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=names):
        prepare_folder(tmp_path, **options)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_directory_whose_name_is_no_text(tmp_path):
    root = tmp_path / os.fsdecode(b"\xff")
    make(root, COUNTS)
    with pytest.raises(UserError, match="not UTF-8 text"):
        prepare_folder(root)


def test_a_directory_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        prepare_folder(tmp_path / "nowhere")
