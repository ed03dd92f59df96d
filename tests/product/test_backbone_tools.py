"""ECA in networks of PaddleClas, trained and exported with the shipped configs, on the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from training_log import evaluated_top1, logged_steps, run_folder

TRANSFORMS = [
    {"DecodeImage": {"to_rgb": True, "channel_first": False}},
    {"ResizeImage": {"size": 32}},
    {
        "NormalizeImage": {
            "scale": "1.0/255.0",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "order": "",
        }
    },
]


def loader(place: str, digits: Path, labels: Path, batch_size: int) -> list[str]:
    """Overrides that make a loader of a config read digits."""
    return [
        f"{place}.dataset.image_root={digits}",
        f"{place}.dataset.cls_label_path={labels}",
        f"{place}.dataset.transform_ops={TRANSFORMS}",
        f"{place}.sampler.batch_size={batch_size}",
        f"{place}.loader.num_workers=0",
        f"{place}.loader.use_shared_memory=False",
    ]


@pytest.fixture
def quick(digits) -> list[str]:
    """Overrides that make an ImageNet config train two short epochs on the digits."""
    return [
        "Global.device=cpu",
        "Global.epochs=2",
        "Global.save_interval=1",
        "Global.print_batch_step=1",
        "Global.image_shape=[3, 32, 32]",
        f"Infer.transforms={[*TRANSFORMS, {'ToCHWImage': None}]}",
        "Optimizer.lr.warmup_epoch=0",
        *loader("DataLoader.Train", digits, digits / "train_40.txt", 20),
        *loader("DataLoader.Eval", digits, digits / "val_20.txt", 20),
    ]


def exported_size(folder: Path) -> int:
    """Values in the weights of an exported model."""
    model = paddle.jit.load(str(next(folder.rglob("inference.pdiparams")).with_suffix("")))
    return sum(int(np.prod(p.shape)) for p in model.state_dict().values())


def test_mobilenet_v3_with_eca(tmp_path, run_tool, quick):
    name = "backbones/ECA_MobileNetV3_large_x1_0"
    overrides = [
        *quick,
        "Arch.class_num=10",
        "Arch.backbone.name=MobileNetV3_small_x0_35",
        "Optimizer.lr.learning_rate=0.01",
    ]
    log = run_tool("train", name, overrides, cwd=tmp_path).stdout
    assert [(s.epoch, s.iteration) for s in logged_steps(log)] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert len(evaluated_top1(log)) == 2
    folder = run_folder(tmp_path / "output")
    state = paddle.load(str(folder / "latest.pdparams"))
    assert state["blocks.0.mid_se.conv.weight"].shape == [1, 1, 3]
    assert not any("mid_se.conv1" in key for key in state)

    overrides.append(f"Global.pretrained_model={folder / 'latest'}")
    run_tool("export_model", name, overrides, cwd=tmp_path)
    total = sum(int(np.prod(v.shape)) for v in state.values() if hasattr(v, "shape"))
    assert exported_size(tmp_path / "inference") == total


@pytest.mark.slow
def test_distillation_of_an_eca_student(tmp_path, run_tool, quick):
    name = "distillation/ECA_ResNet18_from_ResNet50"
    overrides = [
        *quick,
        "Arch.models.0.Teacher.pretrained=False",
        "Arch.models.0.Teacher.name=ResNet18",
        *(f"Arch.models.{i}.{role}.class_num=10" for i, role in enumerate(("Teacher", "Student"))),
        "Arch.class_num=10",
        "Optimizer.lr.decay_epochs=[1]",
        "Optimizer.lr.values=[0.01, 0.001]",
    ]
    overrides.remove("Optimizer.lr.warmup_epoch=0")
    log = run_tool("train", name, overrides, cwd=tmp_path).stdout
    assert [(s.epoch, s.iteration) for s in logged_steps(log)] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert "DistillationGTCELoss" in log and "loss_dkd_Student_Teacher" in log
    assert len(evaluated_top1(log)) == 2
    folder = run_folder(tmp_path / "output")
    # Both networks are saved; the teacher is frozen, so an epoch leaves it as it was.
    states = [paddle.load(str(folder / f"epoch_{epoch}.pdparams")) for epoch in (1, 2)]
    key = "blocks.0.conv0.conv.weight"
    moved = {
        role: np.abs(states[0][f"{role}.{key}"].numpy() - states[1][f"{role}.{key}"].numpy()).max()
        for role in ("Teacher", "Student")
    }
    assert moved["Teacher"] == 0 and moved["Student"] > 0

    overrides.append(f"Global.pretrained_model={folder / 'latest'}")
    run_tool("export_model", name, overrides, cwd=tmp_path)
    student = sum(int(np.prod(v.shape)) for k, v in states[1].items() if k.startswith("Student."))
    assert exported_size(tmp_path / "inference") == student
    assert "class_ids" in run_tool("infer", name, overrides, cwd=tmp_path).stdout


@pytest.mark.slow
def test_metric_learning_on_an_eca_backbone(tmp_path, run_tool, digits):
    for split in ("train_40", "val_20"):
        lines = (digits / f"{split}.txt").read_text().splitlines()
        numbered = [f"{line} {number}\n" for number, line in enumerate(lines)]
        (tmp_path / f"{split}.txt").write_text("".join(numbered))
    name = "metric_learning/ECA_ResNet50_vd_SOP"
    overrides = [
        "Global.device=cpu",
        "Global.epochs=1",
        "Global.eval_interval=1",
        "Global.print_batch_step=1",
        "Global.image_shape=[3, 32, 32]",
        "Arch.Backbone.backbone.name=ResNet18_vd",
        "Arch.Backbone.backbone.pretrained=False",
        "Arch.Backbone.insert_after=blocks[*].conv1",
        "Arch.Neck.embedding_size=512",
        "Arch.Neck.class_num=16",
        "Arch.Head.embedding_size=16",
        "Arch.Head.class_num=10",
        *loader("DataLoader.Train", digits, tmp_path / "train_40.txt", 16),
        *loader("DataLoader.Eval.Query", digits, tmp_path / "val_20.txt", 16),
        *loader("DataLoader.Eval.Gallery", digits, tmp_path / "val_20.txt", 16),
    ]
    log = run_tool("train", name, overrides, cwd=tmp_path).stdout
    assert len(logged_steps(log)) >= 2
    assert "recall1" in log and "mAP" in log
    folder = run_folder(tmp_path / "output")
    state = paddle.load(str(folder / "latest.pdparams"))
    assert state["backbone.blocks.0.conv1.eca.conv.weight"].shape == [1, 1, 3]
    assert state["neck.fc.weight"].shape == [512, 16]

    overrides.append(f"Global.pretrained_model={folder / 'latest'}")
    run_tool("export_model", name, overrides, cwd=tmp_path)
    file = next((tmp_path / "inference").rglob("inference.pdiparams")).with_suffix("")
    model = paddle.jit.load(str(file))
    model.eval()
    assert model(paddle.rand([3, 3, 32, 32])).shape == [3, 16]
