"""Every patch fixes its symptom, in PaddleClas's own code."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import paddle
import pytest
from PIL import Image

from paddleclas_eca.data.decoding import is_truncated_jpeg
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import session
from paddleclas_eca.hosts.paddleclas.compat import PATCHES


def test_patches_have_a_name_versions_and_a_symptom():
    assert all(patch.versions and patch.symptom for patch in PATCHES)
    assert len({patch.name for patch in PATCHES}) == len(PATCHES)


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


@pytest.mark.without_patch("missing-name", (KeyError, AssertionError), "")
def test_classes_without_a_name_are_named_by_their_number(make_engine, tmp_path, capsys, log):
    (tmp_path / "names.txt").write_text("99 far\n")
    names = {"Infer.PostProcess.class_id_map_file": str(tmp_path / "names.txt")}
    # Nothing says how many classes there are.
    make_engine({"Arch": {"name": "TinyNet"}, **names}, mode="infer").infer()
    # Printed or logged.
    assert re.search(r"'label_names': \['\d'\]", capsys.readouterr().out + str(log))


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


@pytest.mark.without_patch("getargspec", UserError, "getargspec")
def test_optimizer_sgd(make_engine):
    sgd = {"name": "SGD", "lr": {"name": "Cosine", "learning_rate": 0.1}}
    engine = make_engine({"Optimizer": sgd})
    assert isinstance(engine.optimizer[0], paddle.optimizer.SGD)


@pytest.mark.slow
@pytest.mark.without_patch("cpu-device-id", RuntimeError, "no attribute '_device_id'")
def test_evaluation_in_two_processes(request, run_two_ranks, config_file, tiny_script):
    without = request.node.callspec.params["patched"] == "without"
    removed = ["cpu-device-id"] if without else []
    log = run_two_ranks(tiny_script, "eval", config_file(), *removed)
    assert re.search(r"\[Eval\]\[Epoch 0\]\[Avg\].*top1: \d", log)


# Data


def _jpeg(size=(64, 48), **options):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype="uint8"))
    content = io.BytesIO()
    noise.resize(size).save(content, "JPEG", quality=95, **options)
    return content.getvalue()


JPEG, PROGRESSIVE = _jpeg(), _jpeg(progressive=True)


def _with_preview(jpeg):
    preview = _jpeg((8, 6))
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + jpeg[2:]


# The last has a film behind its end, where phones put it.
@pytest.mark.parametrize(
    "whole",
    [JPEG, PROGRESSIVE, JPEG + bytes(9), _with_preview(JPEG), JPEG + b"film \xff\xda" + bytes(90)],
    ids=["plain", "progressive", "zeros", "preview", "film"],
)
def test_the_end_of_a_jpeg_is_found(whole):
    end = whole.rindex(b"\xff\xd9")
    assert not is_truncated_jpeg(whole)
    assert all(is_truncated_jpeg(whole[:cut]) for cut in (end, end - 10, end - 700))


@pytest.mark.without_patch("truncated-jpeg", pytest.fail.Exception, "DID NOT RAISE")
def test_truncated_jpegs_are_errors(ppcls):
    decode = ppcls.module("data.preprocess").DecodeImage()
    assert decode(JPEG).shape == (48, 64, 3)
    with pytest.raises(ValueError):
        decode(JPEG[: len(JPEG) // 2])


@pytest.mark.without_patch("label-ratio", UserError, "in a row")
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


# Patches as such


def _wrappers(function):
    return 1 + _wrappers(function.__wrapped__) if hasattr(function, "__wrapped__") else 0


def test_applying_changes_again_changes_nothing(ppcls):
    engine, save_load = ppcls.module("engine.engine").Engine, ppcls.module("utils.save_load")

    def state():
        functions = (engine.__init__, engine.train, save_load.init_model, save_load.save_model)
        return session.active_patches(), list(map(_wrappers, functions))

    before = state()
    session.apply_changes(ppcls)
    assert state() == before


def test_a_patch_can_be_left_out(ppcls):
    names = [patch.name for patch in session.active_patches()]
    try:
        session.apply_changes(ppcls, without=names[:1])
        assert [patch.name for patch in session.active_patches()] == names[1:]
    finally:
        session.apply_changes(ppcls)


def test_numpy_paddle_and_python_stay_as_they_are(ppcls):
    import inspect

    assert "int" not in vars(np)
    assert not hasattr(paddle, "indechmx_sample")
    assert not hasattr(inspect, "getargspec") or not hasattr(inspect.getargspec, "__wrapped__")
    assert paddle.mean(paddle.ones([2])).ndim == 0
