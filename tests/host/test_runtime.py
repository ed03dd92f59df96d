"""Threads and oneDNN are set for a CPU before Paddle is imported, the user's choice first."""

from __future__ import annotations

import json
import sys

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.host import runtime

REPORT = """
import json, os
from paddleclas_eca.host.runtime import tune_cpu
{before}
tuned = tune_cpu()
import joblib, paddle
names = ("OMP_NUM_THREADS", "FLAGS_use_mkldnn", "FLAGS_use_onednn")
print("REPORT" + json.dumps([joblib.cpu_count(), tuned, {{n: os.environ.get(n) for n in names}}]))
"""

UNSET = dict.fromkeys(("OMP_NUM_THREADS", "FLAGS_use_mkldnn", "FLAGS_use_onednn"))


def _read(output):
    (line,) = (line for line in output.splitlines() if line.startswith("REPORT"))
    return json.loads(line[len("REPORT") :])


@pytest.fixture
def tuned(run_python):
    """(cores, what was set, environment) of a process that tunes the CPU."""

    def report(before="", **environment):
        done = run_python("-c", REPORT.format(before=before), **{**UNSET, **environment})
        assert done.returncode == 0, done.stderr
        return _read(done.stdout)

    return report


def test_all_cores_and_onednn(tuned):
    cores, changed, env = tuned()
    assert changed == {"OMP_NUM_THREADS": str(cores), "FLAGS_use_mkldnn": "1"}
    assert env["OMP_NUM_THREADS"] == str(cores)


@pytest.mark.parametrize("flag", runtime.ONEDNN_FLAGS)
def test_what_the_user_has_set_is_kept(tuned, flag):
    _, changed, env = tuned(OMP_NUM_THREADS=3, **{flag: 0})
    assert changed == {}
    assert env["OMP_NUM_THREADS"] == "3" and env[flag] == "0"


def test_too_late_once_paddle_is_imported(tuned):
    assert tuned(before="import paddle")[1] == {}


@pytest.mark.slow
@pytest.mark.parametrize("users", [None, 3])
def test_cores_are_shared_out_under_the_launcher(run_two_ranks, tmp_path, users):
    script = tmp_path / "report.py"
    script.write_text(REPORT.format(before=""))
    log = run_two_ranks(script, **{**UNSET, "OMP_NUM_THREADS": users})
    cores, _, env = _read(log)
    assert env["OMP_NUM_THREADS"] == str(users or max(1, cores // 2))


def test_more_processes_than_cores(monkeypatch):
    monkeypatch.delitem(sys.modules, "paddle", raising=False)
    monkeypatch.setattr(runtime.os, "environ", {"PADDLE_LOCAL_SIZE": "1000"})
    assert runtime.tune_cpu()["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"device": "cpu"}, {"OMP_NUM_THREADS", "FLAGS_use_mkldnn"}),
        ({"device": "cpu", "to_static": True}, {"OMP_NUM_THREADS"}),
        ({"device": "gpu"}, set()),
        ({}, set()),
    ],
)
def test_only_the_cpu_is_tuned_and_static_graphs_go_without_onednn(monkeypatch, settings, names):
    monkeypatch.delitem(sys.modules, "paddle", raising=False)
    monkeypatch.setattr(runtime.os, "environ", {})
    runtime.tune(settings)
    assert set(runtime.os.environ) == names


def test_devices():
    runtime.check_device("cpu")
    with pytest.raises(UserError, match="Global.device: toaster cannot be used: .*=cpu"):
        runtime.check_device("toaster")
