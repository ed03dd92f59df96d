"""Every patch cures its symptom, in PaddleClas's own code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import compat as patches
from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.compat import datasets

DID_NOT_RAISE = (pytest.fail.Exception, "DID NOT RAISE")


def test_every_patch_has_a_test():
    sources = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    tested = re.findall(r'@pytest\.mark\.without_patch\(\s*"([\w-]+)"', sources)
    assert sorted(set(tested)) == sorted(patch.name for patch in patches.PATCHES)


def test_patches_say_what_they_are_for():
    for patch in patches.PATCHES:
        assert patch.versions and patch.symptom and patch.name.replace("-", "").isalnum()
    assert len({patch.name for patch in patches.PATCHES}) == len(patches.PATCHES)


# Scalars


@pytest.mark.without_patch("scalar-loss", IndexError, "0-dimensional")
def test_training_logs_losses(make_engine, log):
    make_engine({"Global.eval_during_train": False}).train()
    assert re.search(r"\[Train\]\[Epoch 1/1\]\[Avg\].*CELoss: \d", "\n".join(log))


@pytest.mark.without_patch("scalar-meter", IndexError, "0-dimensional")
def test_evaluation_returns_the_metric(make_engine, log):
    accuracy = make_engine(mode="eval").eval()
    assert isinstance(accuracy, float) and 0 <= accuracy <= 1
    assert f"top1: {accuracy:.5f}" in [line for line in log if "[Avg]" in line][0]


# Two queries, four gallery images; similarity ranks the gallery 0 1 2 3 for both.
SIMILARITY = np.tile(np.array([[0.9, 0.8, 0.7, 0.6]], "float32"), (2, 1))
QUERY_IDS = np.array([[1], [2]])
GALLERY_IDS = np.array([[1], [2], [1], [3]])
AVERAGE_PRECISION = ((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2
LOGITS = np.array([[9, -9, 9, -9], [9, 9, -9, -9]], "float32")
TARGETS = np.array([[1, 0, 1, 0], [1, 0, 0, 0]], "float32")


def _measure(ppcls, metric, *tensors):
    measure = ppcls.module("metric").build_metrics([{metric: None}])
    values = measure(*[t if t is None else paddle.to_tensor(t) for t in tensors])
    return float(np.squeeze(values[metric]))


@pytest.mark.without_patch("scalar-metric", IndexError, "0-dimensional|invalid index")
@pytest.mark.parametrize(
    ("metric", "tensors", "expected"),
    [
        ("mAP", (SIMILARITY, QUERY_IDS, GALLERY_IDS, None), AVERAGE_PRECISION),
        ("HammingDistance", (LOGITS, TARGETS), 1 / 8),
        ("AccuracyScore", (LOGITS, TARGETS), 7 / 8),
    ],
)
def test_metrics_of_retrieval_and_multi_label(ppcls, metric, tensors, expected):
    assert _measure(ppcls, metric, *tensors) == pytest.approx(expected)


def _minp_without_mask(ppcls):
    return _measure(ppcls, "mINP", SIMILARITY, QUERY_IDS, GALLERY_IDS, None)


@pytest.mark.without_patch("scalar-metric", IndexError, "0-dimensional|invalid index")
def test_minp(ppcls):
    assert 0 < _minp_without_mask(ppcls) <= 1


@pytest.mark.without_patch("minp-spelling", AttributeError, "indechmx_sample")
def test_minp_with_a_mask_that_keeps_all(ppcls):
    keep = np.ones_like(SIMILARITY)
    masked = _measure(ppcls, "mINP", SIMILARITY, QUERY_IDS, GALLERY_IDS, keep)
    assert masked == _minp_without_mask(ppcls)


# Names


@pytest.mark.without_patch("numpy-int", AttributeError, "has no attribute 'int'")
def test_auto_augment(ppcls):
    (operator,) = ppcls.module("data").create_operators([{"AutoAugment": None}])
    image = np.arange(32 * 32 * 3, dtype="uint8").reshape(32, 32, 3)
    assert any(not np.array_equal(operator(image), image) for _ in range(20))
    assert operator(image).shape == image.shape


@pytest.mark.without_patch("numpy-bool", AttributeError, "has no attribute 'bool'")
def test_mixup_cutmix_hybrid_by_element(ppcls):
    operators = ppcls.module("data.preprocess.batch_ops.batch_operators")
    hybrid = operators.MixupCutmixHybrid(
        mixup_alpha=1.0, cutmix_alpha=1.0, mode="elem", num_classes=10
    )
    batch = [(np.full((3, 8, 8), i, "float32"), i) for i in range(4)]
    images = np.stack([image for image, _ in hybrid(batch)])
    assert images.shape == (4, 3, 8, 8)


@pytest.mark.without_patch("getargspec", AttributeError, "getargspec")
def test_optimizer_sgd(make_engine):
    sgd = {"name": "SGD", "lr": {"name": "Cosine", "learning_rate": 0.1}}
    engine = make_engine({"Optimizer": sgd})
    assert isinstance(engine.optimizer[0], paddle.optimizer.SGD)


@pytest.mark.slow
@pytest.mark.without_patch("cpu-device-id", RuntimeError, "no attribute '_device_id'")
def test_evaluation_in_two_processes(request, run_two_ranks, config_file, tiny_script):
    without = request.node.callspec.params["cure"] == "without"
    removed = ["cpu-device-id"] if without else []
    log = run_two_ranks(tiny_script, "eval", config_file(), *removed)
    assert re.search(r"\[Eval\]\[Epoch 0\]\[Avg\].*top1: \d", log)


# Data


@pytest.fixture
def broken_list(digits, tmp_path):
    """List of images that are there and cannot be decoded."""
    names = [f"{i}.png" for i in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    file = tmp_path / "broken.txt"
    file.write_text("".join(f"{name} 0\n" for name in names))
    return {
        "DataLoader.Train.dataset.image_root": str(tmp_path),
        "DataLoader.Train.dataset.cls_label_path": str(file),
        # It would find them before.
        "Global.preflight": False,
    }


@pytest.mark.without_patch("broken-images", RecursionError, "")
def test_unreadable_images_end_the_run(make_engine, broken_list):
    engine = make_engine(broken_list)
    with pytest.raises(UserError, match=r"20 images in a row .* ImageNetDataset, .*\.png"):
        engine.train_dataloader.dataset[0]


def test_every_data_set_that_retries_is_bounded(ppcls):
    classes = datasets._retrying_datasets(ppcls)
    assert {"CommonDataset", "MultiLabelDataset", "MSMT17"} <= {c.__name__ for c in classes}
    assert all(hasattr(c.__getitem__, "__wrapped__") for c in classes)


@pytest.mark.slow
def test_unreadable_images_end_a_run_with_loader_processes(
    run_python, tiny_script, config_file, broken_list
):
    file = config_file({**broken_list, "DataLoader.Train.loader.num_workers": 1})
    done = run_python(tiny_script, "train", file)
    assert done.returncode != 0
    assert "20 images in a row could not be read" in done.stderr


def test_one_unreadable_image_is_replaced_by_another(make_engine, broken_list, digits, log):
    root, names = Path(broken_list["DataLoader.Train.dataset.image_root"]), []
    for i, line in enumerate((digits / "train_40.txt").read_text().splitlines()):
        name = f"whole{i}.png"
        (root / name).write_bytes((digits / line.split()[0]).read_bytes())
        names.append(name)
    listed = Path(broken_list["DataLoader.Train.dataset.cls_label_path"])
    listed.write_text("".join(f"{name} 0\n" for name in ["0.png", *names]))
    image, label = make_engine(broken_list).train_dataloader.dataset[0]
    assert image.shape == (3, 16, 16) and label == 0
    assert any("Exception occured when parse line" in line for line in log)


@pytest.mark.without_patch("label-ratio", UserError, "in a row could not be read")
def test_multi_label_data_without_label_ratio(ppcls, digits, tmp_path):
    name = (digits / "train_40.txt").read_text().split()[0]
    listed = tmp_path / "multi.txt"
    listed.write_text(f"{name}\t0,1,1\n")
    dataset = ppcls.module("data.dataloader.multilabel_dataset").MultiLabelDataset(
        str(digits), str(listed), [{"DecodeImage": {"to_rgb": True}}]
    )
    image, label = dataset[0]
    assert image.shape == (3, 8, 8) and label.tolist() == [0, 1, 1]


@pytest.mark.without_patch("fmix-type", Exception, "float64|FLOAT64")
def test_training_with_fmix(make_engine, log):
    fmix = {"DataLoader.Train.dataset.batch_transform_ops": [{"FmixOperator": {"alpha": 1}}]}
    make_engine({**fmix, "Global.eval_during_train": False}).train()
    assert any("[Train][Epoch 1/1][Avg]" in line for line in log)


# Networks


@pytest.mark.without_patch("freeze-befor", AttributeError, "freeze_befor")
def test_freezing_the_first_layers(ppcls, tiny):
    net = tiny.tiny_net()
    names = list(net.state_dict())
    assert net.freeze_befor("bn")
    net(paddle.ones([2, 3, 16, 16])).sum().backward()
    assert net.fc.weight.grad is not None
    assert net.conv.weight.grad is None and net.bn.weight.grad is None
    assert list(net.state_dict()) == names


# Weights and configs


@pytest.fixture
def weights_of(tiny, tmp_path):
    """Save the weights of a TinyNet, and return their path without ending."""

    def save(**settings):
        paddle.save(tiny.tiny_net(**settings).state_dict(), str(tmp_path / "net.pdparams"))
        return str(tmp_path / "net")

    return save


@pytest.mark.without_patch("load-report", *DID_NOT_RAISE)
def test_weights_of_another_network_are_refused(make_engine, tmp_path):
    other = paddle.nn.Sequential(paddle.nn.Linear(2, 2))
    paddle.save(other.state_dict(), str(tmp_path / "other.pdparams"))
    with pytest.raises(UserError, match="nothing in the weights .* fits .* Arch.name"):
        make_engine({"Global.pretrained_model": str(tmp_path / "other")})


@pytest.mark.without_patch("load-report", AssertionError, "")
def test_weights_that_fit_in_part_are_reported(make_engine, weights_of, log):
    path = weights_of(class_num=7)
    make_engine({"Global.pretrained_model": path}, mode="eval")
    report = [line for line in log if line.startswith(f"weights {path}")]
    assert report == [
        f"weights {path}: 6 of 8 tensors loaded; 2 of another shape, left as initialised: "
        f"fc.weight [4, 7] -> [4, 10], fc.bias [7] -> [10]"
    ]


@pytest.mark.without_patch("load-report", ValueError, "exists")
def test_missing_weights_are_a_mistake_of_the_user(make_engine, tmp_path):
    with pytest.raises(UserError, match=r"no\.pdparams does not exist"):
        make_engine({"Global.pretrained_model": str(tmp_path / "no"), "Global.preflight": False})


@pytest.mark.without_patch("resume-check", pytest.fail.Exception, "DID NOT RAISE")
def test_checkpoint_of_another_network_is_not_resumed(make_engine, ppcls):
    # As in a new process: the state of an optimizer goes by the names of the parameters.
    with paddle.utils.unique_name.guard():
        engine = make_engine({"Arch.class_num": 12})
        engine.train()
    latest = host.run_folder(ppcls, engine.config) / "latest"
    with paddle.utils.unique_name.guard():
        other = make_engine({"Global.checkpoints": str(latest), "Global.epochs": 1})
    with pytest.raises(UserError, match=r"latest is of another model .* fc\.weight \[4, 12\]"):
        other.train()


@pytest.mark.without_patch("config-rules", KeyError, "Arch")
def test_configs_are_checked_before_anything_is_built(make_config, ppcls, tmp_path):
    config = make_config()
    del config["Arch"]
    with pytest.raises(UserError, match="no section Arch"):
        ppcls.module("engine.engine").Engine(config, mode="train")
    assert not (tmp_path / "output").exists()


# Patches as such


def test_applying_patches_again_changes_nothing(ppcls):
    engine = ppcls.module("engine.engine").Engine
    before, names = engine.__init__, [patch.name for patch in patches.patches_in_force()]
    patches.apply_patches(ppcls)
    assert engine.__init__ is before
    assert [patch.name for patch in patches.patches_in_force()] == names


def test_removing_one_patch_leaves_the_others(make_config, ppcls):
    """Several patches wrap Engine.__init__; taking back the inner one keeps the outer one."""
    for name in [patch.name for patch in patches.patches_in_force()]:
        if name == "config-rules":
            continue
        patches.remove_patch(name)
        try:
            with pytest.raises(UserError, match="Slim.prune"):
                config = make_config({"Slim": {"prune": {"name": "fpgm"}}})
                ppcls.module("engine.engine").Engine(config, mode="train")
        finally:
            patches.apply_patches(ppcls)


def test_removing_all_patches_restores_paddleclas(ppcls):
    names = [patch.name for patch in patches.patches_in_force()]
    engine = ppcls.module("engine.engine").Engine
    save_load = ppcls.module("utils.save_load")
    try:
        for name in names:
            patches.remove_patch(name)
        assert patches.patches_in_force() == []
        for function in (engine.__init__, save_load.init_model, save_load.load_dygraph_pretrain):
            assert not hasattr(function, "__wrapped__")
    finally:
        patches.apply_patches(ppcls)
    assert [patch.name for patch in patches.patches_in_force()] == names


def test_numpy_paddle_and_python_stay_as_they_are(ppcls):
    import inspect

    assert "int" not in vars(np)
    assert not hasattr(paddle, "indechmx_sample")
    assert not hasattr(inspect, "getargspec") or not hasattr(inspect.getargspec, "__wrapped__")
    assert paddle.mean(paddle.ones([2])).ndim == 0
