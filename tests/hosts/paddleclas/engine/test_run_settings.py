"""What the ranks of a job must have in common, and what each may have for itself."""

from __future__ import annotations

import re
import shutil

import pytest

from paddleclas_eca.hosts.paddleclas.engine.run_settings import settings_to_share

TRAIN = "DataLoader.Train"
COMMON = {
    "Global.epochs": 3,
    "Global.eval_during_train": False,
    "Global.peer_timeout": 0,
    "Global.checkpoints": "auto",
    "Arch.class_num": 11,
    "Arch.name": "ResNet18",
    "Optimizer.lr.learning_rate": 0.2,
    f"{TRAIN}.sampler.batch_size": 5,
    f"{TRAIN}.dataset.transform_ops.1.ResizeImage.size": 8,
    "Loss.Train.0.CELoss.epsilon": 0.2,
}
OWN = {
    "Global.output_dir": "elsewhere",
    "Global.pretrained_model": "weights",
    "Global.seed": 7,
    "Global.progress": False,
    f"{TRAIN}.dataset.image_root": "elsewhere",
    f"{TRAIN}.loader.num_workers": 4,
    "Infer.batch_size": 3,
}


@pytest.fixture
def settings(ppcls, make_config):
    return lambda changes=None, mode="train": settings_to_share(ppcls, make_config(changes), mode)


@pytest.mark.parametrize("key", COMMON)
def test_it_must_be_the_same(settings, key):
    ours, theirs = settings(), settings({key: COMMON[key]})
    key = re.sub(r"\.\d+", "", key)  # entries of lists have names
    assert {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)} == {key}


@pytest.mark.parametrize("key", OWN)
def test_it_may_differ(settings, key):
    assert settings({key: OWN[key]}) == settings()


def test_another_command_or_version_differs(settings, monkeypatch):
    assert settings(mode="eval") != settings()
    ours = settings()
    monkeypatch.setattr("paddle.__version__", "0.0")
    assert settings() != ours


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda text: text, True),
        (lambda text: "\r\n".join(f"/data/{line}" for line in text.split("\n")), True),
        (lambda text: text.replace(" 3", " 4", 1), False),
        (lambda text: text + text.splitlines()[0] + "\n", False),
    ],
    ids=["copy", "other root", "label", "line"],
)
def test_label_lists_are_compared_by_content(settings, digits, tmp_path, change, same):
    text = (digits / "train_40.txt").read_text().rstrip("\n")
    (tmp_path / "other.txt").write_bytes(change(text).encode())
    shutil.copy(digits / "train_40.txt", tmp_path / "ours.txt")
    (tmp_path / "ours.txt").write_text(text)
    key = f"{TRAIN}.dataset.cls_label_path"
    lists = [settings({key: str(tmp_path / name)}) for name in ("ours.txt", "other.txt")]
    assert (lists[0] == lists[1]) == same


def test_two_paths_of_a_checkpoint_are_the_same_setting(settings):
    key = "Global.checkpoints"
    assert settings({key: "/a/latest"}) == settings({key: "/b/latest"}) != settings()
