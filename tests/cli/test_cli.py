"""The command line beside the tools: scripts, messages, and what an import costs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import paddleclas_eca
from paddleclas_eca import cli
from paddleclas_eca.cli.script import run_script
from paddleclas_eca.errors import UserError

# What the tools write into the repository by default.
OUTPUTS = ("dataset", "output", "inference", "log")


def test_import_is_light(run_python, tmp_path):
    code = (
        "import sys, paddleclas_eca; "
        "loaded = {'paddle', 'ppcls', 'paddleclas', 'cv2', 'numpy', 'sklearn'} & set(sys.modules); "
        "assert not loaded, loaded; "
        "assert 'ECALayer' in dir(paddleclas_eca)"
    )
    run_python("-c", code, cwd=tmp_path)


@pytest.mark.parametrize("name", paddleclas_eca.__all__)
def test_public_names_are_there(name):
    assert getattr(paddleclas_eca, name) is not None


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'ECALayers'"):
        paddleclas_eca.ECALayers  # noqa: B018


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as finished:
        cli.main(["--help"])
    assert finished.value.code == 0
    printed = capsys.readouterr().out
    listed = re.findall(r"^    (\w+)", printed, re.MULTILINE)
    assert listed == list(cli.COMMANDS)
    assert len(set(listed)) == len(listed) and {"train", "eval", "doctor"} < set(listed)


def test_mistakes_are_printed_without_a_traceback(capsys, tmp_path):
    assert cli.main(["prepare", "imagenet", str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {tmp_path / 'nowhere'} ")
    assert "Traceback" not in captured.err


def test_other_errors_keep_their_traceback():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.report_errors(fail)


SCRIPT = """
import sys
from ppcls.arch import build_model
from ppcls.utils import config

if __name__ == "__main__":
    options = config.parse_args()
    model = build_model(config.get_config(options.config, overrides=options.override))
    print(sys.argv[0], type(model).__name__, model.class_num)
"""


def test_script_of_paddleclas_knows_the_models(run_python, tmp_path):
    (tmp_path / "build.py").write_text(SCRIPT)
    for options in (
        ["-c", "digits/ECA_ResNet18", "-o", "Arch.class_num=7"],
        ["--override=Arch.class_num=7", "--config=digits/ECA_ResNet18"],
    ):
        finished = run_python("-m", "paddleclas_eca", "build.py", *options, cwd=tmp_path)
        assert "build.py ECAResNet 7" in finished.stdout


def test_script_that_fails_on_an_unknown_model_says_so_in_a_line(run_python, tmp_path):
    script = SCRIPT.replace("ppcls.arch import build_model", "ppcls.engine.engine import Engine")
    (tmp_path / "build.py").write_text(script.replace("build_model(", "Engine("))
    words = ["-m", "paddleclas_eca", "build.py", "-c", "digits/ECA_ResNet18"]
    finished = run_python(*words, "-o", "Arch.name=ECA_ResNet5O", cwd=tmp_path, fails=True)
    # There are no digits here, which is reported, too.
    (told,) = (line for line in finished.stderr.splitlines() if line.startswith("error: Arch."))
    assert told.startswith("error: Arch.name: ") and "Did you mean ECA_ResNet50" in told
    assert "Traceback" not in finished.stderr


@pytest.mark.skipif("PADDLECLAS_ROOT" not in os.environ, reason="needs a PaddleClas checkout")
def test_train_script_of_a_checkout(run_python, tmp_path, digits):
    checkout = Path(os.environ["PADDLECLAS_ROOT"])
    overrides = [
        f"DataLoader.{part}.dataset.{key}={digits / value}"
        for part in ("Train", "Eval")
        for key, value in (("image_root", "."), ("cls_label_path", "val_32.txt"))
    ]
    options = [word for override in [*overrides, "Global.epochs=1"] for word in ("-o", override)]
    words = ["-m", "paddleclas_eca", checkout / "tools/train.py", "-c", "digits/ECA_ResNet18"]
    finished = run_python(*words, *options, cwd=tmp_path)
    assert "[Eval][Epoch 1][Avg]" in finished.stdout


def test_missing_script_is_named():
    with pytest.raises(UserError, match="no script nowhere/train.py"):
        run_script(["nowhere/train.py"])


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--help"], 0)])
def test_usage(capsys, words, code):
    assert run_script(words) == code
    assert "python -m paddleclas_eca SCRIPT" in capsys.readouterr().out


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools puts what an earlier build left in the directory into the wheel.
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", *OUTPUTS)
    shutil.copytree(repository, source, ignore=ignored)
    # By way of the source distribution, which must be enough to build from.
    words = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", folder]
    subprocess.run(words, check=True, capture_output=True, cwd=source)
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder]
    sdist = next(folder.glob("*.tar.gz"))
    subprocess.run([*words, sdist], check=True, capture_output=True, cwd=folder)
    return next(folder.glob("*.whl"))


def test_wheel_holds_code_and_configs_and_nothing_else(wheel, repository):
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    assert all(name.startswith("paddleclas_eca/") for name in names)
    configs = {
        f"paddleclas_eca/ppcls_configs/{p.relative_to(repository / 'ppcls_configs').as_posix()}"
        for p in (repository / "ppcls_configs").rglob("*")
        if p.is_file()
    }
    code = {
        p.relative_to(repository).as_posix() for p in (repository / "paddleclas_eca").rglob("*.py")
    }
    assert set(names) == configs | code


def test_unpacked_wheel_exports_from_anywhere(wheel, tmp_path, run_python):
    site, work = tmp_path / "site", tmp_path / "work"
    zipfile.ZipFile(wheel).extractall(site)
    work.mkdir()
    code = "import sys; from paddleclas_eca.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["export_model", "-c", "digits/ECA_ResNet18"]
    run_python("-c", code, *words, cwd=work, env={"PYTHONPATH": str(site)})
    assert (work / "inference" / "digits" / "inference.pdiparams").is_file()


def test_commands_run_as_a_module(run_python, tmp_path):
    finished = run_python("-m", "paddleclas_eca", "summary", "--help", cwd=tmp_path)
    assert "paddleclas-eca summary" in finished.stdout
