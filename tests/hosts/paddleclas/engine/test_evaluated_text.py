"""No text that PaddleClas would evaluate is executed, in ``check`` or by its Engine."""

from __future__ import annotations

import pickle
import sys

import paddle
import pytest
from hostile import Call

from paddleclas_eca import register
from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check import ERROR, inspect_run
from paddleclas_eca.hosts.paddleclas.engine.evaluated_text import read_literal

SPY = "open('spy', 'w')"
OPS = "DataLoader.Train.dataset.transform_ops"
BATCH = "DataLoader.Train.dataset.batch_transform_ops"
DECODE = {"DecodeImage": {"to_rgb": True, "channel_first": False}}


def arch(name, **options):
    return {"Arch": {"name": name, "class_num": 10, **options}}


def rec(**parts):
    return arch("RecModel", **{"Backbone": {"name": "ResNet18"}, **parts})


HEAD = {"embedding_size": 8, "class_num": 10}
# Changes of a right config, by the place that some version of PaddleClas evaluates or imports.
SLOTS = {
    "network": {"Arch.name": SPY},
    "network, by attribute": {"Arch.name": "importlib.import_module"},
    "network, dunder": {"Arch.name": "__builtins__"},
    "backbone": rec(Backbone={"name": SPY}),
    "neck": rec(Neck={"name": SPY, **HEAD}),
    "head": rec(Head={"name": SPY, **HEAD}),
    "student": arch("DistillationModel", models=[{"Student": {"name": SPY}}]),
    "inner network": arch("ECA_Backbone", backbone={"name": SPY}, replace="SE"),
    "lr_mult_list": arch("PPLCNet_x0_25", lr_mult_list=SPY),
    "norm_layer": arch("ViT_small_patch16_224", norm_layer=SPY),
    "norm_layer, a function": arch("ViT_small_patch16_224", norm_layer="paddle.utils.run_check"),
    "norm_layer, no layer": arch("ViT_small_patch16_224", norm_layer="nn.initializer"),
    "act": arch("SVTR_tiny", act=SPY),
    "sub_norm": arch("SVTR_tiny", sub_norm=SPY),
    "block_unit": arch("SVTR_tiny", block_unit=SPY),
    "model_name": arch("CLIP_vit_base_patch16_224", model_name=SPY),
    "loss": {"Loss.Train": [{SPY: {"weight": 1.0}}]},
    "loss, eval": {"Loss.Eval": [{SPY: {"weight": 1.0}}]},
    "loss of a loss": {
        "Loss.Train": [{"DistillationPairLoss": {"base_loss_name": SPY, "weight": 1.0}}]
    },
    "metric": {"Metric.Eval": [{SPY: {"topk": 1}}]},
    "metric, train": {"Metric.Train": [{SPY: None}]},
    "optimizer": {"Optimizer.name": SPY},
    "optimizer of a list": {"Optimizer": [{SPY: {"scope": "all", "lr": {"name": "Constant"}}}]},
    "schedule": {"Optimizer.lr.name": SPY},
    "regularizer": {"Optimizer.regularizer": {"name": SPY, "coeff": 0.1}},
    "dataset": {"DataLoader.Train.dataset.name": SPY},
    "dataset of a mix": {
        "DataLoader.Train.dataset": {"name": "MixDataset", "datasets_config": [{"name": SPY}]}
    },
    "sampler": {"DataLoader.Eval.sampler.name": SPY},
    "transform": {OPS: [{SPY: None}]},
    "transform of predictions": {"Infer.transforms": [{SPY: None}]},
    "transform of a choice": {BATCH: [{"OpSampler": {SPY: {"prob": 1.0}}}]},
    "transform of RandomApply": {
        OPS: [DECODE, {"RandomApply": {"prob": 1.0, "transforms": [{SPY: None}]}}]
    },
    "batch transform": {BATCH: [{SPY: None}]},
    "scale": {f"{OPS}.2.NormalizeImage.scale": SPY},
    "scale of predictions": {"Infer.transforms.2.NormalizeImage.scale": SPY},
    **{
        key: {OPS: [DECODE, {"RandomErasing": {"EPSILON": 1, key: SPY}}]}
        for key in ("EPSILON", "sl", "sh", "r1")
    },
    "post-processing": {"Infer.PostProcess.name": SPY},
    "post-processing by func": {"Infer.PostProcess.func": SPY},
    "evaluation": {"Global.eval_mode": SPY},
    "trainer": {"Global.train_mode": SPY},
}


# Those of the other networks and parts are alike, or of develop alone.
QUICK = {"network", "neck", "norm_layer", "loss", "optimizer", "dataset", "sampler", "scale", "sl"}


@pytest.mark.parametrize(
    "slot", [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in SLOTS]
)
def test_no_text_of_a_config_is_executed(ppcls, make_config, tmp_path, monkeypatch, slot):
    register()
    monkeypatch.chdir(tmp_path)
    found = inspect_run(ppcls, make_config(SLOTS[slot]), 1)
    assert any(finding.severity == ERROR for finding in found), found
    # Without the checks before training, too.
    changes = {**SLOTS[slot], "Global.preflight": False}
    for mode in ("train", "eval", "infer", "export"):
        try:
            ppcls.module("engine.engine").Engine(make_config(changes), mode=mode)
        except (Exception, SystemExit):
            continue  # what a mode does not read, it need not refuse
    assert not (tmp_path / "spy").exists()


def test_every_module_that_evaluates_has_a_reader_that_refuses(ppcls):
    """The slots above are those known; this holds for those that a new version adds."""
    modules = [
        module
        for name, module in sys.modules.items()
        if name.split(".")[0] == ppcls.package.split(".")[0] and "eval" in vars(module)
    ]
    names = {module.__name__.removeprefix(f"{ppcls.package}.") for module in modules}
    assert {"arch", "arch.gears", "loss", "metric", "data", "utils.config"} <= names
    for module in modules:
        for text in (SPY, "os.system", "paddle.save", "sys", "print", "__builtins__", "x" * 999):
            with pytest.raises(UserError) as refused:
                module.eval(text)
            assert len(str(refused.value)) < 600


def test_names_and_values_are_read_as_before(ppcls):
    vit = ppcls.module("arch.backbone.model_zoo.vision_transformer")
    assert vit.eval("nn.LayerNorm") is paddle.nn.LayerNorm
    assert ppcls.module("loss").eval("CELoss") is ppcls.module("loss").CELoss
    assert ppcls.module("arch").eval("ResNet50") is ppcls.module("arch").ResNet50
    assert ppcls.module("data.preprocess.ops.operators").eval("1.0/255.0") == 1 / 255
    config = ppcls.module("utils.config")
    read = config.override_config({"A": {}}, ["A.b=[1, 'x']", "A.c=gpu", "A.d=1e-3/2", "A.e=None"])
    assert read == {"A": {"b": [1, "x"], "c": "gpu", "d": 0.0005, "e": None}}


@pytest.mark.slow
def test_overrides_of_paddleclas_scripts_execute_nothing(run_python, tmp_path, config_file):
    (tmp_path / "show.py").write_text(
        "from ppcls.utils import config\n"
        "options = config.parse_args()\n"
        "print(config.get_config(options.config, overrides=options.override)['Global']['device'])\n"
    )
    words = ["-m", "paddleclas_eca", "show.py", "-c", config_file(), "-o"]
    done = run_python(*words, f"Global.device={SPY}")
    assert SPY in done.stdout and not (tmp_path / "spy").exists()


@pytest.mark.parametrize("text", ["True", "'x'", "{'a': [1, None]}", " 3 ", "1/4", "-2**-3"])
def test_literals_and_arithmetic(text):
    assert read_literal(text) == eval(text)


def test_weights_of_every_network_are_read_safely(ppcls, tmp_path):
    cae = sys.modules.get(f"{ppcls.package}.arch.backbone.model_zoo.cae")
    if cae is None:
        pytest.skip("this PaddleClas has no CAE")
    file = tmp_path / "hostile.pdparams"
    file.write_bytes(pickle.dumps({"model": Call(open, str(tmp_path / "spy"), "w")}, 2))
    with pytest.raises(UserError):
        cae.paddle.load(str(file))
    assert not (tmp_path / "spy").exists()


def test_archives_are_not_unpacked(ppcls, tmp_path):
    with pytest.raises(UserError, match="archive"):
        ppcls.module("utils.download")._decompress(str(tmp_path / "weights.tar"))
