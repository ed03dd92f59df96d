"""The CPU is tuned before Paddle is imported, and the user's settings come first."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from paddleclas_eca import runtime
from paddleclas_eca.errors import UserError

_VARIABLES = (runtime.THREADS, *runtime.ONEDNN_FLAGS)
_MALLOC = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")


@pytest.fixture
def report(repository, tmp_path):
    """Run a script in a new process; returns the JSON of the line that begins with REPORT."""

    def run(script, *launcher, **settings):
        env = {k: v for k, v in os.environ.items() if k not in (*_VARIABLES, *_MALLOC)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(repository), env.get("PYTHONPATH")]))
        (tmp_path / "report.py").write_text(script)
        words = [sys.executable, *launcher, str(tmp_path / "report.py")]
        done = subprocess.run(
            words, cwd=tmp_path, env={**env, **settings}, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        logs = [file.read_text() for file in sorted((tmp_path / "log").glob("workerlog.*"))]
        lines = "\n".join([done.stdout, *logs]).splitlines()
        return json.loads(next(line for line in lines if line.startswith("REPORT"))[6:])

    return run


TUNED = """
import json, os
from paddleclas_eca.runtime import tune_cpu
tuned = tune_cpu()
import joblib, paddle
print("REPORT" + json.dumps([joblib.cpu_count(), tuned, os.environ["OMP_NUM_THREADS"], tune_cpu()]))
"""


def test_all_cores_and_onednn_until_paddle_is_imported(report):
    cores, tuned, threads, too_late = report(TUNED)
    assert tuned == {"OMP_NUM_THREADS": str(cores), "FLAGS_use_mkldnn": "1"}
    assert threads == str(cores) and too_late == {}


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"OMP_NUM_THREADS": "3"}])
def test_processes_of_the_launcher_share_the_cores(report, given):
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log"]
    cores, _, threads, _ = report(TUNED, *launcher, **given)
    assert threads == given.get("OMP_NUM_THREADS", str(max(1, cores // 2)))


@pytest.fixture
def tuned(monkeypatch):
    """Tune a process with this environment; returns its environment then."""

    def tune(tune, *args, **environment):
        # This process stays as it is.
        monkeypatch.setattr(runtime, "keep_freed_memory", lambda: False)
        monkeypatch.delitem(sys.modules, "paddle", raising=False)
        monkeypatch.setattr(runtime.os, "environ", environment)
        tune(*args)
        return environment

    return tune


@pytest.mark.parametrize("flag", runtime.ONEDNN_FLAGS)
def test_settings_of_the_user_are_kept(tuned, flag):
    given = {"OMP_NUM_THREADS": "3", flag: "0"}
    assert tuned(runtime.tune_cpu, **given) == given


def test_more_processes_than_cores(tuned):
    assert tuned(runtime.tune_cpu, PADDLE_LOCAL_SIZE="1000")["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"device": "cpu"}, {"OMP_NUM_THREADS", "FLAGS_use_mkldnn"}),
        # It crashes with oneDNN.
        ({"device": "cpu", "to_static": True}, {"OMP_NUM_THREADS"}),
        ({"device": "gpu"}, set()),
        ({}, set()),
    ],
)
def test_the_section_global_decides(tuned, settings, names):
    assert set(tuned(runtime.tune, settings)) == names


def test_devices():
    runtime.check_device("cpu")
    with pytest.raises(UserError, match="Global.device: toaster cannot be used: .*=cpu"):
        runtime.check_device("toaster")


# Page faults while a block of 200 MB is filled after one like it was freed; and the memory that a
# forked process holds then, in blocks.
MEMORY = """
import os, resource
from pathlib import Path
from paddleclas_eca.runtime import keep_freed_memory

SIZE = 200 * 2**20
kept = keep_freed_memory()
for again in (False, True):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * SIZE
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del block
print("REPORT[%s, %d, " % (str(kept).lower(), faults), end="", flush=True)
if os.fork() == 0:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    print("%.3f]" % (resident * os.sysconf("SC_PAGE_SIZE") / SIZE), flush=True)
    os._exit(0)
os.wait()
"""


@needs_glibc
@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}, False),
    ],
)
def test_freed_memory_is_kept_unless_the_user_has_set_otherwise(report, environment, kept):
    was_kept, faults, held_by_child = report(MEMORY, **environment)
    assert was_kept is kept
    # 51,200 pages of 4 KiB, or fewer where the system gives out larger ones.
    assert faults < 100 if kept else faults >= 100
    assert held_by_child < 0.9
