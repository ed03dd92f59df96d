"""The script that runs the tests on other versions, with small tests instead of ours."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import time
from pathlib import Path

import pytest

TESTS = """
import os
import pytest

def test_that_passes(): pass
def test_that_passes_too(): assert os.environ.get("PADDLECLAS_ROOT") == {root!r}
def test_that_fails(): assert False
@pytest.mark.skip
def test_that_is_skipped(): pass
@pytest.fixture
def broken(): raise OSError
def test_whose_fixture_is_broken(broken): pass
"""


@pytest.fixture
def matrix(repository, tmp_path, monkeypatch):
    """The script as a module, that keeps its files in the test's folder."""
    spec = importlib.util.spec_from_file_location("matrix", repository / "tools" / "matrix.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "matrix", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "matrix")
    return module


@pytest.fixture
def this_environment(matrix, monkeypatch):
    """Cells run in the environment of this test, without Python 3.9, which is not to be had."""

    def make(cell, folder, log):
        if cell.python == "3.9":
            raise matrix.NotRunError("no interpreter: none of the kind")
        folder.mkdir()
        return Path(sys.executable)

    monkeypatch.setattr(matrix, "make_environment", make)


def write_tests(folder, name, code):
    file = folder / f"test_{name}.py"
    file.write_text(code)
    return str(file)


def one_result(matrix):
    ((_, result),) = matrix.stored_results()
    return result


CELL = ["--paddle", "3.3.1", "--python", "3.11", "--paddleclas", "2.4.2"]


def test_every_combination_is_a_cell(matrix):
    every = matrix.cells(matrix.parse([]))
    assert len(set(every)) == len(every) == 5 * 5 * 3
    assert len({cell.name for cell in every}) == len(every)


def test_cells_are_chosen_by_their_versions(matrix):
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
    commands = re.findall(r"tools/matrix\.py ([^\n`#|]*)", text)
    assert commands
    for command in commands:
        assert matrix.cells(matrix.parse(shlex.split(command)))


def test_counts_are_those_of_pytest(matrix, this_environment, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PADDLECLAS_ROOT", "/of/the/user")
    tests = write_tests(tmp_path, "some", TESTS.format(root=None))
    assert matrix.main([*CELL, "--tests", tests]) == 1
    result = one_result(matrix)
    assert (result.status, result.passed, result.failed, result.skipped) == ("failed", 2, 2, 1)
    assert result.note == "test_that_fails, test_whose_fixture_is_broken"
    row = f"| 3.3.1 | 3.11 | newest | 2.4.2 | failed: {result.note} | 2 | 2 | 1 |"
    printed = capsys.readouterr().out
    assert row in printed and "FAILED" in printed
    assert [f.name for f in sorted((tmp_path / "matrix").glob("*/*"))] == [
        "log",
        "report.xml",
        "result.json",
    ]


def test_a_checkout_is_used_where_it_is_given(matrix, this_environment, tmp_path):
    (tmp_path / "checkout" / "ppcls").mkdir(parents=True)
    tests = write_tests(tmp_path, "root", TESTS.format(root=str(tmp_path / "checkout")))
    words = [*CELL[:-1], "release/2.5", "--tests", tests]
    matrix.main([*words, "--release-2.5", str(tmp_path / "checkout")])
    assert one_result(matrix).passed == 2
    matrix.main([*words, "--release-2.5", str(tmp_path)])
    assert one_result(matrix).note == f"{tmp_path} is no checkout of PaddleClas"
    matrix.main(words)
    assert one_result(matrix)[:2] == ("not run", 0)
    assert one_result(matrix).note == "no checkout given"


def test_what_fails_does_not_end_the_run(matrix, this_environment, tmp_path, capsys):
    tests = write_tests(tmp_path, "good", "def test(): pass\n")
    words = ["--python", "3.9", "3.12", "--paddle", "3.3.1", "--tests", tests]
    assert matrix.main(words) == 0
    assert matrix.main([*words, "--strict"]) == 1
    assert matrix.main(["--python", "3.9", "--paddle", "3.3.1", "--tests", tests]) == 1
    capsys.readouterr()
    matrix.main(["--table"])
    rows = capsys.readouterr().out.split("\n\n")[-1].splitlines()[2:]
    assert [row.split(" | ")[1:5] for row in rows] == [
        ["3.12", "newest", "2.4.2", "passed"],
        ["3.12", "newest", "release/2.5", "not run: no checkout given"],
        ["3.12", "newest", "develop", "not run: no checkout given"],
        ["3.9", "newest", "2.4.2", "not run: no interpreter: none of the kind"],
        ["3.9", "newest", "release/2.5", "not run: no checkout given"],
        ["3.9", "newest", "develop", "not run: no checkout given"],
    ]


@pytest.mark.parametrize(
    ("code", "limit", "note"),
    [
        ("import os\ndef test(): os.abort()\n", "1", "ended by signal 6"),
        ("import time\ndef test(): time.sleep(99)\n", "0.05", "took more than 0.05 minutes"),
    ],
    ids=["crash", "hang"],
)
def test_crashes_and_hangs_are_told(matrix, this_environment, tmp_path, code, limit, note):
    tests = write_tests(tmp_path, "bad", code)
    begin = time.monotonic()
    assert matrix.main([*CELL, "--tests", tests, "--timeout", limit]) == 1
    assert one_result(matrix)[0] == "ended early" and one_result(matrix).note == note
    assert time.monotonic() - begin < 60


def test_no_tests_are_no_success(matrix, this_environment, tmp_path):
    tests = write_tests(tmp_path, "none", "\n")
    assert matrix.main([*CELL, "--tests", tests]) == 1
    assert one_result(matrix).status == "failed"


def test_what_uv_says_is_the_reason(matrix, tmp_path, monkeypatch):
    uv = tmp_path / "uv"
    said = "echo '  × No solution:'; echo \"  ╰─▶ no wheels of $UV_FIND_LINKS\""
    uv.write_text(f"#!/bin/sh\n{said}\nexit 1\n", encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("PIP_FIND_LINKS", "/my/wheels")
    assert matrix.main(CELL) == 1
    assert one_result(matrix).note == "no interpreter: no wheels of /my/wheels"


def test_installing_does_not_hang_for_ever(matrix, tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "LONGEST_INSTALL", 0.5)
    with pytest.raises(matrix.NotRunError, match="^not installable: took more than 0.5 seconds$"):
        with (tmp_path / "log").open("w") as log:
            matrix.call(log, "not installable", "sleep", "60")


def test_interpreters_are_asked_for_their_version(matrix, tmp_path, monkeypatch):
    this = ".".join(map(str, sys.version_info[:2]))
    assert matrix.find_python(this) == sys.executable
    # A command that is there but does not run, as pyenv's are.
    (tmp_path / "python3.99").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert matrix.find_python("3.99") == "3.99"
