"""The script that runs the tests with other versions, with small tests instead of ours."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

TESTS = """
import os
import pytest

def test_that_passes(): pass
def test_the_checkout(): assert os.environ.get("PADDLECLAS_ROOT") == {root!r}
def test_that_fails(): assert False
@pytest.mark.skip
def test_that_is_skipped(): pass
@pytest.fixture
def bad(): raise OSError
def test_whose_fixture_fails(bad): pass
"""
CELL = ["--paddle", "3.3.1", "--python", "3.11", "--paddleclas", "2.4.2"]


@pytest.fixture
def matrix(repository, tmp_path, monkeypatch):
    """The script as a module that keeps its files in the test's directory."""
    script = repository / "maintenance" / "matrix.py"
    spec = importlib.util.spec_from_file_location("matrix", script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "matrix", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "matrix")
    return module


@pytest.fixture
def run(matrix, tmp_path, monkeypatch):
    """Runs cells in the environment of this test, with a test file; Python 3.9 is missing."""

    def make(cell, folder, log):
        if cell.python == "3.9":
            raise matrix.NotRunError("no interpreter")
        folder.mkdir()
        return Path(sys.executable)

    monkeypatch.setattr(matrix, "make_environment", make)

    def run(code, *words):
        file = tmp_path / "test_some.py"
        file.write_text(code)
        return matrix.main([*words, "--tests", str(file)])

    return run


def only_result(matrix):
    ((_, result),) = matrix.stored_results()
    return result


def test_cells_are_the_combinations_of_the_versions(matrix):
    every = matrix.cells(matrix.parse([]))
    assert len(set(every)) == len(every) == 5 * 5 * 3
    assert len({cell.name for cell in every}) == len(every)
    words = ["--paddle", "3.0.0", "3.1.1", "--python", "3.11", "--paddleclas", "develop"]
    assert matrix.cells(matrix.parse(words)) == [
        ("develop", "3.0.0", "3.11", "newest"),
        ("develop", "3.1.1", "3.11", "newest"),
    ]


def test_the_tests_that_it_runs_exist(matrix, repository):
    for test in matrix.TESTS:
        path, _, name = test.partition("::")
        assert (repository / path).exists()
        assert not name or f"\ndef {name}(" in (repository / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", [".ci/run", "docs/compatibility.md"])
def test_commands_of_documents_are_understood(matrix, repository, document):
    text = (repository / document).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"/matrix\.py ([^\n`#|]*)", text)
    assert commands
    for command in commands:
        assert matrix.cells(matrix.parse(shlex.split(command)))


def test_counts_are_those_of_pytest(matrix, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PADDLECLAS_ROOT", "/of/the/user")
    assert run(TESTS.format(root=None), *CELL) == 1
    result = only_result(matrix)
    assert (result.status, result.passed, result.failed, result.skipped) == ("failed", 2, 2, 1)
    assert result.note == "test_that_fails, test_whose_fixture_fails"
    row = f"| 3.3.1 | 3.11 | newest | 2.4.2 | failed: {result.note} | 2 | 2 | 1 |"
    assert row in capsys.readouterr().out


def test_a_checkout_is_used_where_it_is_given(matrix, run, tmp_path):
    (tmp_path / "checkout" / "ppcls").mkdir(parents=True)
    words = [*CELL[:-1], "release/2.5", "--release-2.5", str(tmp_path / "checkout")]
    run(TESTS.format(root=str(tmp_path / "checkout")), *words)
    assert only_result(matrix).passed == 2
    run("", *words[:-1], str(tmp_path))
    assert only_result(matrix).status == "not run" and str(tmp_path) in only_result(matrix).note


def test_a_cell_that_fails_does_not_end_the_run(run, matrix, capsys):
    code, words = "def test(): pass\n", ["--paddle", "3.3.1", "--paddleclas", "2.4.2", "--python"]
    assert run(code, *words, "3.9", "3.12") == 0
    assert run(code, *words, "3.9", "3.12", "--strict") == 1
    assert run(code, *words, "3.9") == 1
    capsys.readouterr()
    matrix.main(["--table"])
    rows = capsys.readouterr().out.split("\n\n")[-1].splitlines()[2:]
    assert [row.split(" | ")[1:5] for row in rows] == [
        ["3.12", "newest", "2.4.2", "passed"],
        ["3.9", "newest", "2.4.2", "not run: no interpreter"],
    ]


@pytest.mark.parametrize(
    ("code", "minutes", "status", "note"),
    [
        ("import os\ndef test(): os.abort()\n", "1", "failed", "test"),
        ("import time\ndef test(): time.sleep(99)\n", "0.05", "ended early", "took more than 0.05"),
        ("\n", "1", "failed", ""),
    ],
    ids=["crash", "hang", "no tests"],
)
def test_what_does_not_end_well_is_no_success(matrix, run, code, minutes, status, note):
    assert run(code, *CELL, "--timeout", minutes) == 1
    assert only_result(matrix).status == status and note in only_result(matrix).note


def test_the_last_words_of_uv_are_the_reason(matrix, tmp_path, monkeypatch):
    uv = tmp_path / "uv"
    frame = "echo '  × No solution:'; echo \"  ╰─▶ no wheels of $UV_FIND_LINKS\""
    uv.write_text(f"#!/bin/sh\n{frame}\nexit 1\n", encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("PIP_FIND_LINKS", "/my/wheels")
    assert matrix.main(CELL) == 1
    assert only_result(matrix).note == "no interpreter: no wheels of /my/wheels"


def test_interpreters_are_asked_for_their_version(matrix, tmp_path, monkeypatch):
    this = ".".join(map(str, sys.version_info[:2]))
    assert matrix.find_python(this) == sys.executable
    # A command that exists but does not run, as pyenv's do.
    (tmp_path / "python3.99").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert matrix.find_python("3.99") == "3.99"
