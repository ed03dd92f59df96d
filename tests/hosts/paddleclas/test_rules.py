"""Every rule refuses or mends what PaddleClas misreads, ignores or breaks on."""

from __future__ import annotations

import re
from pathlib import Path

import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check import rules

DID_NOT_RAISE = (pytest.fail.Exception, "DID NOT RAISE")
PIECEWISE = {"name": "Piecewise", "decay_epochs": [1], "values": [0.1, 0.01]}
TRAIN_SET, EVAL_SET = "DataLoader.Train.dataset", "DataLoader.Eval.dataset"


def test_every_rule_has_a_test():
    sources = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    tested = re.findall(r'@pytest\.mark\.without_rule\(\s*"([\w-]+)"', sources)
    assert sorted(set(tested)) == sorted(rule.name for rule in rules.RULES)


def test_rules_say_what_they_are_for():
    for rule in rules.RULES:
        assert rule.versions and rule.symptom and rule.name.replace("-", "").isalnum()
    assert len({rule.name for rule in rules.RULES}) == len(rules.RULES)


@pytest.fixture
def refused(ppcls, make_config):
    """Have the rules refuse a config, and return what they say."""

    def check(changes, mode="train"):
        with pytest.raises(UserError) as error:
            rules.check_config(ppcls, make_config(changes), mode)
        return str(error.value)

    return check


def test_a_right_config_passes_unchanged(ppcls, make_config):
    for mode in ("train", "eval", "infer", "export"):
        config = make_config()
        rules.check_config(ppcls, config, mode)
        assert config == make_config()


# Sections and networks


@pytest.mark.without_rule("sections", (KeyError, AttributeError, TypeError), "")
def test_sections_are_there_and_are_sections(refused):
    assert "no section Arch" in refused({"Arch": None})
    assert "no value for Global.output_dir" in refused({"Global.output_dir": None})
    assert "no value for Arch.name" in refused({"Arch": {"class_num": 10}})
    assert "no section DataLoader" in refused({"DataLoader": None}, "infer")
    assert "no section Optimizer" in refused({"Optimizer": None})
    assert refused({"Global.pretrained_model": True}).startswith("Global.pretrained_model: True")
    assert refused({"Global.checkpoints": 3}).startswith("Global.checkpoints: 3 is neither")
    for key in ("epochs", "save_interval", "print_batch_step", "eval_during_train"):
        assert f"no value for Global.{key}" in refused({f"Global.{key}": None})
    for section in ("Arch", "AMP", "EMA", "Slim", "Infer", "DataLoader"):
        assert refused({section: ["text"]}).startswith(f"{section}: ['text'] is not a section")


WRONG_VALUES = {
    "Global.epochs": ["ten", 0, -1, 1.5, True, [10], float("inf")],
    "Global.save_interval": ["often", 0, -2],
    "Global.eval_interval": [0, "1 epoch"],
    "Global.print_batch_step": [0, None],
    "Global.seed": ["x", -1],
    "Global.image_shape": [224, [3, 224], [3, 224, "x"], [3, 0, 224], "3x224x224"],
    "Global.max_broken_images": ["1%", -0.1, 1.5, None],
    "Global.eval_during_train": ["yes please", 2, []],
    "Global.use_visualdl": ["false"],
    "Arch.class_num": ["many", 0, 10.5],
    "DataLoader.Train.sampler.batch_size": [0, "64 images", None],
    "DataLoader.Eval.sampler.drop_last": ["no"],
    "DataLoader.Eval.loader.num_workers": [-1, "all"],
    "Optimizer.momentum": ["high", 1.5],
    "Optimizer.lr.learning_rate": ["0.1.2", -0.1, None, float("nan")],
    "Optimizer.lr.decay_epochs": [30, "[30, 60", [30, "sixty"], []],
    "Optimizer.lr.values": [0.1, [0.1, "x"]],
    "Infer.batch_size": [0],
    "Loss.Train.0.CELoss.epsilon": [2, "some"],
    "Metric.Eval.0.TopkAcc.topk": [0, "1 and 5", [0], []],
}


@pytest.mark.without_rule("values", *DID_NOT_RAISE)
@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG_VALUES.items() for value in values]
)
def test_values_of_a_wrong_kind(refused, key, value):
    if value is None and key == "Global.print_batch_step":
        pytest.skip("refused as missing")
    assert re.match(rf"{re.escape(f'{key}: {value!r} is ')}(no|neither) ", refused({key: value}))


def test_what_a_wrong_value_is_told(refused):
    assert refused({"Global.epochs": "ten"}) == "Global.epochs: 'ten' is no whole number from 1"
    assert refused({"Global.image_shape": 5}).endswith("is no list such as [3, 224, 224]")
    assert refused({"Global.max_broken_images": 5}).endswith("is no number from 0 to 1")
    assert refused({"Global.use_visualdl": "x"}).endswith("is neither True nor False")
    assert refused({"Global.seed": "x"}).endswith("is no whole number from 0 and not null")
    assert refused({"Global.save_interval": 0}).endswith("is no whole number from 1 or -1")


def test_numbers_in_text_are_numbers(ppcls, make_config):
    """YAML 1.1 takes 1e-4 for text, and PaddleClas leaves it so in a list."""
    changes = {
        "Global.epochs": "2",
        "Global.seed": None,
        "Global.max_broken_images": "1e-2",
        "Global.use_visualdl": 0,
        "DataLoader.Train.sampler.batch_size": 1e1,
        "Optimizer.lr": {**PIECEWISE, "values": ["1e-1", "1e-2"], "decay_epochs": (1,)},
        "Optimizer.weight_decay": None,
    }
    config = make_config(changes)
    rules.check_config(ppcls, config, "train")
    assert config["Optimizer"]["lr"]["values"] == [0.1, 0.01]
    assert (config["Global"]["epochs"], config["Global"]["max_broken_images"]) == (2, 0.01)
    assert config["Global"]["use_visualdl"] is False
    assert repr(config["DataLoader"]["Train"]["sampler"]["batch_size"]) == "10"


def retrieval(**changes):
    """Changes for an evaluation by retrieval, with a query of these parts."""
    query = {
        "dataset": {"name": "LogoDataset", "image_root": ".", "cls_label_path": "."},
        "sampler": {"name": "DistributedBatchSampler", "batch_size": 1},
        "loader": {"num_workers": 0, "use_shared_memory": False},
    }
    return {"Global.eval_mode": "retrieval", "DataLoader.Eval": {"Query": {**query, **changes}}}


def test_values_inside_lists_and_loaders_of_retrieval(refused):
    rates = [{"SGD": {"scope": "all", "lr": {"name": "Constant", "learning_rate": "fast"}}}]
    assert refused({"Optimizer": rates}).startswith("Optimizer.0.SGD.lr.learning_rate: 'fast'")
    sampler = {"name": "DistributedBatchSampler", "batch_size": "x"}
    told = refused(retrieval(sampler=sampler))
    assert told.startswith("DataLoader.Eval.Query.sampler.batch_size: 'x'")


def test_the_optimizer_matters_for_training_alone(ppcls, make_config):
    rules.check_config(ppcls, make_config({"Optimizer.momentum": "high"}), "eval")


@pytest.mark.without_rule("values", *DID_NOT_RAISE)
@pytest.mark.parametrize(("epochs", "values"), [([1, 2, 3], [0.1, 0.01]), ([1], [0.3, 0.2, 0.1])])
def test_rates_and_epochs_of_piecewise_belong_together(refused, epochs, values):
    changed = {**PIECEWISE, "decay_epochs": epochs, "values": values}
    assert "should have one value more than" in refused({"Optimizer.lr": changed})


@pytest.mark.without_rule("device", ValueError, "")
def test_a_device_that_paddle_cannot_use(make_engine, tmp_path):
    with pytest.raises(UserError, match="Global.device: xpu cannot be used.*-o Global.device=cpu"):
        make_engine({"Global.device": "xpu"})
    assert not (tmp_path / "output").exists()


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="needs a CPU build of Paddle")
def test_a_gpu_with_a_cpu_build_of_paddle(refused):
    assert "the installed Paddle is a CPU build" in refused({"Global.device": "gpu"})


@pytest.mark.without_rule("network-name", AttributeError, "TinyNt")
def test_a_network_that_is_not_there(make_engine):
    with pytest.raises(UserError, match=r"Arch.name: .* no network 'TinyNt'. Did you mean TinyNet"):
        make_engine({"Arch.name": "TinyNt"})


DISTILLATION = {
    "name": "DistillationModel",
    "models": [
        {"Teacher": {"name": "TinyNet", "width": 8}},
        {"Student": {"name": "RecModel", "Backbone": {"name": "TinyNt"}}},
    ],
}


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        (DISTILLATION, "Arch.models.1.Student.Backbone.name: PaddleClas has no network 'TinyNt'"),
        ({"name": 5}, "Arch.name: PaddleClas has no network 5"),
        ({"name": "RecModel"}, "Arch.Backbone.name: PaddleClas has no network None"),
        ({"name": "RecModel", "Backbone": "x"}, "Arch.Backbone.name"),
        ({"name": "DistillationModel", "models": "x"}, "Arch.models: 'x' is not a list"),
        ({"name": "DistillationModel", "models": ["x"]}, "Arch.models.0: 'x' should be one"),
        ({"name": "DistillationModel", "models": [{}]}, "Arch.models.0: {} should be one"),
        ({"name": "DistillationModel", "models": [{"A": None}]}, "Arch.models.0.A: None is no"),
        ({"name": "DistillationModel", "models": [{"A": {}}]}, "Arch.models.0.A.name"),
    ],
)
def test_networks_inside_an_arch_section(refused, arch, expected):
    assert refused({"Arch": arch}).startswith(expected)


def test_distillation_loads_weights_from_its_entries(make_engine, tiny, tmp_path, log):
    path = str(tmp_path / "teacher")
    paddle.save(tiny.tiny_net(width=8).state_dict(), path + ".pdparams")
    teacher = {"name": "TinyNet", "width": 8, "pretrained": path}
    models = [{"Teacher": teacher}, {"Student": {"name": "TinyNet"}}]
    make_engine({"Arch": {"name": "DistillationModel", "models": models}}, mode="eval")
    assert f"weights {path}: 8 of 8 tensors loaded" in log


@pytest.mark.without_rule("pretrained-list", *DID_NOT_RAISE)
def test_pretrained_list_of_distillation(refused):
    arch = {
        "name": "DistillationModel",
        "models": [{"Student": {"name": "TinyNet"}}],
        "pretrained_list": ["path"],
    }
    assert "Put `pretrained: PATH` inside each entry" in refused({"Arch": arch})


# Data


@pytest.mark.without_rule("operator-name", *DID_NOT_RAISE)
@pytest.mark.parametrize(
    ("key", "operators", "expected"),
    [
        ("transform_ops", [{"RandCropImag": {}}], "no operator 'RandCropImag'. Did you mean Rand"),
        ("transform_ops", ["DecodeImage"], "'DecodeImage' should be one `- Name:`"),
        ("transform_ops", [{}], "{} should be one"),
        ("transform_ops", {"DecodeImage": {}}, "is not a list of operators"),
        ("batch_transform_ops", [{"MixupOperatr": {}}], "Did you mean MixupOperator?"),
        ("batch_transform_ops", [{"OpSampler": {"CutmixOp": {"prob": 1}}}], "OpSampler: this"),
    ],
)
def test_operators_that_are_not_there(refused, key, operators, expected):
    message = refused({f"{TRAIN_SET}.{key}": operators})
    assert message.startswith(f"{TRAIN_SET}.{key}") and expected in message


@pytest.mark.parametrize(
    ("key", "name"),
    [("transform_ops", "RandAugmentV2"), ("batch_transform_ops", "MixupCutmixHybrid")],
)
def test_operators_that_2_4_2_lacks(ppcls, refused, make_config, key, name):
    changes = {f"{TRAIN_SET}.{key}": [{name: None}]}
    if hasattr(ppcls.module("data.preprocess"), name):
        rules.check_config(ppcls, make_config(changes), "train")
    else:
        assert f"this PaddleClas has no operator '{name}'" in refused(changes)


@pytest.mark.without_rule("data-paths", *DID_NOT_RAISE)
def test_data_that_is_not_there(refused):
    message = refused({f"{EVAL_SET}.cls_label_path": "no/list.txt"})
    assert message.startswith(f"{EVAL_SET}.cls_label_path: no/list.txt does not exist")
    assert f"-o {EVAL_SET}.cls_label_path=PATH" in message
    assert refused({f"{TRAIN_SET}.image_root": "no"}).startswith(f"{TRAIN_SET}.image_root: no")
    told = refused(retrieval(dataset={"name": "LogoDataset", "image_root": "no"}))
    assert told.startswith("DataLoader.Eval.Query.dataset.image_root: no does not exist")


def test_data_that_is_not_read_need_not_be_there(ppcls, make_config):
    config = make_config({f"{EVAL_SET}.image_root": "no", "Global.eval_during_train": False})
    rules.check_config(ppcls, config, "train")
    rules.check_config(ppcls, make_config({f"{TRAIN_SET}.image_root": "no"}), "eval")


def test_data_sets_that_read_no_list_may_use_its_key_otherwise(ppcls, make_config):
    # PaddleClas's own configs for person re-identification name a sub-folder there.
    reid = {"name": "Market1501", "image_root": "no", "cls_label_path": "bounding_box_train"}
    rules.check_config(ppcls, make_config({TRAIN_SET: reid}), "train")


@pytest.mark.without_rule("component-name", *DID_NOT_RAISE)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({f"{TRAIN_SET}.name": "ImageNetDatase"}, "no dataset .* Did you mean ImageNetDataset"),
        ({"Optimizer.name": "Momentun"}, "no optimizer 'Momentun'. Did you mean Momentum"),
        ({"Optimizer.lr.name": "Cosin"}, "no schedule 'Cosin'. Did you mean Cosine"),
    ],
)
def test_components_that_are_not_there(refused, changes, expected):
    message = refused(changes)
    assert message.startswith(f"{next(iter(changes))}: ") and re.search(expected, message)


@pytest.mark.without_rule("piecewise-rate", *DID_NOT_RAISE)
def test_learning_rate_that_piecewise_ignores(refused):
    message = refused({"Optimizer.lr": {**PIECEWISE, "learning_rate": 0.2}})
    assert "would ignore 0.2" in message and "-o 'Optimizer.lr.values=[" in message


@pytest.mark.parametrize("extra", [{}, {"learning_rate": 0.1}])
def test_learning_rate_of_piecewise_is_the_first_of_its_values(make_engine, extra):
    engine = make_engine({"Optimizer.lr": {**PIECEWISE, **extra}})
    assert engine.optimizer[0].get_lr() == pytest.approx(0.1)


@pytest.mark.without_rule("static-onednn", *DID_NOT_RAISE)
@pytest.mark.parametrize("flag", ["FLAGS_use_mkldnn", "FLAGS_use_onednn"])
def test_static_graph_with_onednn_on_a_cpu(refused, monkeypatch, flag):
    monkeypatch.setenv(flag, "1")
    for mode in ("train", "eval", "infer"):
        assert f"Unset {flag}" in refused({"Global.to_static": True}, mode)


def test_static_graph_without_onednn(ppcls, make_config, monkeypatch):
    for flag in ("FLAGS_use_mkldnn", "FLAGS_use_onednn"):
        monkeypatch.setenv(flag, "0")
    rules.check_config(ppcls, make_config({"Global.to_static": True}), "train")


@pytest.mark.without_rule("one-exporter", *DID_NOT_RAISE)
def test_export_by_several_processes(refused, monkeypatch):
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    assert "exported by one process" in refused({}, "export")


CLASS_MAP = "Infer.PostProcess.class_id_map_file"


@pytest.mark.without_rule("class-map", AssertionError, "None")
def test_class_names_are_found_beside_the_shipped_configs(
    make_engine, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(rules, "RESOURCE_ROOTS", [tmp_path / "nothing", digits])
    monkeypatch.chdir(tmp_path)
    engine = make_engine({CLASS_MAP: "label_list.txt"}, mode="infer")
    names = engine.postprocess_func.class_id_map
    assert names is not None and names[3] == "three", names


def test_class_names_that_are_nowhere(refused):
    for path in ("no.txt", ".."):
        assert refused({CLASS_MAP: path}, "infer").startswith(f"{CLASS_MAP}: {path} is no file")


def test_class_names_of_another_number_are_told(ppcls, make_config, log):
    rules.check_config(ppcls, make_config({"Arch.class_num": 4}), "infer")
    assert any(f"{CLASS_MAP}: " in line and "names 10 classes" in line for line in log)


@pytest.mark.without_rule("infer-images", Exception, "not found any img file|DID NOT RAISE")
def test_images_to_infer_that_are_not_there(make_engine):
    with pytest.raises(UserError, match="Infer.infer_imgs: no does not exist"):
        make_engine({"Infer.infer_imgs": "no"}, mode="infer").infer()


@pytest.mark.without_rule("infer-images", Exception, "not found any img file|DID NOT RAISE")
@pytest.mark.parametrize("name", ["empty", "notes.txt"])
def test_images_to_infer_that_are_no_images(make_engine, tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=f"Infer.infer_imgs: .*{name} holds no image"):
        make_engine({"Infer.infer_imgs": str(tmp_path / name)}, mode="infer").infer()


def test_images_to_infer_in_a_folder_whose_name_is_a_number(
    ppcls, make_config, digits, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2012").symlink_to(digits / "val" / "3")
    config = make_config({"Infer.infer_imgs": 2012})
    rules.check_config(ppcls, config, "infer")
    assert config["Infer"]["infer_imgs"] == "2012"


def test_images_to_infer_are_found_beside_the_shipped_configs(
    make_engine, digits, tmp_path, monkeypatch, capsys, log
):
    monkeypatch.setattr(rules, "RESOURCE_ROOTS", [digits])
    monkeypatch.chdir(tmp_path)
    make_engine({"Infer.infer_imgs": "val/7"}, mode="infer").infer()
    assert "class_ids" in capsys.readouterr().out + "".join(log)


@pytest.mark.without_rule("no-weights", AssertionError, "")
@pytest.mark.parametrize("mode", ["eval", "infer", "export"])
def test_untrained_model_is_told(make_engine, mode, log):
    make_engine({}, mode=mode)
    assert any(f"this is {mode} of an untrained model" in line for line in log)


def test_weights_in_the_arch_section_count(ppcls, make_config, log):
    networks = [
        {"Teacher": {"name": "TinyNet", "pretrained": "x"}},
        {"Student": {"name": "TinyNet"}},
    ]
    for arch in (
        {"name": "TinyNet", "pretrained": "x"},
        {"name": "DistillationModel", "models": networks},
    ):
        rules.check_config(ppcls, make_config({"Arch": arch}), "eval")
    assert not any("untrained" in line for line in log)


# Training


@pytest.mark.without_rule("profiler-options", KeyError, "profiler_options")
def test_training_without_profiler_options(make_config, ppcls, log):
    config = make_config({"Global.eval_during_train": False})
    del config["profiler_options"]
    ppcls.module("engine.engine").Engine(config, mode="train").train()
    assert any("[Train][Epoch 1/1][Avg]" in line for line in log)


@pytest.mark.without_rule("slim", Exception, "paddleslim|DID NOT RAISE")
@pytest.mark.parametrize("part", ["prune", "quant"])
def test_slim(make_engine, part):
    settings = {"name": "fpgm" if part == "prune" else "pact", "pruned_ratio": 0.3}
    with pytest.raises(UserError, match=f"Slim.{part}: paddleslim does not work with Paddle 3"):
        make_engine({"Slim": {part: settings}})


@pytest.mark.without_rule("update-freq", *DID_NOT_RAISE)
def test_update_freq(refused):
    assert "would ignore it" in refused({"Global.update_freq": 2})


def test_update_freq_of_one_is_what_happens_anyway(ppcls, make_config):
    rules.check_config(ppcls, make_config({"Global.update_freq": 1}), "train")


@pytest.mark.without_rule("ema", (AttributeError, pytest.fail.Exception), "get|DID NOT RAISE")
def test_ema_section_that_is_empty_or_wrong(make_engine, refused):
    make_engine({"EMA": None})
    for decay in (1.5, 1, -0.1, "much", True):
        assert refused({"EMA": {"decay": decay}}).startswith(f"EMA.decay: {decay!r} is not a")


@pytest.fixture
def checkpoint(tmp_path):
    """Path of a checkpoint, its files made by their endings."""

    def make(*endings):
        for ending in endings:
            (tmp_path / f"latest{ending}").touch()
        return {"Global.checkpoints": str(tmp_path / "latest")}

    return make


@pytest.mark.without_rule("checkpoint-files", *DID_NOT_RAISE)
def test_checkpoints_that_are_not_there(refused, checkpoint):
    assert "latest.pdparams does not exist" in refused(checkpoint())
    assert "latest.pdopt does not exist" in refused(checkpoint(".pdparams"))
    whole = checkpoint(".pdparams", ".pdopt", ".pdstates")
    assert "so that run had no EMA" in refused({**whole, "EMA": {"decay": 0.9}})
    checkpoint(".pdema", ".ema.pdparams")
    assert "so that run had an EMA section" in refused(whole)


# Mixed precision


@pytest.mark.without_rule("amp-switch", (AssertionError, AttributeError), "")
@pytest.mark.parametrize("amp", [{"use_amp": False, "level": "O1"}, {}, False])
def test_amp_that_is_switched_off(make_engine, amp):
    assert not make_engine({"AMP": amp}, mode="eval").amp


@pytest.mark.without_rule("amp-evaluation", TypeError, "unpack")
def test_amp_evaluation_in_float16(make_engine, log):
    amp = {"level": "O1", "use_fp16_test": True}
    accuracy = make_engine({"AMP": amp}, mode="eval").eval()
    assert 0 <= accuracy <= 1
    assert any("AMP.use_fp16_test" in line for line in log)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_training_and_evaluation_with_amp(make_engine, level, log):
    amp = {"level": level, "scale_loss": 128.0, "use_dynamic_loss_scaling": True}
    make_engine({"AMP": amp}).train()
    assert any("[Eval][Epoch 1][best metric:" in line for line in log)
