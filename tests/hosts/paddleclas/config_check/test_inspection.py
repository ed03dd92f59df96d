"""The check before training, from the Engine and for itself."""

from __future__ import annotations

import copy
import functools
import io

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas import config_check
from paddleclas_eca.hosts.paddleclas.config_check import ERROR, WARNING, Finding, inspect_run, table


def test_a_run_with_errors_builds_nothing(make_engine, tmp_path):
    with pytest.raises(UserError) as error:
        make_engine({"Optimizer.momentun": 0.9, "Loss.Train": [{"CELos": {"weight": 1}}]})
    first, *lines = str(error.value).splitlines()
    assert first == "2 errors before the run"
    assert {line.split(": ")[1] for line in lines} == {"Loss.Train.0", "Optimizer.momentun"}
    assert not (tmp_path / "output").exists()


def test_warnings_are_logged_once_and_the_run_goes_on(make_engine, log, tmp_path):
    make_engine({"Global.epoch": 3})
    assert len([line for line in log if line.startswith("Global.epoch: ")]) == 1
    (file,) = (tmp_path / "output").rglob("train.log")
    assert "Global.epoch: " in file.read_text()


@pytest.mark.parametrize(
    ("changes", "mode"),
    [({}, "eval"), ({}, "export"), ({"Global.preflight": False}, "train")],
)
def test_runs_that_are_not_checked(make_engine, mode, changes, log):
    make_engine({"Global.epoch": 3, **changes}, mode=mode)
    assert not any(line.startswith("Global.epoch: ") for line in log)


def test_a_label_list_is_read_once(ppcls, make_config, monkeypatch):
    from paddleclas_eca.data import label_lists

    read = []
    original = label_lists._read_text
    monkeypatch.setattr(label_lists, "_read_text", lambda path: read.append(path) or original(path))
    engine = ppcls.module("engine.engine").Engine(make_config(), mode="train")
    assert len(read) == len(set(read)) == 2
    assert len(engine.train_dataloader.dataset) == 40
    assert not label_lists._kept


def test_findings_of_rules_that_rewrite_are_logged_once(ppcls, make_config, log):
    config = make_config()
    assert config_check.check_run(ppcls, config) == []
    assert config["DataLoader"]["Train"]["dataset"]["transform_ops"][2]["NormalizeImage"][
        "scale"
    ] == pytest.approx(1 / 255)
    config_check.check_config(ppcls, config, "train")
    assert log == []


ODD = ["text", 5, ["a"], [[1]], [{3: 4}], [{"A": 3}], {"a": {}}, {None: 3}, {"name": ["x"]}]


@pytest.mark.slow
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
            assert inspect_run(ppcls, config, 1) is not None


FINDINGS = [
    Finding(ERROR, "Global.epochs", "'ten' is not an integer"),
    Finding(WARNING, "DataLoader.Train.dataset.cls_label_path", "a long message " * 20),
]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_finding_is_a_line_of_a_pipe_and_a_row_of_a_terminal(monkeypatch):
    lines = table(FINDINGS, io.StringIO()).splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: Global.epochs: ")
    monkeypatch.setenv("COLUMNS", "80")
    lines = table(FINDINGS, _Terminal()).splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 80


PATHS = ["Global.pretrained_model", "Infer.PostProcess.class_id_map_file", "Global.checkpoints"]


@pytest.mark.parametrize("key", PATHS)
def test_names_that_no_file_can_have(ppcls, make_config, key):
    (found,) = inspect_run(ppcls, make_config({key: "a" * 300}), 1)
    assert (found.severity, found.place) == (ERROR, key)


def test_an_output_directory_that_no_file_system_takes(make_engine):
    with pytest.raises(UserError, match="a{300}"):
        make_engine({"Global.output_dir": "a" * 300})
