"""Run the tests with other versions of PaddleClas, Paddle and Python.

Each cell of the matrix has a virtual environment of its own, made with uv from the `test`
requirements, and runs the tests that depend on versions. A cell that fails does not end the run;
its log says why. Results stay until their cell is run again. The table of all results is printed
at the end, in the format of docs/evidence/compatibility.md.

    python maintenance/matrix.py                                       every cell
    python maintenance/matrix.py --paddle 3.0.0 --python 3.11 3.12     a few cells
    python maintenance/matrix.py --release-2.5 PATH --develop PATH     source checkouts as well
    python maintenance/matrix.py --table                               only the table

Needs no packages; where uv is missing it installs it for itself with pip.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".cache" / "matrix"

WHEEL = "2.4.2"
CHECKOUTS = ("release/2.5", "develop")
PADDLECLAS = (WHEEL, *CHECKOUTS)
PADDLE = ("3.3.1", "3.2.2", "3.1.1", "3.0.0", "2.6.2")
PYTHON = ("3.11", "3.9", "3.10", "3.12", "3.13")
# The other packages: the newest ones, or the oldest that requirements/ allows.
PACKAGES = {"newest": "highest", "oldest": "lowest-direct"}

# Everything that depends on versions of PaddleClas and Paddle, the layer, and each tool once, as
# users run it: two to four minutes. Slow tests and those of other code are left out.
TESTS = (
    "tests/attention",
    "tests/hosts",
    "tests/product/test_tools.py::test_train_learns_and_leaves_checkpoints",
    "tests/product/test_tools.py::test_train_with_two_processes",
    "tests/product/test_interrupted_runs.py::test_a_stopped_run_resumes_exactly",
    "tests/product/test_tools.py::test_eval_gives_the_accuracy_that_training_saw",
    "tests/product/test_tools.py::test_infer_names_the_classes_of_the_shipped_images",
    "tests/product/test_tools.py::test_export_gives_the_model_with_softmax",
)

# One process per core, as in tools/test.sh.
WORKERS = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")

# pip's settings, which uv does not read, and uv's for the same.
SETTINGS = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
# Seconds that a step of installing may take: what takes longer hangs.
LONGEST_INSTALL = 900
# With less free disk a cell does not start. An environment takes 1.3 GB, or next to nothing where
# it can share the files of uv's cache.
LEAST_DISK = 4 * 2**30


class NotRunError(Exception):
    """The tests of a cell could not start; the message says why."""


class Cell(NamedTuple):
    """One combination of versions."""

    paddleclas: str
    paddle: str
    python: str
    packages: str = "newest"

    @property
    def name(self) -> str:
        """Name of its directory."""
        paddleclas = self.paddleclas.replace("/", "-")
        return f"paddle-{self.paddle}_py{self.python}_{paddleclas}_{self.packages}"


class Result(NamedTuple):
    """The result of a cell.

    Attributes:
        status: ``passed``, ``failed``, ``ended early`` (time or a crash), or ``not run``.
        passed, failed, skipped: numbers of tests.
        seconds: of the tests alone.
        date: of the run.
        note: the reason, if there is one.
    """

    status: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: int = 0
    date: str = ""
    note: str = ""


def main(words: list[str] | None = None) -> int:
    """Run the chosen cells; 0 when one passed and none failed."""
    options = parse(words)
    if not options.table:
        results = [run_cell(cell, options) for cell in cells(options)]
    print(f"\n{machine()}\n\n{table(stored_results())}")
    if options.table:
        return 0
    statuses = {result.status for result in results}
    allowed = {"passed"} if options.strict else {"passed", "not run"}
    return 0 if "passed" in statuses and statuses <= allowed else 1


def parse(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, versions in (("paddleclas", PADDLECLAS), ("paddle", PADDLE), ("python", PYTHON)):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            default=versions,
            choices=versions if name == "paddleclas" else None,
            metavar="VERSION",
            help=f"those to test; default: {' '.join(versions)}",
        )
    parser.add_argument(
        "--packages",
        nargs="+",
        default=["newest"],
        choices=PACKAGES,
        help="take the newest of all other packages (default) or the oldest that are allowed",
    )
    for name in CHECKOUTS:
        parser.add_argument(
            f"--{name.replace('/', '-')}",
            dest=name,
            type=Path,
            metavar="PATH",
            help=f"source checkout of PaddleClas {name}; without it these cells are not run",
        )
    parser.add_argument("--tests", nargs="+", default=TESTS, help="what pytest runs")
    parser.add_argument("--timeout", type=float, default=20, help="minutes per cell; default 20")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    parser.add_argument("--strict", action="store_true", help="fail if a cell was not run")
    parser.add_argument("--table", action="store_true", help="only print the table of results")
    return parser.parse_args(words)


def cells(options: argparse.Namespace) -> list[Cell]:
    """The cells to run."""
    versions = itertools.product(
        options.packages, options.python, options.paddle, options.paddleclas
    )
    return [Cell(*reversed(chosen)) for chosen in versions]


def run_cell(cell: Cell, options: argparse.Namespace) -> Result:
    """Make the environment of a cell, run its tests, and store and print the result."""
    folder = FOLDER / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{cell.name}: ", end="", flush=True)
    try:
        checkout = checkout_of(cell, options)
        with (folder / "log").open("w", encoding="utf-8") as log:
            python = make_environment(cell, folder / "venv", log)
            result = run_tests(python, checkout, folder, log, options)
    except NotRunError as error:
        result = Result("not run", date=today(), note=str(error))
    finally:
        if not options.keep:
            shutil.rmtree(folder / "venv", ignore_errors=True)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
    stored = {"cell": cell._asdict(), "result": result._asdict()}
    (folder / "result.json").write_text(json.dumps(stored, indent=2), encoding="utf-8")
    print(f"{result.status}. {result.note}", flush=True)
    if result.status in ("failed", "ended early"):
        text = (folder / "log").read_text(encoding="utf-8", errors="replace")
        print(*text.splitlines()[-40:], f"All of it: {folder / 'log'}", sep="\n", flush=True)
    return result


def checkout_of(cell: Cell, options: argparse.Namespace) -> Path | None:
    """The checkout of a cell; None for the wheel."""
    if cell.paddleclas == WHEEL:
        return None
    path = getattr(options, cell.paddleclas)
    if path is None:
        raise NotRunError("no checkout given")
    if not (path / "ppcls").is_dir():
        raise NotRunError(f"{path} is not a checkout of PaddleClas")
    return path.resolve()


def make_environment(cell: Cell, folder: Path, log) -> Path:
    """Make a virtual environment and return its Python."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(FOLDER).free < LEAST_DISK:
        raise NotRunError(f"less than {LEAST_DISK >> 30} GiB of disk left")
    python = new_environment(folder, cell.python, log)
    # They replace the pins of PaddleClas's wheel, and our lower bound of Paddle, since older
    # versions are tried as well.
    overrides = folder / "overrides.txt"
    pins = (REPOSITORY / "requirements" / "uv-override.txt").read_text(encoding="utf-8")
    overrides.write_text(f"{pins}paddlepaddle=={cell.paddle}\n", encoding="utf-8")
    wheel = [f"paddleclas=={WHEEL}"] if cell.paddleclas == WHEEL else []
    options = ["--resolution", PACKAGES[cell.packages], "--override", overrides]
    install(python, log, *options, "-e", f"{REPOSITORY}[test]", *wheel)
    return python


def new_environment(folder: Path, version: str, log) -> Path:
    """Make an empty virtual environment for a version of Python, and return its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        call(log, "no interpreter", find_uv(), "venv", "--python", find_python(version), folder)
    return python


def install(python: Path, log, *words: str | Path) -> None:
    """Install packages into the environment of an interpreter, as ``uv pip install`` takes them."""
    call(log, "not installable", find_uv(), "pip", "install", "--python", python, *words)


def find_uv() -> Path:
    """The user's uv, or one that is installed for this script only."""
    found = shutil.which("uv")
    if found:
        return Path(found)
    uv = FOLDER / "uv" / "bin" / "uv"
    if not uv.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        installed = subprocess.run(
            [*pip, "--target", FOLDER / "uv", "uv"], capture_output=True, text=True
        )
        if installed.returncode:
            raise NotRunError(f"no uv, and pip cannot install it: {last_line(installed.stderr)}")
    return uv


def find_python(version: str) -> str:
    """An interpreter of this version, or its number for uv to find or to install.

    Candidates are the one that runs this script, those on the path, and those of pyenv.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pythons = (sys.executable, f"python{version}", *pyenv.glob(f"{version}.*/bin/python"))
    for python in pythons:
        # Some commands of pyenv only print that the version is not chosen.
        with contextlib.suppress(OSError):
            code = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
            found = subprocess.run([python, "-c", code], capture_output=True, text=True)
            its_version, _, path = found.stdout.strip().partition(" ")
            if its_version == version:
                return path
    return version


def call(log, problem: str, *command: str | Path) -> None:
    """Run a command of uv, its output into the log; NotRunError with its last line if it fails."""
    environment = {**os.environ}
    for of_pip, of_uv in SETTINGS.items():
        if of_pip in os.environ:
            environment.setdefault(of_uv, os.environ[of_pip])
    words = list(map(str, command))
    try:
        finished = subprocess.run(
            words,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_INSTALL,
        )
    except subprocess.TimeoutExpired as error:
        raise NotRunError(f"{problem}: took more than {LONGEST_INSTALL} seconds") from error
    log.write(f"$ {' '.join(words)}\n{finished.stdout}")
    log.flush()
    if finished.returncode:
        raise NotRunError(f"{problem}: {last_line(finished.stdout)}")


def last_line(output: str) -> str:
    """The last line of a command's output, without the frame that uv draws."""
    lines = [line.strip(" ╰─▶│×").replace("hint: ", "") for line in output.splitlines()]
    return next(filter(None, reversed(lines)), "it printed nothing").replace("|", "/")


def run_tests(python: Path, checkout: Path | None, folder: Path, log, options) -> Result:
    """Run the tests in an environment and count them."""
    environment = {**os.environ, "VIRTUAL_ENV": str(folder / "venv")}
    for name in ("PADDLECLAS_ROOT", "PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    if checkout:
        environment["PADDLECLAS_ROOT"] = str(checkout)
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    begin = time.monotonic()
    process = subprocess.Popen(
        [python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *WORKERS]
        + [f"--basetemp={folder / 'tmp'}", "--disable-warnings", *options.tests],
        cwd=REPOSITORY,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(options.timeout * 60)
        ending = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        ending = f"took more than {options.timeout:g} minutes"
    finally:
        # All of its processes, including those that a test left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    seconds = round(time.monotonic() - begin)
    try:
        return Result(**read_report(report), seconds=seconds, date=today())
    except (FileNotFoundError, ElementTree.ParseError):
        return Result("ended early", seconds=seconds, date=today(), note=ending)


def read_report(report: Path) -> dict:
    """Status, counts and the names of what failed, from pytest's report."""
    tests = list(ElementTree.parse(report).getroot().iter("testcase"))
    kinds = [{child.tag for child in test} & {"failure", "error", "skipped"} for test in tests]
    bad = [test.get("name", "") for test, kind in zip(tests, kinds) if kind & {"failure", "error"}]
    # Parameters may be long; the log has them.
    names = sorted({name.partition("[")[0] for name in bad})
    passed = kinds.count(set())
    return {
        "status": "failed" if bad or not passed else "passed",
        "passed": passed,
        "failed": len(bad),
        "skipped": kinds.count({"skipped"}),
        "note": ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else ""),
    }


def stored_results() -> list[tuple[Cell, Result]]:
    """All stored results, newest versions first."""
    stored = [json.loads(file.read_text("utf-8")) for file in FOLDER.glob("*/result.json")]
    results = [(Cell(**entry["cell"]), Result(**entry["result"])) for entry in stored]

    def order(entry: tuple[Cell, Result]) -> tuple:
        cell = entry[0]
        numbers = [tuple(-int(n) for n in v.split(".")) for v in (cell.paddle, cell.python)]
        return (*numbers, cell.packages, PADDLECLAS.index(cell.paddleclas))

    return sorted(results, key=order)


def table(results: Iterable[tuple[Cell, Result]]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| Paddle | Python | packages | PaddleClas | result "
        "| passed | failed | skipped | seconds | date |",
        "|---|---|---|---|---|--:|--:|--:|--:|---|",
    ]
    for cell, result in results:
        counts = (result.passed, result.failed, result.skipped, result.seconds)
        if not any(counts):
            counts = ("",) * 4
        note = f": {result.note}" if result.note else ""
        versions = (cell.paddle, cell.python, cell.packages, cell.paddleclas)
        columns = (*versions, result.status + note, *counts, result.date)
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def machine() -> str:
    """The machine, in a line."""
    libc = " ".join(platform.libc_ver())
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, {libc}"


def today() -> str:
    """The date of today."""
    return datetime.date.today().isoformat()


if __name__ == "__main__":
    sys.exit(main())
