"""The check before ``train``, and ``check`` as a program."""

from __future__ import annotations

import pytest

DIGITS = "digits/ECA_ResNet18"
WRONG = ["Global.epochs=ten", "Optimizer.momentun=0.9", "Global.epoch=3"]


def _errors(output):
    assert "Traceback" not in output
    return [line.split(": ")[1] for line in output.splitlines() if line.startswith("error: ")]


def test_train_reports_all_errors_and_builds_nothing(tmp_path, run_tool, short_digits):
    finished = run_tool("train", DIGITS, [*short_digits, *WRONG], cwd=tmp_path, fails=True)
    assert finished.returncode == 1
    assert _errors(finished.stderr)[1:] == ["Global.epochs", "Optimizer.momentun"]
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_two_processes_end_together(tmp_path, run_tool, short_digits):
    overrides = [*short_digits, "Optimizer.momentun=0.9", "Global.pretrained_model=no"]
    finished = run_tool("train", DIGITS, overrides, processes=2, cwd=tmp_path, fails=True)
    assert finished.returncode == 1
    first, other = ((tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1))
    assert "2 errors before the run" in first
    # The launcher may end this one first, and Paddle then writes a C++ traceback.
    assert "Optimizer.momentun: " not in other and "\nTraceback" not in f"\n{other}"


def test_paddleclas_script_has_it_too(tmp_path, run_python, short_digits):
    script = tmp_path / "train.py"
    script.write_text(
        "from ppcls.utils import config\nfrom ppcls.engine.engine import Engine\n"
        "args = config.parse_args()\n"
        "config = config.get_config(args.config, overrides=args.override, show=False)\n"
        "Engine(config, mode='train').train()\n"
    )
    options = [word for override in [*short_digits, "Global.epochs=0"] for word in ("-o", override)]
    words = ["-m", "paddleclas_eca", script, "-c", DIGITS, *options]
    finished = run_python(*words, "-o", "Global.output_dir=/proc/no", cwd=tmp_path, fails=True)
    assert finished.returncode == 1
    assert _errors(finished.stderr)[-2:] == ["Global.epochs", "Global.output_dir"]


def test_check_as_a_program(tmp_path, run_python, short_digits):
    program = "import sys; from paddleclas_eca.cli import main; sys.exit(main(sys.argv[1:]))"
    options = [word for override in [*short_digits, *WRONG] for word in ("-o", override)]
    words = ["-c", program, "check", "-c", DIGITS, *options]
    finished = run_python(*words, cwd=tmp_path, fails=True)
    assert finished.returncode == 1
    assert _errors(finished.stdout) == ["Global.epochs", "Optimizer.momentun"]
    assert finished.stdout.splitlines()[-1].endswith(": 2 errors, 1 warning")
