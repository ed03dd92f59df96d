"""Config files and overrides as people write them: what is read, and what is refused."""

from __future__ import annotations

import ast

import pytest
from hypothesis import strategies as st
from properties import property_test

from paddleclas_eca.configs import apply_overrides, load_yaml
from paddleclas_eca.configs import parse_override as parse
from paddleclas_eca.errors import UserError

REFUSED = {
    "tab for indentation": (b"Global:\n\tepochs: 1\n", "line 2 .*tab"),
    "tab after blanks": (b"Global:\n  epochs: 1\n \t seed: 1\n", "line 3 .*tab"),
    "key twice": (b"A:\n  epochs: 1\n  seed: 0\n  epochs: 2\n", "line 4 .*key epochs .*line 2"),
    "section twice": (b"A:\n  b: 1\nC:\n  d: x\nA:\n  e: 1\n", "line 5 .*key A .*line 1"),
    "key twice in braces": (b"A: {epochs: 1, epochs: 1}\n", "line 1 .*key epochs"),
    "key twice in a list": (b"A:\n  - B:\n      c: 1\n      c: 2\n", "line 4 .*key c .*line 3"),
    "merge key twice": (b"Global: {<<: {epochs: 1}, <<: {epochs: 1}}\n", "line 1 .*key <<"),
    "wrong indentation": (b"Global:\n  epochs: 1\n seed: 1\n", "line 3 "),
    "open bracket": (b"A: [1, 2\nB: 3\n", "line 2 "),
    "Latin-1": ("A: 1\n\nB: é\n".encode("latin-1"), "line 3 .*UTF-8"),
    "UTF-16": ("Global:\n  epochs: 1\n".encode("utf-16"), "line 1 .*UTF-8"),
    "zero bytes": (b"Global:\n  name: a\0b\n", "x0000"),
    "binary": (bytes(range(256)), "YAML"),
    "object of Python": (b"A: !!python/object/apply:os.system ['touch trace']\n", "line 1 "),
    "month 13": (b"A: 2001-13-01\n", "month"),
    "deep": (b"A: " + b"[" * 5000, "deep"),
    "text": (b"hello\n", "sections"),
    "list": (b"- a\n- b\n", "sections"),
    "only a comment": (b"# nothing\n", "sections"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, message = REFUSED[case]
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_yaml(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    "content",
    [
        b"Global:\r\n  epochs: 1\r\n",
        b"\xef\xbb\xbfGlobal:\n  epochs: 1\n",
        b"Global: {epochs: 1}",
        "# größer\nGlobal:\n  epochs: 1\n".encode(),
        b"Global: {<<: &base {epochs: 2}, epochs: 1}\n",
    ],
    ids=["Windows line ends", "byte-order mark", "no line end", "comment", "merged key"],
)
def test_files_that_are_read(tmp_path, content):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    assert load_yaml(file) == {"Global": {"epochs": 1}}


def test_merged_keys_that_a_section_sets_itself_are_no_duplicates(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("A: {deep: &a {<<: &z {k: 1, l: 1}, k: 2}}\nB: {<<: *a, k: 3}\nC: *a\n")
    assert load_yaml(file) == {
        "A": {"deep": {"k": 2, "l": 1}},
        "B": {"k": 3, "l": 1},
        "C": {"k": 2, "l": 1},
    }


HOSTILE = [
    "__import__('os').system('touch trace')",
    "[__import__('os').system('touch trace')]",
    "{'a': open('trace', 'w')}",
    "(lambda: open('trace', 'w'))()",
    "!!python/object/apply:os.system ['touch trace']",
    'f\'{open("trace", "w")}\'',
    "`touch trace`",
]


@pytest.mark.parametrize("code", HOSTILE)
def test_values_of_overrides_are_never_run(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    config = {"Arch": {"name": "x"}}
    apply_overrides(config, [f"Arch.name={code}", f"Arch.{code.replace('.', '_')}=1"])
    assert config["Arch"]["name"] == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["...", "b'bytes'", "{1, 2}", "1j", "{[]: 1}", "[...]", "", "a\0b", "(" * 300, "\\d"]
)
def test_what_yaml_cannot_hold_is_text(text):
    assert parse(f"A.b={text}") == (["A", "b"], text)


@pytest.mark.parametrize("key", ["²", "٣", "-1", "1.0", "9" * 5000, "", " 0"])
def test_odd_numbers_of_list_entries(key):
    with pytest.raises(UserError):
        apply_overrides({"A": [1, 2]}, [f"A.{key}=1"])


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.lists(st.text("abcXYZ_019", min_size=1), min_size=1, max_size=4)


@property_test(KEYS, LITERALS)
def test_literals_come_back_from_overrides(keys, value):
    option = f"{'.'.join(keys)}={value!r}"
    assert parse(option) == (keys, value)
    config = {}
    apply_overrides(config, [option])
    for key in keys:
        config = config[key]
    assert config == value


@property_test(KEYS, st.text().filter(lambda text: text not in ("true", "false", "null")))
def test_all_else_is_text(keys, text):
    try:
        ast.literal_eval(text)
    except Exception:
        assert parse(f"{'.'.join(keys)}={text}") == (keys, text)


SECTIONS = st.dictionaries(st.text("abc01", min_size=1, max_size=2), LITERALS, max_size=4)


@property_test(
    SECTIONS, st.lists(st.text() | st.builds("{}={}".format, st.text("abc01."), st.text()))
)
def test_overrides_raise_nothing_but_user_errors(config, options):
    try:
        remarks = apply_overrides(config, options)
    except UserError as error:
        assert str(error).startswith("-o ")
    else:
        assert all(remark.startswith("-o ") for remark in remarks)


@property_test(st.binary(max_size=60) | st.text("ab:- \t\n[]{}<&*!#|>'\"%0.").map(str.encode))
def test_files_raise_nothing_but_user_errors(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    try:
        config = load_yaml(file)
    except UserError as error:
        assert str(file) in str(error)
    else:
        assert isinstance(config, dict)
