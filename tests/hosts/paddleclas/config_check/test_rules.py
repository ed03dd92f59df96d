"""What building does not show: sections, files and limits of versions."""

from __future__ import annotations

import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check import ERROR, check_config, inspect_run

PIECEWISE = {"name": "Piecewise", "decay_epochs": [1], "values": [0.1, 0.01]}
TRAIN, EVAL = "DataLoader.Train.dataset", "DataLoader.Eval.dataset"
CLASS_MAP = "Infer.PostProcess.class_id_map_file"


@pytest.fixture
def refused(ppcls, make_config):
    """Have the rules refuse a config, and return what they say."""

    def check(changes, mode="train"):
        with pytest.raises(UserError) as error:
            check_config(ppcls, make_config(changes), mode)
        return str(error.value)

    return check


@pytest.mark.parametrize("section", ["Global", "Arch", "DataLoader", "Loss", "Optimizer"])
@pytest.mark.parametrize("value", [None, "text", ["x"], {}])
def test_a_section_that_is_none_is_one_error(ppcls, make_config, section, value):
    found = inspect_run(ppcls, make_config({section: value}), 1)
    places = [f.place for f in found if f.severity == ERROR]
    assert len([p for p in places if p.split(".")[0] == section]) == 1, found


@pytest.mark.parametrize("section", ["Metric", "Infer", "AMP", "EMA", "Slim"])
@pytest.mark.parametrize("value", [[], "", 0, False], ids=repr)
def test_an_empty_value_of_an_optional_section(ppcls, make_config, section, value):
    for mode in ("train", "eval"):
        check_config(ppcls, make_config({section: value}), mode)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"Global.output_dir": None}, "Global.output_dir"),
        ({"Arch": {"class_num": 10}}, "Arch.name"),
        *[({f"Global.{k}": None}, f"Global.{k}") for k in ("epochs", "save_interval")],
        ({"Infer": ["text"]}, "Infer"),
        ({"AMP": ["text"]}, "AMP"),
        ({"DataLoader.Train": None}, "DataLoader.Train"),
        ({"DataLoader.Eval": [1]}, "DataLoader.Eval"),
        (
            {"DataLoader.Eval": {"Query": 5}, "Global.eval_mode": "retrieval"},
            "DataLoader.Eval.Query",
        ),
        ({"DataLoader.Train.dataset": None}, "DataLoader.Train.dataset"),
        (
            {"DataLoader.Train.sampler": {"batch_size": 3, "shuffle": True}},
            "DataLoader.Train.sampler.drop_last",
        ),
        (
            {"DataLoader.Eval.loader": {"num_workers": 0}},
            "DataLoader.Eval.loader.use_shared_memory",
        ),
        ({f"{TRAIN}.transform_ops": ["DecodeImage"]}, f"{TRAIN}.transform_ops.0"),
        ({f"{TRAIN}.transform_ops": {"DecodeImage": {}}}, f"{TRAIN}.transform_ops"),
        ({f"{TRAIN}.transform_ops": [{"OpSampler": 3}]}, f"{TRAIN}.transform_ops.0.OpSampler"),
        ({"Loss.Train": []}, "Loss.Train"),
        ({"Loss.Eval": {"CELoss": {}}}, "Loss.Eval"),
        ({"Optimizer.name": None}, "Optimizer.name"),
        ({"Optimizer.lr": 0.1}, "Optimizer.lr"),
        ({"Optimizer": [{"Momentum": {"momentum": 0.9}}]}, "Optimizer.0.Momentum"),
        ({"Arch": {"name": "RecModel"}}, "Arch.Backbone.name"),
        ({"Arch": {"name": "DistillationModel", "models": ["x"]}}, "Arch.models.0"),
        ({"Arch": {"name": "DistillationModel", "models": [{"A": None}]}}, "Arch.models.0.A"),
        ({"Arch": {"name": "DistillationModel", "models": [{"A": {}}]}}, "Arch.models.0.A.name"),
        ({f"{EVAL}.cls_label_path": "no/list.txt"}, f"{EVAL}.cls_label_path"),
        ({f"{TRAIN}.image_root": "no"}, f"{TRAIN}.image_root"),
        ({"Slim": {"prune": {"name": "fpgm"}}}, "Slim.prune"),
        ({"Slim": {"quant": {"name": "pact"}}}, "Slim.quant"),
        ({"Global.train_mode": "fast"}, "Global.train_mode"),
        ({"Global.device": "xpu"}, "Global.device"),
        ({"Arch.pretrained_list": ["x"]}, "Arch.pretrained_list"),
    ],
)
def test_what_is_missing_or_unsupported(refused, changes, place):
    assert refused(changes).startswith(f"{place}: ")


def test_empty_sections_that_paddleclas_does_not_survive_are_removed(ppcls, make_config):
    config = make_config({"Metric": {"Train": [], "Eval": {}}, "EMA": None, "Loss.Eval": []})
    del config["profiler_options"]
    check_config(ppcls, config, "train")
    assert [*config["Metric"]] == ["Eval"] and [*config["Loss"]] == ["Train"]
    assert "EMA" not in config and config["profiler_options"] is None


DEFAULTS = {
    "train": ["checkpoints", "pretrained_model", "use_visualdl", "eval_interval"],
    "eval": ["pretrained_model", "use_visualdl"],
    "export": ["pretrained_model", "save_inference_dir"],
}


@pytest.mark.parametrize("mode", DEFAULTS)
def test_keys_that_paddleclas_has_no_default_for(make_config, ppcls, tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    config = make_config()
    for key in DEFAULTS[mode]:
        del config["Global"][key]
    engine = ppcls.module("engine.engine").Engine(config, mode=mode)
    getattr(engine, mode)()


@pytest.mark.parametrize(
    "changes", [{"Metric": None}, {"Metric": {"Train": []}, "Loss.Eval": None}]
)
def test_without_metrics_the_evaluation_reports_top_1(make_engine, log, changes):
    make_engine(changes).train()
    assert any("[Eval][Epoch 1][best metric:" in line for line in log)
    assert any(line.startswith("Metric.Eval: ") for line in log)


@pytest.mark.parametrize(
    ("mode", "changes", "place"),
    [
        ("eval", {"Metric": None, "Global.use_multilabel": True}, "Metric.Eval"),
        ("infer", {"Global.eval_mode": "retrieval"}, "Global.eval_mode"),
        ("infer", {"Infer": None}, "Infer.infer_imgs"),
        ("export", {"Global.image_shape": None}, "Global.image_shape"),
        ("export", {"Global.save_inference_dir": [1]}, "Global.save_inference_dir"),
        ("infer", {CLASS_MAP: ["names"]}, CLASS_MAP),
        ("train", {"Optimizer.lr.name": None}, "Optimizer.lr.name"),
    ],
)
def test_what_a_mode_needs(refused, mode, changes, place):
    assert refused(changes, mode).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("mode", "changes", "place"),
    [
        ("eval", {f"{EVAL}.cls_label_pth": "x"}, f"{EVAL}.cls_label_pth"),
        ("eval", {"Arch": {"name": "ViT_small_patch16_224", "norm_layer": "x"}}, "Arch.norm_layer"),
        ("infer", {"Infer.transforms": None}, "Infer.transforms"),
        ("infer", {"Infer.PostProcess": 3}, "Infer.PostProcess"),
        ("infer", {"Infer.PostProcess.name": None}, "Infer.PostProcess.name"),
        ("train", {"Loss.Train": [{"CELoss": {}}], "Global.preflight": False}, "Loss.Train.0"),
    ],
)
def test_what_paddleclas_cannot_build_is_explained(make_engine, tmp_path, mode, changes, place):
    with pytest.raises(UserError) as error:
        make_engine(changes, mode=mode)
    assert str(error.value).startswith(place)


def test_what_nothing_explains_keeps_its_exception(ppcls, make_engine, monkeypatch):
    def fail(*words, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(ppcls.module("engine.engine"), "build_model", fail)
    with pytest.raises(ZeroDivisionError):
        make_engine(mode="eval")


@pytest.mark.parametrize(
    "changes",
    [
        {"Arch": {"name": "TinyNet"}, "Global.class_num": 10},
        {"Arch": {"name": "TinyNet", "class_num": 10}},
    ],
)
def test_fewer_names_than_classes(refused, tmp_path, changes):
    (tmp_path / "names.txt").write_text("0 zero\n1 one\n")
    changes = {**changes, CLASS_MAP: str(tmp_path / "names.txt")}
    assert refused(changes, "infer").startswith(f"{CLASS_MAP}: ")


@pytest.mark.parametrize("mode", ["train", "eval", "infer", "export"])
@pytest.mark.parametrize("given", ["x" * 300, "file", "file/below", "/proc/output"])
def test_an_output_directory_that_cannot_be(refused, tmp_path, monkeypatch, mode, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert refused({"Global.output_dir": given}, mode).startswith("Global.output_dir: ")


def test_a_right_config_is_changed_in_its_expressions_only(ppcls, make_config):
    for mode in ("train", "eval", "infer", "export"):
        config, same = make_config(), make_config()
        check_config(ppcls, config, mode)
        for given in (config, same):
            lists = [given["DataLoader"][p]["dataset"]["transform_ops"] for p in ("Train", "Eval")]
            for steps in [*lists, given["Infer"]["transforms"]]:
                steps[2]["NormalizeImage"]["scale"] = 1
        assert config == same


def test_data_that_is_not_read_need_not_be_there(ppcls, make_config):
    config = make_config({f"{EVAL}.image_root": "no", "Global.eval_during_train": False})
    check_config(ppcls, config, "train")
    check_config(ppcls, make_config({f"{TRAIN}.image_root": "no"}), "eval")
    # PaddleClas's own configs for person re-identification name a sub-directory there.
    reid = {"name": "Market1501", "image_root": "no", "cls_label_path": "bounding_box_train"}
    check_config(ppcls, make_config({TRAIN: reid}), "train")


def test_learning_rate_that_piecewise_ignores(ppcls, refused, make_config):
    import inspect

    schedule = ppcls.module("optimizer.learning_rate").Piecewise
    changes = {"Optimizer.lr": {**PIECEWISE, "learning_rate": 0.2}}
    if "learning_rate" in inspect.signature(schedule.__init__).parameters:
        check_config(ppcls, make_config(changes), "train")
    else:
        assert refused(changes).startswith("Optimizer.lr.learning_rate: ")


def test_update_freq(ppcls, refused, make_config):
    import inspect

    check_config(ppcls, make_config({"Global.update_freq": 1}), "train")
    if '"update_freq"' in inspect.getsource(ppcls.module("engine.engine")):
        check_config(ppcls, make_config({"Global.update_freq": 2}), "train")
    else:
        assert refused({"Global.update_freq": 2}).startswith("Global.update_freq: ")


@pytest.mark.parametrize("flag", ["FLAGS_use_mkldnn", "FLAGS_use_onednn"])
def test_static_graph_with_onednn_on_a_cpu(ppcls, refused, make_config, monkeypatch, flag):
    for name in ("FLAGS_use_mkldnn", "FLAGS_use_onednn"):
        monkeypatch.setenv(name, "0")
    check_config(ppcls, make_config({"Global.to_static": True}), "train")
    monkeypatch.setenv(flag, "1")
    assert flag in refused({"Global.to_static": True})


def test_export_by_several_processes(refused, monkeypatch):
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    assert "one process" in refused({}, "export")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Infer.infer_imgs", "no"),
        ("Infer.infer_imgs", "empty"),
        ("Infer.infer_imgs", "notes.txt"),
        (CLASS_MAP, "no.txt"),
        (CLASS_MAP, ".."),
    ],
)
def test_files_of_predictions(refused, tmp_path, monkeypatch, key, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    assert refused({key: value}, "infer").startswith(f"{key}: {value} ")


def test_files_of_predictions_come_from_the_package_too(ppcls, make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"Infer.infer_imgs": "ppcls_configs/digits/images"}
    files[CLASS_MAP] = "ppcls_configs/digits/label_list.txt"
    config = make_config(files)
    check_config(ppcls, config, "infer")
    names, images = (
        config["Infer"]["PostProcess"]["class_id_map_file"],
        config["Infer"]["infer_imgs"],
    )
    assert len(ppcls.module("data.utils.get_image_list").get_image_list(images)) == 4
    assert ppcls.module("data").postprocess.Topk(1, names).class_id_map[3] == "three"


@pytest.mark.parametrize("mode", ["eval", "infer", "export"])
def test_an_untrained_model_is_a_warning(ppcls, make_config, mode, log):
    check_config(ppcls, make_config(), mode)
    assert any(line.startswith("Global.pretrained_model: ") for line in log)
    log.clear()
    for arch in (
        {"name": "TinyNet", "pretrained": "x"},
        {"name": "DistillationModel", "models": [{"A": {"name": "TinyNet", "pretrained": "x"}}]},
    ):
        check_config(ppcls, make_config({"Arch": arch}), mode)
    assert log == []


@pytest.fixture
def checkpoint(tmp_path):
    """Path of a checkpoint, its files made by their suffixes."""

    def make(*suffixes):
        for suffix in suffixes:
            (tmp_path / f"latest{suffix}").touch()
        return {"Global.checkpoints": str(tmp_path / "latest")}

    return make


def test_checkpoints_that_are_incomplete(refused, checkpoint):
    assert "latest.pdparams does not exist" in refused(checkpoint())
    assert "latest.pdopt does not exist" in refused(checkpoint(".pdparams"))
    whole = checkpoint(".pdparams", ".pdopt", ".pdstates")
    assert "EMA" in refused({**whole, "EMA": {"decay": 0.9}})
    checkpoint(".pdema", ".ema.pdparams")
    assert "EMA" in refused(whole)


@pytest.mark.parametrize("amp", [{"use_amp": False, "level": "O1"}, {}, False])
def test_amp_that_is_switched_off_does_not_stay_on(ppcls, make_config, amp):
    import inspect

    if "_init_amp" in inspect.getsource(ppcls.module("engine.engine")):
        pytest.skip("this PaddleClas reads the switch")
    config = make_config({"AMP": amp})
    check_config(ppcls, config, "train")
    assert config["AMP"] is None


def test_amp_evaluation_in_float16(make_engine):
    accuracy = make_engine({"AMP": {"level": "O1", "use_fp16_test": True}}, mode="eval").eval()
    assert 0 <= accuracy <= 1


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_training_and_evaluation_with_amp(make_engine, level, log):
    amp = {"level": level, "scale_loss": 128.0, "use_dynamic_loss_scaling": True}
    make_engine({"AMP": amp}).train()
    assert any("[Eval][Epoch 1][best metric:" in line for line in log)


def test_distillation_loads_weights_from_its_entries(make_engine, tiny, tmp_path, log):
    path = str(tmp_path / "teacher")
    paddle.save(tiny.tiny_net(width=8).state_dict(), path + ".pdparams")
    teacher = {"name": "TinyNet", "width": 8, "pretrained": path}
    models = [{"Teacher": teacher}, {"Student": {"name": "TinyNet"}}]
    make_engine({"Arch": {"name": "DistillationModel", "models": models}}, mode="eval")
    assert any(path in line and "8 of 8" in line for line in log)


def test_an_output_directory_that_cannot_be_written(look, tmp_path):
    (tmp_path / "file").touch()
    (found,) = look({"Global.output_dir": str(tmp_path / "file" / "output")})
    assert (found.severity, found.place) == (ERROR, "Global.output_dir")
