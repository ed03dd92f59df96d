"""The commands as a user types them, in processes of their own, on real images."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from training_log import evaluated_top1, logged_steps, run_folder

DIGITS = "digits/ECA_ResNet18"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_train_learns_and_leaves_checkpoints(trained):
    steps = logged_steps(trained.log)
    assert [(s.epoch, s.iteration) for s in steps] == [(e, i) for e in (1, 2, 3) for i in range(3)]
    assert len(evaluated_top1(trained.log)) == 3
    for name in ("best_model", "latest", "epoch_1", "epoch_2", "epoch_3"):
        for ending in ("pdparams", "pdopt", "pdstates"):
            assert (trained.folder / f"{name}.{ending}").is_file()
    losses = [float(v) for v in re.findall(r"\[Train\].*\[Avg\].* loss: ([0-9.]+)", trained.log)]
    assert losses[-1] < losses[0]


def test_train_with_two_processes(tmp_path, run_tool, short_digits):
    overrides = [*short_digits, "Global.epochs=1"]
    finished = run_tool("train", DIGITS, overrides, processes=2, cwd=tmp_path)
    # 96 images by 2 processes of 32: two steps an epoch instead of three.
    steps = [(step.epoch, step.iteration) for step in logged_steps(finished.stdout)]
    assert steps == [(1, 0), (1, 1)]
    assert (tmp_path / "log" / "workerlog.1").is_file()
    assert (run_folder(tmp_path / "output") / "latest.pdparams").is_file()


ALL_SWITCHES = ("Global.to_static=True", "AMP.use_amp=True", "EMA.decay=0.9")


@pytest.mark.slow
@pytest.mark.parametrize("switches", [(), ALL_SWITCHES], ids=["NHWC", "all"])
def test_train_with_the_switches_of_the_config(tmp_path, run_tool, short_digits, trained, switches):
    overrides = [*short_digits, "Global.epochs=1", "Arch.data_format=NHWC", *switches]
    log = run_tool("train", DIGITS, overrides, cwd=tmp_path).stdout
    assert [s.iteration for s in logged_steps(log)] == [0, 1, 2]
    # The averaged weights are evaluated, too.
    assert len(evaluated_top1(log)) == (2 if switches else 1)
    assert ("Successfully to apply @to_static" in log) == bool(switches)
    if not switches:
        # The same numbers in another order of memory: the same learning, up to rounding.
        assert first_loss(log) == pytest.approx(first_loss(trained.log), rel=1e-3)


def first_loss(log):
    return float(re.search(r"\[Train\].*\[Iter: 0/.* loss: ([0-9.]+)", log)[1])


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_eval_gives_the_accuracy_that_training_saw(
    tmp_path, run_tool, short_digits, trained, processes
):
    overrides = [*short_digits, f"Global.pretrained_model={trained.folder / 'latest'}"]
    finished = run_tool("eval", DIGITS, overrides, processes=processes, cwd=tmp_path)
    assert evaluated_top1(finished.stdout) == evaluated_top1(trained.log)[-1:]


def predictions(output):
    # Printed by some versions of PaddleClas, logged by others.
    return [
        entry
        for line in output.splitlines()
        if "[{'class_ids'" in line
        for entry in ast.literal_eval(line[line.index("[{'class_ids'") :])
    ]


def test_infer_names_the_classes_of_the_shipped_images(tmp_path, run_tool, trained):
    weights = f"Global.pretrained_model={trained.folder / 'latest'}"
    entries = predictions(run_tool("infer", DIGITS, [weights], cwd=tmp_path).stdout)
    names = [Path(entry["file_name"]).name for entry in entries]
    assert names == ["1.png", "3.png", "5.png", "7.png"]
    for entry in entries:
        assert len(entry["class_ids"]) == 3
        assert entry["label_names"] == [WORDS[i] for i in entry["class_ids"]]


@pytest.mark.slow
def test_infer_with_two_processes_shares_out_the_images(tmp_path, run_tool, digits, trained):
    folder = tmp_path / "mine"
    folder.mkdir()
    for i, source in enumerate(sorted((digits / "val" / "4").iterdir())[:4]):
        shutil.copy(source, folder / f"{i}.png")
    overrides = [f"Global.pretrained_model={trained.folder / 'latest'}", "Global.log_ranks='0,1'"]
    overrides.append(f"Infer.infer_imgs={folder}")
    run_tool("infer", DIGITS, overrides, processes=2, cwd=tmp_path)
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    names = [[entry["file_name"] for entry in predictions(log)] for log in logs]
    assert names == [[str(folder / f"{i}.png") for i in part] for part in ((0, 2), (1, 3))]


@pytest.mark.slow
def test_export_with_two_processes_is_refused(tmp_path, run_tool):
    finished = run_tool("export_model", DIGITS, processes=2, cwd=tmp_path, fails=True)
    assert "error: a model is exported by one process" in finished.stdout + finished.stderr
    assert not (tmp_path / "inference").exists()


def test_export_gives_the_model_with_softmax(trained, trained_exported):
    folder = trained_exported.folder
    assert {p.name for p in folder.iterdir()} >= {"inference.json", "inference.pdiparams"}

    from paddleclas_eca import create_model

    x = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype("float32")
    weights = str(trained.folder / "latest")
    model = create_model("ECA_ResNet18", class_num=10, pretrained=weights)
    model.eval()
    expected = paddle.nn.functional.softmax(model(paddle.to_tensor(x))).numpy()

    config = paddle.inference.Config(
        str(folder / "inference.json"), str(folder / "inference.pdiparams")
    )
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
    predictor.run()
    output = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_resume_continues_epoch_and_learning_rate(tmp_path, run_tool, short_digits, trained):
    overrides = [*short_digits, f"Global.checkpoints={trained.folder / 'epoch_2'}"]
    log = run_tool("train", DIGITS, overrides, cwd=tmp_path).stdout
    # The third epoch, and nothing else, with the rates that the whole run had there.
    assert logged_steps(log) == [s for s in logged_steps(trained.log) if s.epoch == 3]


@pytest.mark.slow
def test_fine_tune_with_another_number_of_classes(
    tmp_path, run_tool, short_digits, digits, trained
):
    for source, name in (("train_96.txt", "train_4.txt"), ("val_32.txt", "val_4.txt")):
        lines = [
            line for line in (digits / source).read_text().splitlines(True) if line[-2] in "0123"
        ]
        (tmp_path / name).write_text("".join(lines))
    overrides = [
        *short_digits,
        f"DataLoader.Train.dataset.cls_label_path={tmp_path / 'train_4.txt'}",
        f"DataLoader.Eval.dataset.cls_label_path={tmp_path / 'val_4.txt'}",
        "Arch.class_num=4",
        "Metric.Train.0.TopkAcc.topk=[1, 2]",
        "Metric.Eval.0.TopkAcc.topk=[1, 2]",
        f"Global.pretrained_model={trained.folder / 'best_model'}",
        "Global.epochs=1",
    ]
    finished = run_tool("train", DIGITS, overrides, cwd=tmp_path)
    assert "fc.weight [512, 10] -> [512, 4]" in finished.stdout
    state = paddle.load(str(run_folder(tmp_path / "output") / "latest.pdparams"))
    assert state["fc.weight"].shape == [512, 4]


@pytest.mark.slow
def test_imagenet_recipe_trains_on_a_small_imagenet(tmp_path, run_tool, run_command):
    """The command of the README, on two classes of real photographs."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for wnid, photograph in zip(("n01440764", "n01443537"), load_sample_images().images):
        for split, count in (("train", 4), ("val", 2)):
            folder = tmp_path / "dataset" / "ILSVRC2012" / split / wnid
            folder.mkdir(parents=True)
            for i in range(count):
                crop = photograph[20 * i : 20 * i + 300, 30 * i : 30 * i + 400]
                Image.fromarray(crop).save(folder / f"{wnid}_{i}.JPEG")
    run_command("prepare", "imagenet", "dataset/ILSVRC2012", cwd=tmp_path)
    overrides = [
        "Global.device=cpu",
        "Global.epochs=1",
        "Global.print_batch_step=1",
        "Arch.class_num=2",
        "Metric.Train.0.TopkAcc.topk=[1, 2]",
        "Metric.Eval.0.TopkAcc.topk=[1, 2]",
        *(f"DataLoader.{part}.sampler.batch_size=2" for part in ("Train", "Eval")),
        *(f"DataLoader.{part}.loader.num_workers=1" for part in ("Train", "Eval")),
    ]
    config = "ppcls_configs/ECA_ResNet50.yaml"
    log = run_tool("train", config, overrides, processes=2, cwd=tmp_path).stdout
    assert [s.iteration for s in logged_steps(log)] == [0, 1]
    assert len(evaluated_top1(log)) == 1


def test_mistakes_are_reported_together_before_anything_is_written(tmp_path, run_tool):
    mistakes = ["Arch.name=ECA_ResNet5O", "Global.pretrained_model=nowhere/best"]
    finished = run_tool("train", "ECA_ResNet50", mistakes, cwd=tmp_path, fails=True)
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    expected = ["Arch.name.*ECA_ResNet50", r"nowhere/best\.pdparams", "cls_label_path"]
    if not paddle.device.is_compiled_with_cuda():
        expected.append("-o Global.device=cpu")
    for pattern in expected:
        assert any(re.search(pattern, line) for line in errors), (pattern, errors)
    assert not any(tmp_path.iterdir())
