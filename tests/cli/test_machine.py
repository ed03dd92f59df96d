"""What the machine refuses is one line with the cure; what nobody knows keeps its traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import sysconfig

import pytest
import yaml

from paddleclas_eca import cli
from paddleclas_eca.errors import of_machine


def _fails_with(failure):
    def run():
        raise failure

    return cli.report_errors(run)


REFUSED = {
    errno.EACCES: "permission",
    errno.EROFS: "permission",
    errno.ENOSPC: "space",
    errno.EDQUOT: "space",
    errno.EFBIG: "ulimit -f",
    errno.ENAMETOOLONG: "Shorten",
    errno.ENOTDIR: "another path",
    errno.EISDIR: "another path",
    errno.EMFILE: "ulimit -n",
}


@pytest.mark.parametrize("number", REFUSED)
def test_what_the_system_refuses(capsys, number):
    assert _fails_with(OSError(number, os.strerror(number), "x" * 300)) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: 'xxx") and printed.count("\n") == 1
    assert os.strerror(number) in printed and REFUSED[number] in printed and len(printed) < 400


def test_a_write_that_fails_has_no_file_name(capsys):
    assert _fails_with(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == 1
    assert "space" in capsys.readouterr().err


@pytest.mark.parametrize(
    "failure", [KeyError("x"), OSError(errno.ENOENT, "none", "x"), BrokenPipeError(), OSError("x")]
)
def test_an_unknown_error_keeps_its_traceback_and_gets_a_hint(capsys, monkeypatch, failure):
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 0, raising=False)
    with pytest.raises(type(failure)):
        _fails_with(failure)
    assert "paddleclas-eca check" in capsys.readouterr().err


def test_text_that_the_locale_has_not(monkeypatch):
    failure = UnicodeEncodeError("ascii", "caf\xe9", 3, 4, "ordinal not in range(128)")
    assert of_machine(failure) is None
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert "PYTHONUTF8=1" in of_machine(failure) and "caf" in of_machine(failure)


@pytest.fixture
def shell(tmp_path):
    """Run a line of a shell, with $ECA as the command; returns the process."""
    eca = os.path.join(sysconfig.get_path("scripts"), "paddleclas-eca")

    def run(line, **environment):
        return subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "ECA": eca, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
        )

    return run


def _one_line(done, *texts):
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert all(text in line for text in texts), line


def test_a_deleted_working_directory(shell):
    _one_line(shell('mkdir d; cd d; rmdir ../d; "$ECA" plot x'), "working directory")


PRINTS = "import sys; from paddleclas_eca import cli; "
PRINTS += "sys.exit(cli.report_errors(lambda: print('x' * 99999) or 0))"


@pytest.mark.parametrize("output", ["| true", ">&-", ">&- 2>&-"])
def test_output_that_nobody_reads(shell, output):
    done = shell(f'{sys.executable} -c "{PRINTS}" {output}')
    assert done.stderr == ""


def test_output_to_a_full_disk(shell):
    done = shell(f'{sys.executable} -c "{PRINTS}" > /dev/full')
    _one_line(done, "space")
    assert "Exception ignored" not in done.stderr


def test_a_home_directory_that_cannot_be_written(shell):
    _one_line(shell('"$ECA" summary ECA_ResNet18', HOME="/dev/null"), "HOME")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def test_an_ascii_locale(shell, tmp_path):
    config = {
        "Global": {"device": "cpu", "output_dir": "caf\xe9", "image_shape": [3, 8, 8]},
        "Arch": {"name": "ECA_ResNet18"},
        "DataLoader": {"Eval": {}},
    }
    text = yaml.safe_dump(config, allow_unicode=True)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    _one_line(shell('"$ECA" export_model -c config.yaml', **ASCII), "PYTHONUTF8=1")
