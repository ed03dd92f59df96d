"""The CPU is tuned before Paddle is imported, the user's choice first."""

from __future__ import annotations

import json
import platform
import sys

import pytest

from paddleclas_eca import runtime
from paddleclas_eca.errors import UserError

REPORT = """
import json, os
from paddleclas_eca.runtime import tune_cpu
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


@pytest.fixture
def own_memory_as_it_is(monkeypatch):
    """The tests' own process does not keep what it frees."""
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: False)


def test_more_processes_than_cores(monkeypatch, own_memory_as_it_is):
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
def test_only_the_cpu_is_tuned_and_static_graphs_go_without_onednn(
    monkeypatch, own_memory_as_it_is, settings, names
):
    monkeypatch.delitem(sys.modules, "paddle", raising=False)
    monkeypatch.setattr(runtime.os, "environ", {})
    runtime.tune(settings)
    assert set(runtime.os.environ) == names


def test_devices():
    runtime.check_device("cpu")
    with pytest.raises(UserError, match="Global.device: toaster cannot be used: .*=cpu"):
        runtime.check_device("toaster")


# Page faults while a block of 200 MB is filled whose like was freed before.
FAULTS = """
import resource
from paddleclas_eca.runtime import keep_freed_memory
kept = keep_freed_memory()
for again in (False, True):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * (200 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del block
print("REPORT[%s, %d]" % (str(kept).lower(), faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}, False),
    ],
)
def test_freed_memory_is_kept_unless_the_user_says_how(run_python, environment, kept):
    unset = dict.fromkeys((*runtime._MALLOC_SETTINGS, "GLIBC_TUNABLES"))
    done = run_python("-c", FAULTS, **{**unset, **environment})
    assert done.returncode == 0, done.stderr
    reported, faults = _read(done.stdout)
    assert reported is kept
    # 51,200 pages of 4 KiB, or fewer where the system gives out larger ones.
    assert faults < 100 if kept else faults >= 100


CHILD = """
import os
from pathlib import Path
from paddleclas_eca.runtime import keep_freed_memory
assert keep_freed_memory()
block = bytearray(b"x") * (500 * 2**20)
del block
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
print("REPORT[%d, " % resident(), end="", flush=True)
if os.fork() == 0:
    print("%d]" % resident(), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_processes_of_a_loader_do_not_hold_what_was_freed(run_python):
    unset = dict.fromkeys((*runtime._MALLOC_SETTINGS, "GLIBC_TUNABLES"))
    done = run_python("-c", CHILD, **unset)
    assert done.returncode == 0, done.stderr
    parent, child = _read(done.stdout)
    assert parent > 500 * 2**20 and child < 200 * 2**20
