"""What a preflight finds in a config, its lists and its images: all of it, and nothing else."""

from __future__ import annotations

import copy
import functools
import io
import os
from pathlib import Path

import pytest
import yaml

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.config_check import data, preflight, rules
from paddleclas_eca.hosts.paddleclas.config_check.findings import ERROR, WARNING, Finding
from paddleclas_eca.hosts.paddleclas.config_check.keys import unknown_keys
from paddleclas_eca.hosts.paddleclas.config_check.options import options_of
from paddleclas_eca.hosts.paddleclas.config_check.rates import disproportionate_rate

REPOSITORY = Path(__file__).parents[2]
TRAIN_SET = "DataLoader.Train.dataset"


@pytest.fixture
def found(ppcls, make_config):
    """What is found in the tiny config with changes, as ``(severity, "place: message")``."""

    def look(changes=None, processes=1):
        config = make_config(changes)
        before = repr(config)
        findings = preflight.inspect_run(ppcls, config, processes)
        assert repr(config) == before
        return [(finding.severity, str(finding)) for finding in findings]

    return look


def test_a_right_config_has_nothing_wrong(found, tmp_path):
    assert found() == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["config.yaml"]


# Keys


def _taken_by_class(first, second=2):
    pass


def _handed_on(third=3, **rest):
    return _taken_by_class(**rest)


def _read_and_dropped(**rest):
    return rest.get("fourth"), rest["fifth"], "sixth" in rest


class _Base:
    def __init__(self, base_option, **others):
        pass


class _Derived(_Base):
    def __init__(self, own, *args, **kwargs):
        super().__init__(*args, **kwargs)


def _copied(**rest):
    return dict(rest)


def _read_by_a_variable(key="x", **rest):
    return rest[key]


@pytest.mark.parametrize(
    ("thing", "names", "others"),
    [
        (_taken_by_class, {"first", "second"}, "refused"),
        (_handed_on, {"first", "second", "third"}, "refused"),
        (_read_and_dropped, {"fourth", "fifth", "sixth"}, "ignored"),
        (_Derived, {"own", "base_option"}, "ignored"),
        (_copied, set(), "unknown"),
        (_read_by_a_variable, {"key"}, "unknown"),
        (dict, set(), "unknown"),
    ],
)
def test_what_can_be_given(thing, names, others):
    options = options_of(thing)
    assert set(options.names) - {"self"} == names and options.others == others


# What PaddleClas's own configs set, and nothing reads.
READ_BY_NOTHING = {"Optimizer.clip_grad", "Arch.drop_rate"}


def test_the_keys_of_all_configs_are_known(ppcls, repository):
    """Those of PaddleClas's classification, retrieval and other trainers, and ours."""
    from paddleclas_eca import register

    register()
    folders = [repository / "ppcls_configs", ppcls.folder / "configs"]
    files = [file for folder in folders for file in sorted(folder.rglob("*.yaml"))]
    looked_at = 0
    for file in files:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or "Arch" not in config:
            continue  # of the tools that search for settings
        config = ppcls.module("utils.config").parse_config(str(file))
        found = [*unknown_keys(ppcls, config, "train")]
        found += rules._component_names(ppcls, config, "train")
        wrong = [str(f) for f in found if f.place not in READ_BY_NOTHING]
        assert not wrong, f"{file}: {wrong}"
        looked_at += 1
    assert looked_at >= 45


@pytest.mark.parametrize(
    ("changes", "severity", "expected"),
    [
        ({"Global.epoch": 3}, WARNING, "Global.epoch: PaddleClas does not know .* mean epochs"),
        ({"Gobal": {}}, WARNING, "Gobal: .* mean Global"),
        ({"AMP": {"use_amp": False, "levle": "O1"}}, WARNING, "AMP.levle: .* mean level"),
        ({"Optimizer.lr.warmup_epochs": 5}, WARNING, "Optimizer.lr.warmup_epochs: .*warmup_epoch"),
        ({"Optimizer.momentun": 0.9}, ERROR, "Optimizer.momentun: Momentum has no .*mean momentum"),
        (
            {"Optimizer.regularizer": {"name": "L2", "coef": 1e-4}},
            ERROR,
            "Optimizer.regularizer.coef: L2Decay has no option 'coef'. Did you mean coeff",
        ),
        ({f"{TRAIN_SET}.delimeter": ","}, ERROR, f"{TRAIN_SET}.delimeter: ImageNetDataset has no "),
        (
            {f"{TRAIN_SET}.transform_ops": [{"DecodeImage": {"to_rbg": True}}]},
            ERROR,
            f"{TRAIN_SET}.transform_ops.0.DecodeImage.to_rbg: DecodeImage has .* mean to_rgb",
        ),
        (
            {"DataLoader.Train.sampler.batchsize": 3},
            ERROR,
            "DataLoader.Train.sampler.batchsize: DistributedBatchSampler has .* mean batch_size",
        ),
        ({"DataLoader.Train.loader.workers": 3}, WARNING, "loader.workers: .* mean num_workers"),
        (
            {"Loss.Train": [{"CELoss": {"weight": 1.0, "epsilom": 0.1}}]},
            ERROR,
            "Loss.Train.0.CELoss.epsilom: CELoss has no option 'epsilom'. Did you mean epsilon",
        ),
        ({"Metric.Train": [{"TopkAcc": {"top": 1}}]}, ERROR, "Metric.Train.0.TopkAcc.top: Topk"),
        ({"Arch": {"name": "ResNet18", "lr_mult": 1}}, WARNING, "Arch.lr_mult: .* lr_mult_list"),
        ({"Optimizer.regularizer": {"name": "L3"}}, ERROR, "Optimizer.regularizer.name: .* L1 or"),
        # Training does not look at what is for predictions.
        ({"Infer.PostProcess.top_k": 5}, WARNING, "Infer.PostProcess.top_k: Topk .* mean topk"),
    ],
)
def test_keys_that_are_not_there(found, changes, severity, expected):
    import re

    (only,) = found(changes)
    assert only[0] == severity and re.search(expected, only[1]), only


def test_names_that_are_not_there(found):
    changes = {
        "Loss.Train": [{"CELos": {"weight": 1.0}}],
        "Loss.Eval": {"CELoss": {}},
        "DataLoader.Eval.sampler.name": "DistributedBatchSample",
    }
    told = [text for _, text in found(changes)]
    assert any(text.startswith("Loss.Eval: {'CELoss': {}} is not a list") for text in told)
    assert any("sampler 'DistributedBatchSample'. Did you mean Dist" in text for text in told)
    del changes["Loss.Eval"]
    told = [text for _, text in found({**changes, "Metric.Eval": [{"TopAcc": {}}]})]
    assert any("Loss.Train.0: this PaddleClas has no loss 'CELos'. Did you" in t for t in told)
    assert any("Metric.Eval.0: this PaddleClas has no metric 'TopAcc'. Did y" in t for t in told)


# All at once


def test_all_is_told_at_once(found, tmp_path):
    changes = {
        "Global.epochs": "ten",
        "Global.print_batch_step": 0,
        "Global.device": "xpu",
        "Global.epoch": 3,
        "Optimizer": None,
        "Loss.Train": [{"CELos": {"weight": 1.0}}],
        "Arch.name": "TinyNt",
        "Arch.class_num": 8,
        "Global.pretrained_model": str(tmp_path / "no"),
        f"{TRAIN_SET}.image_root": "no",
    }
    told = found(changes)
    places = [text.split(": ")[0] for severity, text in told if severity == ERROR]
    assert set(places) == {
        *("Global.epochs", "Global.print_batch_step", "Global.device", "Optimizer"),
        *("Loss.Train.0", "Arch.name", "Global.pretrained_model"),
        *(f"{TRAIN_SET}.{key}" for key in ("image_root", "cls_label_path")),
        "DataLoader.Eval.dataset.cls_label_path",
    }
    # Errors come first.
    assert [severity for severity, _ in told][-1] == WARNING
    assert len(told) == len(set(told))


@pytest.mark.parametrize("section", ["Global", "Arch", "DataLoader", "Loss", "Optimizer"])
@pytest.mark.parametrize("value", [None, "text", ["x"], 5, {}])
def test_a_section_that_is_none_is_told_and_no_more(found, section, value):
    told = found({section: value})
    about = [text for severity, text in told if text.split(": ")[0].split(".")[0] == section]
    assert len(about) == 1, told


def test_keys_that_are_ours_are_known(found):
    ours = {"peer_timeout": 60, "max_broken_images": 0.1, "export_onnx": True, "preflight": True}
    assert found({f"Global.{key}": value for key, value in ours.items()}) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"DataLoader.Train": None}, "DataLoader.Train"),
        ({"DataLoader.Train": "digits"}, "DataLoader.Train"),
        ({"DataLoader.Eval": [1]}, "DataLoader.Eval"),
        ({"DataLoader.Eval": 5, "Global.eval_mode": "retrieval"}, "DataLoader.Eval"),
        (
            {"DataLoader.Eval": {"Query": 5}, "Global.eval_mode": "retrieval"},
            "DataLoader.Eval.Query",
        ),
        ({"DataLoader.Train.dataset": None}, "DataLoader.Train.dataset"),
        ({"DataLoader.Train.sampler": ["x"]}, "DataLoader.Train.sampler"),
        ({"DataLoader.Train.sampler": {"batch_size": 3, "shuffle": True}}, ".sampler.drop_last"),
        ({"DataLoader.Train.sampler": {"name": "DistributedBatchSampler"}}, ".sampler.batch_size"),
        ({"DataLoader.Eval.loader": {}}, "DataLoader.Eval.loader"),
        ({"DataLoader.Eval.loader": {"num_workers": 0}}, "loader.use_shared_memory"),
        ({f"{TRAIN_SET}.name": None}, f"{TRAIN_SET}.name"),
        ({f"{TRAIN_SET}.image_root": ["a"]}, f"{TRAIN_SET}.image_root"),
        ({f"{TRAIN_SET}.transform_ops": [{"ResizeImage": 3}]}, "transform_ops.0.ResizeImage"),
        ({f"{TRAIN_SET}.transform_ops": [{"OpSampler": 3}]}, "transform_ops.0.OpSampler"),
        ({f"{TRAIN_SET}.transform_ops": [{3: None}]}, "transform_ops.0"),
        ({"Global.output_dir": ["output"]}, "Global.output_dir"),
        ({"Global.peer_timeout": 3}, "Global.peer_timeout"),
        ({"Loss.Train": []}, "Loss.Train"),
        ({"Loss.Train": [{"CELoss": 3}]}, "Loss.Train.0.CELoss"),
        ({"Metric.Eval": [{"TopkAcc": "all"}]}, "Metric.Eval.0.TopkAcc"),
        ({"Optimizer.name": None}, "Optimizer.name"),
        ({"Optimizer.lr": 0.1}, "Optimizer.lr"),
        ({"Optimizer.lr": {"name": "Cosine"}}, "Optimizer.lr.learning_rate"),
        ({"Optimizer": [{"Momentum": {"momentum": 0.9}}]}, "Optimizer.0.Momentum"),
    ],
)
def test_what_is_missing_or_of_another_form(found, changes, place):
    """Each once; without a preflight, they are exceptions of PaddleClas."""
    errors = [text for severity, text in found(changes) if severity == ERROR]
    assert len(errors) == 1 and errors[0].split(": ")[0].endswith(place), errors


def test_metrics_that_are_none_are_left_out(found, make_engine):
    for changes in ({"Metric": None}, {"Metric.Eval": None}, {"Metric": {"Train": [], "Eval": {}}}):
        assert found(changes) == []
        make_engine(changes)


ODD = ["text", 5, ["a"], [[1]], [{3: 4}], [{"A": 3}], {"a": {}}, {None: 3}, {"name": ["x"]}]


def test_no_config_is_too_odd_for_it(ppcls, make_config):
    """Whatever stands for a section or list of it; exceptions would end in a traceback."""

    def places(section, above=()):
        for key, value in section.items() if isinstance(section, dict) else enumerate(section):
            if isinstance(value, (dict, list)):
                yield (*above, key)
                yield from places(value, (*above, key))

    right = make_config()
    for place in list(places(right)):
        for value in ODD:
            config = copy.deepcopy(right)
            section = functools.reduce(lambda part, key: part[key], place[:-1], config)
            section[place[-1]] = value
            assert preflight.inspect_run(ppcls, config, 1) is not None


# Lists and images


@pytest.fixture
def with_list(digits, tmp_path):
    """Changes that train on a list of these lines, after those of the digits."""

    def changes(lines, base="train_40.txt"):
        path = tmp_path / "list.txt"
        path.write_text((digits / base).read_text() + "".join(f"{line}\n" for line in lines))
        return {f"{TRAIN_SET}.cls_label_path": str(path)}

    return changes


def test_all_that_is_wrong_with_a_list(found, with_list, digits):
    image = (digits / "train_40.txt").read_text().split()[0]
    lines = [image, f"{image} cat", f"{image} 1.5", image, f"{image} -1", f"{image} 12", image]
    told = found(with_list(lines))
    place = f"{TRAIN_SET}.cls_label_path: "
    assert all(severity == ERROR and text.startswith(place) for severity, text in told)
    texts = [text for _, text in told]
    for number, (text, words) in zip((41, 42, 43), zip(texts, ("no label", "'cat'", "'1.5'"))):
        assert f"line {number}: " in text and words in text
    assert "has 2 more lines like these" in texts[3]
    assert "line 45" in texts[4] and "the label -1 is negative" in texts[4]
    assert "has 1 labels that are not below Arch.class_num, 10: line 46" in texts[5]
    assert len(told) == 6


def test_a_list_of_another_kind_ends_soon(found, with_list, monkeypatch):
    monkeypatch.setattr(data, "MALFORMED", 10)
    told = [text for _, text in found(with_list(["x"] * 100))]
    assert "has at least 7 more lines like these" in told[-1]


def test_an_empty_list(found, tmp_path):
    (tmp_path / "list.txt").touch()
    (only,) = found({f"{TRAIN_SET}.cls_label_path": str(tmp_path / "list.txt")})
    assert only[0] == ERROR and "list.txt is empty" in only[1]


def test_classes_without_images(found):
    told = found({"Arch.class_num": 14})
    assert [severity for severity, _ in told] == [WARNING, WARNING]
    assert "has no image of 4 of 14 classes (Arch.class_num): 10, 11, 12 and 1 more" in told[0][1]


def test_a_folder_of_images_that_is_not_there_is_told_once(found):
    ((severity, text),) = found({f"{TRAIN_SET}.image_root": "no"})
    assert severity == ERROR and text.startswith(f"{TRAIN_SET}.image_root: no does not exist")


def test_images_that_are_not_there_or_do_not_decode(found, with_list, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    told = found(with_list([f"{tmp_path}/broken.png 0", "no/such.png 3"]))
    (missing, broken) = told
    assert missing[0] == ERROR and "lists 1 of 42 images that are not in" in missing[1]
    assert "line 42 'no/such.png 3'" in missing[1]
    assert broken[0] == WARNING and "1 of 42 images of" in broken[1] and "line 41" in broken[1]


def test_mostly_broken_images_are_an_error(found, with_list, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    changes = with_list([f"{tmp_path}/broken.png 0"] * 50)
    ((severity, text),) = found(changes)
    assert severity == ERROR and "50 of 90 images of" in text
    ((severity, _),) = found({**changes, "Global.max_broken_images": 1})
    assert severity == WARNING


def test_a_sample_is_spread_over_the_list(found, with_list, monkeypatch):
    monkeypatch.setattr(data, "SAMPLE", 5)
    ((_, text),) = found(with_list(["no.png 3"]))
    assert "lists 1 of 5 images looked at" in text  # the last one


def test_lists_of_other_forms_are_left_alone(ppcls, make_config, tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg\t0,1\n")
    changes = {"name": "MultiLabelDataset", "image_root": str(tmp_path)}
    changes["cls_label_path"] = str(tmp_path / "list.txt")
    config = make_config({TRAIN_SET: changes, "Global.eval_during_train": False})
    assert list(data.wrong_data(ppcls, config, "train")) == []


# Learning rates


@pytest.fixture
def rate_of(ppcls, repository):
    """The warning about the learning rate of a shipped config with changes."""
    from paddleclas_eca import register

    register()

    def look(name, processes, **changes):
        file = repository / "ppcls_configs" / f"{name}.yaml"
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        config["DataLoader"]["Train"]["sampler"].update(changes.pop("sampler", {}))
        config["Optimizer"].update(changes.pop("Optimizer", {}))
        for key, value in changes.items():
            config[key].update(value)
        return [str(finding) for finding in disproportionate_rate(config, processes)]

    return look


def test_the_rates_of_recipes_suit_them(rate_of, repository):
    for file in (repository / "ppcls_configs").glob("*.yaml"):
        assert rate_of(file.stem, 4) == []


def test_a_rate_for_another_batch_is_told_with_the_right_one(rate_of):
    (text,) = rate_of("ECA_ResNet50", 1)
    assert text.startswith("Optimizer.lr.values: 0.1 is 4 times the recipe's rate for this batch")
    assert "-o 'Optimizer.lr.values=[0.025, 0.0025, 0.00025, 2.5e-05]'" in text
    (text,) = rate_of("ECA_MobileNetV2", 8)
    assert "0.045 is 1/2 of the recipe's rate" in text
    assert text.endswith("-o Optimizer.lr.learning_rate=0.09")
    (text,) = rate_of("ECA_ResNet50", 4, sampler={"batch_size": 128})
    assert "takes steps of 512: 128 for each of 4 processes" in text


def test_rates_that_are_scaled_or_are_not_to_be(rate_of):
    assert rate_of("ECA_ResNet50", 1, sampler={"batch_size": 256}) == []
    assert rate_of("ECA_ResNet50", 2, Global={"update_freq": 2}) == []
    # Adam, and fine-tuning with less.
    assert rate_of("ECA_ResNet50", 1, Optimizer={"name": "Adam"}) == []
    slow = {"name": "Constant", "learning_rate": 0.001}
    weights = {"pretrained_model": "x"}
    assert rate_of("ECA_ResNet50", 1, Optimizer={"lr": slow}, Global=weights) == []
    assert len(rate_of("ECA_ResNet50", 1, Optimizer={"lr": slow})) == 1
    # Small images have recipes of their own.
    assert rate_of("digits/ECA_ResNet18", 1) == rate_of("cifar10/ECA_ResNet18", 8) == []


# Folders and weights


def test_an_output_folder_that_cannot_be_written(found, tmp_path):
    (tmp_path / "file").touch()
    ((severity, text),) = found({"Global.output_dir": str(tmp_path / "file" / "output")})
    assert severity == ERROR and text.startswith("Global.output_dir: ") and "-o Global" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission(found, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    ((_, text),) = found({"Global.output_dir": str(tmp_path / "locked")})
    assert "Permission denied" in text


def test_weights_that_are_not_there(found, tmp_path):
    (tmp_path / "some.pdparams").touch()
    assert found({"Global.pretrained_model": str(tmp_path / "some")}) == []
    assert found({"Global.pretrained_model": str(tmp_path / "some.pdparams")}) == []
    assert found({"Global.pretrained_model": "https://example.org/x.pdparams"}) == []
    ((_, text),) = found({"Arch.pretrained": "no"})
    assert text.startswith("Arch.pretrained: no.pdparams does not exist")


# Before training


def test_an_engine_for_training_is_not_built(make_engine, tmp_path):
    with pytest.raises(UserError) as error:
        make_engine({"Optimizer.momentun": 0.9, "Loss.Train": [{"CELos": {"weight": 1}}]})
    first, *lines = str(error.value).splitlines()
    assert first == "2 errors before the run"
    assert [line.split(": ")[1] for line in lines] == ["Loss.Train.0", "Optimizer.momentun"]
    assert not (tmp_path / "output").exists()


def test_warnings_go_to_the_log_and_the_run_goes_on(make_engine, log, tmp_path):
    make_engine({"Global.epoch": 3})
    assert len([line for line in log if line.startswith("Global.epoch: PaddleClas does")]) == 1
    (file,) = (tmp_path / "output").rglob("train.log")
    assert "Global.epoch: PaddleClas does" in file.read_text()


@pytest.mark.parametrize("mode", ["eval", "export"])
def test_other_modes_have_no_preflight(make_engine, mode, log):
    make_engine({"Global.epoch": 3}, mode=mode)
    assert not any(line.startswith("Global.epoch: ") for line in log)


def test_preflight_can_be_switched_off(make_engine, log):
    make_engine({"Global.epoch": 3, "Global.preflight": False})
    assert not any(line.startswith("Global.epoch: ") for line in log)


def test_other_ranks_leave_it_to_the_first(make_config, ppcls, monkeypatch, log):
    import paddle

    monkeypatch.setattr(paddle.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(
        preflight, "inspect_run", lambda *args: pytest.fail("a preflight of rank 1")
    )
    ppcls.module("engine.engine").Engine(make_config(), mode="train")


# The table

FINDINGS = [
    Finding(ERROR, "Global.epochs", "'ten' is no whole number from 1"),
    Finding(WARNING, "DataLoader.Train.dataset.cls_label_path", "a long message " * 20),
]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_in_a_pipe_a_finding_is_a_line():
    lines = preflight.table(FINDINGS, io.StringIO()).splitlines()
    assert lines[0] == "error: Global.epochs: 'ten' is no whole number from 1"
    assert len(lines) == 2 and lines[1].startswith("warning: DataLoader.Train.dataset")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_on_a_terminal_the_table_fits(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = preflight.table(FINDINGS, _Terminal()).splitlines()
    assert max(map(len, lines)) <= columns
    assert "".join(lines).count("a long message") >= 1 and "Global.epochs" in lines[3]
