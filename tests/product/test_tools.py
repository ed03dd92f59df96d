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
    finished = run_tool(
        "train", DIGITS, [*short_digits, "Global.epochs=2"], processes=2, cwd=tmp_path
    )
    # 96 images by 2 processes of 32: two steps an epoch instead of three.
    assert [(s.epoch, s.iteration) for s in logged_steps(finished.stdout)] == [
        (e, i) for e in (1, 2) for i in range(2)
    ]
    assert (tmp_path / "log" / "workerlog.1").is_file()
    assert (run_folder(tmp_path / "output") / "latest.pdparams").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        ["Global.to_static=True"],
        ["Arch.data_format=NHWC"],
        ["AMP.use_amp=True"],
        ["EMA.decay=0.9"],
        ["Global.to_static=True", "Arch.data_format=NHWC", "AMP.use_amp=True", "EMA.decay=0.9"],
    ],
    ids=" ".join,
)
def test_train_with_the_switches_of_the_config(tmp_path, run_tool, short_digits, trained, switches):
    finished = run_tool(
        "train", DIGITS, [*short_digits, "Global.epochs=1", *switches], cwd=tmp_path
    )
    assert [s.iteration for s in logged_steps(finished.stdout)] == [0, 1, 2]
    accuracies = evaluated_top1(finished.stdout)
    assert len(accuracies) == (2 if "EMA.decay=0.9" in switches else 1)
    assert ("Successfully to apply @to_static" in finished.stdout) == (
        "Global.to_static=True" in switches
    )
    if switches == ["Arch.data_format=NHWC"]:
        # The same numbers in another order of memory: the same learning, up to rounding.
        assert first_loss(finished.stdout) == pytest.approx(first_loss(trained.log), rel=1e-3)


def first_loss(log):
    return float(re.search(r"\[Train\].*\[Iter: 0/.* loss: ([0-9.]+)", log)[1])


def test_eval_gives_the_accuracy_that_training_saw(tmp_path, run_tool, short_digits, trained):
    finished = run_tool(
        "eval",
        DIGITS,
        [*short_digits, f"Global.pretrained_model={trained.folder / 'latest'}"],
        cwd=tmp_path,
    )
    assert evaluated_top1(finished.stdout) == evaluated_top1(trained.log)[-1:]


def test_eval_with_two_processes(tmp_path, run_tool, short_digits, trained):
    weights = f"Global.pretrained_model={trained.folder / 'latest'}"
    finished = run_tool("eval", DIGITS, [*short_digits, weights], processes=2, cwd=tmp_path)
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
    finished = run_tool(
        "infer", DIGITS, [f"Global.pretrained_model={trained.folder / 'latest'}"], cwd=tmp_path
    )
    entries = predictions(finished.stdout)
    names = [entry["file_name"].replace("\\", "/").split("/")[-1] for entry in entries]
    assert names == ["1.png", "3.png", "5.png", "7.png"]
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for entry in entries:
        assert len(entry["class_ids"]) == 3
        assert entry["label_names"] == [words[i] for i in entry["class_ids"]]


def test_infer_with_two_processes_shares_out_the_images(tmp_path, run_tool, trained):
    weights = f"Global.pretrained_model={trained.folder / 'latest'}"
    run_tool("infer", DIGITS, [weights, "Global.log_ranks='0,1'"], processes=2, cwd=tmp_path)
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    names = [[Path(e["file_name"]).name for e in predictions(log)] for log in logs]
    assert names == [["1.png", "5.png"], ["3.png", "7.png"]]


def test_export_with_two_processes_is_refused(tmp_path, run_tool):
    finished = run_tool("export_model", DIGITS, processes=2, cwd=tmp_path, fails=True)
    assert "error: a model is exported by one process" in finished.stdout + finished.stderr
    assert not (tmp_path / "inference").exists()


def test_infer_on_an_image_of_the_user(tmp_path, run_tool, digits, trained):
    image = tmp_path / "mine.png"
    shutil.copy(next((digits / "val" / "4").iterdir()), image)
    overrides = [
        f"Global.pretrained_model={trained.folder / 'latest'}",
        f"Infer.infer_imgs={image}",
    ]
    finished = run_tool("infer", DIGITS, overrides, cwd=tmp_path)
    assert [entry["file_name"] for entry in predictions(finished.stdout)] == [str(image)]


def test_export_gives_the_model_with_softmax(tmp_path, run_tool, trained):
    weights = trained.folder / "latest"
    run_tool("export_model", DIGITS, [f"Global.pretrained_model={weights}"], cwd=tmp_path)
    exported = tmp_path / "inference" / "digits"
    assert {p.name for p in exported.iterdir()} >= {"inference.json", "inference.pdiparams"}

    from paddleclas_eca import create_model

    x = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype("float32")
    model = create_model("ECA_ResNet18", class_num=10, pretrained=str(weights))
    model.eval()
    expected = paddle.nn.functional.softmax(model(paddle.to_tensor(x))).numpy()

    config = paddle.inference.Config(
        str(exported / "inference.json"), str(exported / "inference.pdiparams")
    )
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
    predictor.run()
    output = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-5)


def test_resume_continues_epoch_and_learning_rate(tmp_path, run_tool, short_digits, trained):
    finished = run_tool(
        "train",
        DIGITS,
        [*short_digits, f"Global.checkpoints={trained.folder / 'epoch_2'}"],
        cwd=tmp_path,
    )
    # The third epoch, and nothing else, with the rates that the whole run had there.
    assert logged_steps(finished.stdout) == [s for s in logged_steps(trained.log) if s.epoch == 3]


def test_fine_tune_with_another_number_of_classes(
    tmp_path, run_tool, short_digits, digits, trained
):
    for source, name in (("train_96.txt", "train_4.txt"), ("val_32.txt", "val_4.txt")):
        lines = [
            line for line in (digits / source).read_text().splitlines(True) if line[-2] in "0123"
        ]
        (tmp_path / name).write_text("".join(lines))
    finished = run_tool(
        "train",
        DIGITS,
        [
            *short_digits,
            f"DataLoader.Train.dataset.cls_label_path={tmp_path / 'train_4.txt'}",
            f"DataLoader.Eval.dataset.cls_label_path={tmp_path / 'val_4.txt'}",
            "Arch.class_num=4",
            "Metric.Train.0.TopkAcc.topk=[1, 2]",
            "Metric.Eval.0.TopkAcc.topk=[1, 2]",
            f"Global.pretrained_model={trained.folder / 'best_model'}",
            "Global.epochs=1",
        ],
        cwd=tmp_path,
    )
    assert "fc.weight [512, 10] -> [512, 4]" in finished.stdout
    state = paddle.load(str(run_folder(tmp_path / "output") / "latest.pdparams"))
    assert state["fc.weight"].shape == [512, 4]


def test_imagenet_recipe_trains_on_a_small_imagenet(tmp_path, run_tool, run_python):
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
    run_python(
        "-c",
        "import sys; from paddleclas_eca.cli import main; sys.exit(main(sys.argv[1:]))",
        *("prepare", "imagenet", "dataset/ILSVRC2012"),
        cwd=tmp_path,
    )
    finished = run_tool(
        "train",
        "ppcls_configs/ECA_ResNet50.yaml",
        [
            "Global.device=cpu",
            "Global.epochs=1",
            "Global.print_batch_step=1",
            "Arch.class_num=2",
            "Metric.Train.0.TopkAcc.topk=[1, 2]",
            "Metric.Eval.0.TopkAcc.topk=[1, 2]",
            *(f"DataLoader.{part}.sampler.batch_size=2" for part in ("Train", "Eval")),
            *(f"DataLoader.{part}.loader.num_workers=1" for part in ("Train", "Eval")),
        ],
        processes=2,
        cwd=tmp_path,
    )
    assert [s.iteration for s in logged_steps(finished.stdout)] == [0, 1]
    assert len(evaluated_top1(finished.stdout)) == 1


MISTAKES = {
    "letter O for zero": (
        ["Arch.name=ECA_ResNet5O"],
        r"Arch\.name: .*'ECA_ResNet5O'.*Did you mean ECA_ResNet50",
    ),
    "unknown option of the model": (["Arch.k_sizes=3"], "no option 'k_sizes'.*Did you mean k_size"),
    "even kernel": (["Arch.k_size=4"], "k_size must be odd .* got 4"),
    "no such weights": (["Global.pretrained_model=nowhere/best"], r"nowhere/best\.pdparams"),
    "no such checkpoint": (["Global.checkpoints=nowhere/latest"], r"nowhere/latest\.pdparams"),
    "no such list": (
        ["DataLoader.Train.dataset.cls_label_path=nowhere.txt"],
        r"DataLoader\.Train\.dataset\.cls_label_path: nowhere\.txt does not exist",
    ),
    "override without a value": (["Global.epochs"], "-o Global.epochs: give it as KEY=VALUE"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path, run_tool, short_digits, mistake):
    overrides, message = MISTAKES[mistake]
    finished = run_tool("train", DIGITS, [*short_digits, *overrides], cwd=tmp_path, fails=True)
    assert "Traceback" not in finished.stderr
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert finished.returncode == 1


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="this Paddle has GPU support")
def test_gpu_without_gpu_is_refused_before_anything_is_loaded(tmp_path, run_tool):
    finished = run_tool("train", "ECA_ResNet50", cwd=tmp_path, fails=True)
    assert "Traceback" not in finished.stderr
    # Among all that is wrong: there is no data either.
    assert "-o Global.device=cpu" in finished.stderr
    # Neither data nor logs were touched.
    assert not any(tmp_path.iterdir())
