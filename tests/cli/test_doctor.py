"""``paddleclas-eca doctor`` says first whether models can be trained here."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest


@pytest.fixture
def doctor(run_python, tmp_path):
    """Run the command; returns what it prints, by lines."""

    def run(*options, fails=False, **environment):
        script = Path(sysconfig.get_path("scripts")) / "paddleclas-eca"
        done = run_python(script, "doctor", *options, cwd=tmp_path, env=environment, fails=fails)
        assert "Traceback" not in done.stderr
        return done.stdout.splitlines()

    return run


def test_ready(doctor):
    verdict, *details = doctor("--verbose", OMP_NUM_THREADS="1")
    assert verdict.startswith("ready: ") and "PaddleClas" in verdict and "Python" in verdict
    assert "environment: OMP_NUM_THREADS=1" in details
    for name in ("devices: cpu", "PaddleClas: ", "packages: paddleclas_eca ", "patch: "):
        assert any(line.startswith(name) for line in details)


def test_without_paddle(doctor, tmp_path):
    (tmp_path / "paddle.py").write_text("raise ImportError('libgomp.so.1: cannot open')")
    verdict, *details = doctor(fails=True, PYTHONPATH=str(tmp_path))
    assert verdict.startswith("not ready: ") and "libgomp.so.1" in verdict
    assert not any(line.startswith(("environment", "patch")) for line in details)


def test_a_paddleclas_without_trainer(doctor, tmp_path):
    """As the wheels 2.4.3 to 2.6.0 are."""
    folder = tmp_path / "paddleclas" / "ppcls"
    for part in ("arch", "utils"):
        (folder / part).mkdir(parents=True)
        (folder / part / "__init__.py").touch()
    (tmp_path / "paddleclas" / "__init__.py").write_text("raise ImportError('not to be run')")
    verdict, *how = doctor(fails=True, PYTHONPATH=str(tmp_path), PADDLECLAS_ROOT="")
    assert verdict.startswith("not ready: ") and "has no trainer" in verdict
    assert str(folder) in verdict
    assert any("pip install --no-deps paddleclas==2.4.2" in line for line in how)
    assert any("export PADDLECLAS_ROOT=" in line for line in how)
