from __future__ import annotations

from collections import Counter

import pytest
import yaml
from PIL import Image

from paddleclas_eca import cli
from paddleclas_eca.configs import find_config, load_yaml
from paddleclas_eca.data import prepare_folder
from paddleclas_eca.data.folder import TEMPLATE
from paddleclas_eca.errors import UserError

COUNTS = {"daisy": 10, "red rose": 5, "tulip": 2}


def make(root, counts, ending=".jpg"):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, i, i)).save(root / name / f"{name[0]} {i}{ending}")
    return root


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "flowers", COUNTS)
    return (tmp_path / "flowers").relative_to(tmp_path)


def entries(path):
    return [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]


def test_share_of_each_class_is_for_validation(flowers):
    summary = prepare_folder(flowers)
    assert summary.classes == ("daisy", "red rose", "tulip")
    train, val = entries(flowers / "train_list.txt"), entries(flowers / "val_list.txt")
    assert Counter(label for _, label in val) == {"0": 2, "1": 1, "2": 1}
    assert Counter(label for _, label in train + val) == {"0": 10, "1": 5, "2": 2}
    names = [name for name, _ in train + val]
    assert len(set(names)) == len(names) == sum(COUNTS.values())
    for name, label in train + val:
        assert (flowers / name).is_file()
        assert name.split("/")[0] == summary.classes[int(label)]
    assert (flowers / "label_list.txt").read_text() == "0 daisy\n1 red rose\n2 tulip\n"
    assert (summary.train_images, summary.val_images) == (len(train), len(val))


def test_draw_is_that_of_the_seed_and_a_new_class_leaves_the_others(flowers):
    def drawn(**options):
        prepare_folder(flowers, overwrite=True, **options)
        return {name for name, label in entries(flowers / "val_list.txt") if "daisy" in name}

    first = drawn()
    assert drawn() == first
    assert any(drawn(seed=seed) != first for seed in (1, 2, 3))
    make(flowers, {"aster": 4})
    assert drawn() == first


def test_splits_that_are_there_are_kept(tmp_path):
    make(tmp_path / "train", COUNTS)
    make(tmp_path / "val", {"daisy": 1, "tulip": 1})
    summary = prepare_folder(tmp_path)
    assert (summary.train_images, summary.val_images) == (17, 2)
    assert [name.split("/")[0] for name, _ in entries(tmp_path / "val_list.txt")] == ["val"] * 2
    assert "red rose" in summary.warnings[0]


def test_config_is_the_template_with_what_belongs_to_the_images(flowers):
    summary = prepare_folder(flowers, model="ECA_MobileNetV2")
    assert summary.config == flowers / "ECA_MobileNetV2.yaml"
    written, template = load_yaml(summary.config), load_yaml(find_config(TEMPLATE))
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
    text = summary.config.read_text(encoding="utf-8")
    assert "# for a batch of 64" in text
    assert "images of flowers" in text.splitlines()[0]


def test_nothing_is_replaced_unless_asked(flowers):
    prepare_folder(flowers)
    config = flowers / "ECA_ResNet50.yaml"
    assert prepare_folder(flowers).written == 0
    config.write_text(config.read_text().replace("epochs: 40", "epochs: 3"))
    with pytest.raises(UserError, match=r"ECA_ResNet50\.yaml.*--overwrite"):
        prepare_folder(flowers)
    assert "epochs: 3" in config.read_text()
    assert prepare_folder(flowers, overwrite=True).written == 1


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({}, {}, "holds none"),
        ({"daisy": 3}, {}, "one class, daisy"),
        ({"daisy": 3, "tulip": 1}, {}, "a single image of tulip"),
        (COUNTS, {"val_share": 1.0}, "--val 1 should be above 0 and below 1"),
    ],
)
def test_mistakes(tmp_path, counts, options, message):
    make(tmp_path, counts)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        prepare_folder(tmp_path, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_class_of_val_that_train_lacks(tmp_path):
    make(tmp_path / "train", {"daisy": 1, "tulip": 1})
    make(tmp_path / "val", {"dasy": 1})
    with pytest.raises(UserError, match="classes that train/ does not: dasy"):
        prepare_folder(tmp_path)


def test_command_tells_what_comes_next(flowers, capsys):
    assert cli.main(["prepare", "folder", str(flowers), "--val", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "9 training and 8 validation images of 3 classes" in printed
    assert "paddleclas-eca train -c flowers/ECA_ResNet50.yaml" in printed
    assert cli.main(["prepare", "folder", "nowhere"]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err
    assert cli.main(["prepare", "folder", str(flowers), "--model", "ECA_ResNet5O"]) == 1
    assert "Did you mean ECA_ResNet50" in capsys.readouterr().err
