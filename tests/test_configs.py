"""Finding, reading and overriding configs."""

from __future__ import annotations

import copy

import pytest
import yaml

from paddleclas_eca.configs import (
    apply_overrides,
    find_config,
    global_section,
    load_yaml,
    parse_override,
    read_config,
)
from paddleclas_eca.errors import UserError


@pytest.mark.parametrize(
    "given",
    [
        "ECA_ResNet50",
        "ECA_ResNet50.yaml",
        "ppcls_configs/ECA_ResNet50.yaml",
        "./ppcls_configs/ECA_ResNet50.yaml",
    ],
)
def test_shipped_configs_are_found_from_anywhere(given, tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    assert find_config(given).resolve() == repository / "ppcls_configs" / "ECA_ResNet50.yaml"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ECA_ResNet50").write_text("mine")
    assert find_config("ECA_ResNet50").read_text() == "mine"


def test_unknown_config_is_named_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no config ECA_ResNet5O.*Did you mean ECA_ResNet50"):
        find_config("ECA_ResNet5O")
    with pytest.raises(
        UserError, match="cats.*ECA_MobileNetV2, ECA_MobileNetV2_x0_25, .* ablation/..., "
    ):
        find_config("cats")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Global:\n  epochs: 1\n\tdevice: cpu\n", r"c\.yaml, line 3 is not valid YAML"),
        (b"Global: [1, 2\n", r"c\.yaml, line 2 is not valid YAML"),
        (b"", r"c\.yaml is not a config"),
        (b"- 1\n", r"c\.yaml is not a config"),
        (b"\xff\xfe\x00", r"c\.yaml.* is not valid YAML"),
    ],
)
def test_invalid_file_is_named_with_the_line(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_yaml(path)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(UserError, match="gone.yaml cannot be read: No such file"):
        load_yaml(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("option", "keys", "value"),
    [
        ("Global.epochs=3", ["Global", "epochs"], 3),
        ("a=0.1", ["a"], 0.1),
        ("a=1e-4", ["a"], 1e-4),
        ("a=True", ["a"], True),
        ("a=true", ["a"], True),
        ("a=false", ["a"], False),
        ("a=None", ["a"], None),
        ("a=null", ["a"], None),
        ("a=[1, 'b']", ["a"], [1, "b"]),
        ("a=output/x", ["a"], "output/x"),
        ("a=b=c", ["a"], "b=c"),
        ("a=", ["a"], ""),
        ("a=1.0/255.0", ["a"], "1.0/255.0"),
        # PaddleClas would run these.
        ("a=print", ["a"], "print"),
        ("a=__import__('os').getcwd()", ["a"], "__import__('os').getcwd()"),
    ],
)
def test_values_of_overrides(option, keys, value):
    parsed_keys, parsed = parse_override(option)
    assert (parsed_keys, parsed) == (keys, value)
    assert type(parsed) is type(value)


@pytest.mark.parametrize("option", ["Global.epochs", "=3", ".a=1", "a..b=1", ""])
def test_override_of_another_form(option):
    with pytest.raises(UserError, match="give it as KEY=VALUE"):
        parse_override(option)


CONFIG = {"Global": {"epochs": 1, "device": "gpu"}, "ops": [{"A": {"size": 1}}, {"B": None}]}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["Global.epochs=2"], {"Global": {"epochs": 2, "device": "gpu"}}),
        (["ops.0.A.size=5"], {"ops": [{"A": {"size": 5}}, {"B": None}]}),
        (["ops.1={'C': None}"], {"ops": [{"A": {"size": 1}}, {"C": None}]}),
        (["ops.1.B.size=5"], {"ops": [{"A": {"size": 1}}, {"B": {"size": 5}}]}),
        (["EMA.decay=0.9"], {"EMA": {"decay": 0.9}}),
        (["a.b.c=1", "a.b.d=2"], {"a": {"b": {"c": 1, "d": 2}}}),
    ],
)
def test_overrides_are_set(options, changed):
    config = copy.deepcopy(CONFIG)
    apply_overrides(config, options)
    assert config == {**CONFIG, **changed}


@pytest.mark.parametrize(
    ("option", "remarks"),
    [
        ("Global.epochs=2", []),
        ("ops.0.A.size=5", []),
        (
            "Global.epoch=2",
            ["-o Global.epoch=2: the config has no Global.epoch so far. Did you mean epochs?"],
        ),
        ("EMA.decay=0.9", ["-o EMA.decay=0.9: the config has no EMA so far"]),
        (
            "ops.0.A.sise=5",
            ["-o ops.0.A.sise=5: the config has no ops.0.A.sise so far. Did you mean size?"],
        ),
    ],
)
def test_new_keys_are_remarked_on(option, remarks):
    assert apply_overrides(copy.deepcopy(CONFIG), [option]) == remarks


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("Global.epochs.x=1", "Global.epochs is 1, which has no 'x'"),
        ("ops.2.A=1", "ops is a list of 2 entries, so '2' must be a number from 0 to 1"),
        ("ops.A=1", "ops is a list of 2 entries, so 'A'"),
        ("ops.-1=1", "so '-1'"),
    ],
)
def test_overrides_that_lead_nowhere(option, message):
    with pytest.raises(UserError, match=message):
        apply_overrides(copy.deepcopy(CONFIG), [option])


def test_a_config_is_read_with_its_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    config, remarks = read_config(str(path), ["Global.device=cpu", "Global.epoch=3"])
    assert global_section(config) == {"epochs": 1, "device": "cpu", "epoch": 3}
    assert len(remarks) == 1 and "Global.epoch" in remarks[0]
    assert global_section(read_config(str(path), ["Global=1"])[0]) == {}


_DOUBLED = "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
_MERGED = "".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(40))
UNBOUNDED = {
    "a billion laughs": ("a0: &a0 [x]\n" + _DOUBLED, "values"),
    "a billion merged keys": ("a0: &a0 {x: 1}\n" + _MERGED, "values"),
    "a list in itself": ("a: &a [*a]\n", "line 1.* alias"),
    "a section in itself": ("a: 1\nb: &b {c: [*b]}\n", "line 2.* alias"),
    "a section merged into itself": ("a: &a {<<: *a}\n", "line 1.* alias"),
    "a key of itself": ("a: &a {? *a : 1}\n", "line 1.* alias"),
    "brackets": ("a: " + "[" * 3_000_000, "nested"),
    "braces": ("{a: " * 1_000_000, "nested"),
    "dashes": ("a:\n  " + "- " * 100_000, "nested"),
    "aliases of aliases": (
        "a0: &a0 x\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(999)),
        "nested",
    ),
    "many values": ("a: [" + "x," * 1_000_000 + "]", "values"),
    "a long number": ("a: 1" + "0" * 3_000_000, "digits"),
    "a long hexadecimal number": ("a: 0x1" + "0" * 3_000_000, "digits"),
    "a long number of base 60": ("a: 1" + ":10" * 1_000_000, "digits"),
    "a large file": ("a: " + "x" * (17 << 20), "too large"),
}


@pytest.mark.parametrize("case", UNBOUNDED)
def test_configs_that_stand_for_much_are_refused(tmp_path, case):
    content, message = UNBOUNDED[case]
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"c\.yaml.*{message}") as error:
        load_yaml(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("value", ["!!bool rose", "!!int ''", "!!timestamp rose", "2001-13-01"])
def test_values_that_do_not_fit_their_types(tmp_path, value):
    path = tmp_path / "c.yaml"
    path.write_text(f"a: 1\nb: {value}\n")
    with pytest.raises(UserError, match=r"c\.yaml, line 2 .*not of the type (bool|int|timestamp)"):
        load_yaml(path)


def test_aliases_are_values_of_their_own(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\n")
    assert read_config(str(path), ["b.x=2"])[0] == {"a": {"x": 1}, "b": {"x": 2}}
