"""CIFAR-10 from an archive to a prediction, and the three configs that are to be compared."""

from __future__ import annotations

import copy

import pytest
from cifar10_archive import make_batches, pickle_of_python_2, write_archive
from commands import as_options
from training_log import evaluated_top1, logged_steps, run_folder

import paddleclas_eca
from paddleclas_eca.configs import find_config, load_yaml

CONFIGS = {"ECA_ResNet18": "ECA", "SE_ResNet18": "SE", "ResNet18": "none"}


def config(name):
    return load_yaml(find_config(f"cifar10/{name}"))


def test_configs_differ_in_the_attention_alone():
    rest = []
    for name, attention in CONFIGS.items():
        content = copy.deepcopy(config(name))
        assert content["Arch"].pop("attention", "ECA") == attention
        assert content["Global"].pop("output_dir").endswith(f"/{name}")
        assert content["Global"].pop("save_inference_dir").endswith(f"/{name}")
        rest.append(content)
    assert rest[0] == rest[1] == rest[2]


# ResNet-18 without its stages' attention; ECA's 44 weights; SE's 2 * C^2 / 16 in each block.
SE_WEIGHTS = sum(2 * 2 * channels**2 // 16 for channels in (64, 128, 256, 512))


@pytest.mark.parametrize(
    ("name", "more"), [("ResNet18", 0), ("ECA_ResNet18", 44), ("SE_ResNet18", SE_WEIGHTS)]
)
def test_networks_differ_in_the_weights_of_the_attention(name, more):
    arch = {key: value for key, value in config(name)["Arch"].items() if key != "use_sync_bn"}
    model = paddleclas_eca.create_model(**arch)
    count = sum(p.size for p in model.parameters() if not p.stop_gradient)
    # The model of the paper with 10 classes instead of 1,000, less its 44.
    assert count == 11_689_556 - 44 - 990 * 513 + more


@pytest.fixture
def prepared(tmp_path, run_command):
    """A directory with 60 training and 20 test images where the configs look for them."""
    batches = {name: pickle_of_python_2(batch) for name, batch in make_batches(20).items()}
    archive = write_archive(tmp_path / "cifar-10-python.tar.gz", batches)
    counts = ["--train-images", "60", "--val-images", "20"]
    run_command("prepare", "cifar10", "--archive", archive, *counts, cwd=tmp_path)
    return tmp_path


@pytest.mark.slow
def test_from_the_archive_to_a_prediction(prepared, run_tool):
    on_cpu = ["Global.device=cpu", "Global.epochs=1", "Global.print_batch_step=1"]
    on_cpu += [f"DataLoader.{part}.loader.num_workers=0" for part in ("Train", "Eval")]
    on_cpu += ["DataLoader.Train.sampler.batch_size=20"]
    trained = run_tool("train", "cifar10/ECA_ResNet18", on_cpu, cwd=prepared)
    assert len(logged_steps(trained.stdout)) == 3
    assert len(evaluated_top1(trained.stdout)) == 1

    weights = f"Global.pretrained_model={run_folder(prepared / 'output') / 'latest'}"
    evaluated = run_tool("eval", "cifar10/ECA_ResNet18", [*on_cpu, weights], cwd=prepared)
    assert evaluated_top1(evaluated.stdout) == evaluated_top1(trained.stdout)

    images = "Infer.infer_imgs=dataset/cifar10/val/cat"
    inferred = run_tool("infer", "cifar10/ECA_ResNet18", [*on_cpu, weights, images], cwd=prepared)
    names = (
        (find_config("cifar10/ECA_ResNet18").parent / "label_list.txt").read_text().split()[1::2]
    )
    assert any(name in inferred.stdout for name in names)
    assert inferred.stdout.count("00003.png") == 1


@pytest.mark.slow
def test_comparison_runs_once_and_prints_its_table(prepared, repository, run_python):
    script = repository / "maintenance" / "compare_cifar10.py"
    options = ["Global.device=cpu", "Arch.stride_list=[2, 2, 2, 2, 2]"]
    options += [f"DataLoader.{part}.loader.num_workers=0" for part in ("Train", "Eval")]
    words = [*as_options(options), "--seeds", "7", "8", "--epochs", "1", "--jobs", "2"]
    first = run_python(script, *words, cwd=prepared, timeout=900).stdout
    logs = prepared / "output" / "compare_cifar10"
    for name in CONFIGS:
        figures = [
            100 * evaluated_top1((logs / f"{name}-seed{seed}.log").read_text())[-1]
            for seed in (7, 8)
        ]
        row = [f"`{name}`", *(f"{v:.2f}" for v in [*figures, sum(figures) / 2])]
        row.append(f"{min(figures):.2f} to {max(figures):.2f}")
        assert f"| {' | '.join(row)} |" in first.splitlines()
        assert f"{name}, seed 7: " in first
    assert sorted(path.name for path in logs.parent.iterdir()) == ["compare_cifar10"]

    again = run_python(script, *words, cwd=prepared).stdout
    assert again.splitlines() == first.splitlines()[-5:]
    other = run_python(script, *words, "-o", "Global.seed=1", cwd=prepared, fails=True)
    assert "is of a run with other options" in other.stderr
