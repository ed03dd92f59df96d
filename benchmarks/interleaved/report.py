"""Reports of measurements: Markdown to read, JSON to compute with, and a bar chart."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from paddleclas_eca.errors import UserError
from paddleclas_eca.files import write_files
from paddleclas_eca.visualize.style import PALETTE, new_figure, save

from .candidates import MODES
from .measure import Comparison, Result

NAME = "benchmark"


def machine() -> dict[str, str]:
    """What the measurements were made on: processor, cores, memory, system, Python."""
    from joblib import cpu_count

    found = {
        "processor": _processor(),
        "cores": str(cpu_count()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{memory / 2**30:.0f} GiB"
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def title(comparison: Comparison) -> str:
    """What a comparison is about, in a line."""
    case = comparison.case
    device = case.device if case.precision == "fp32" else f"{case.device}, {case.precision}"
    layout = "" if case.layout == "NCHW" else f", {case.layout}"
    return f"{MODES[case.mode]}, batch {case.batch_size} ({device}{layout})"


def _row(result: Result, comparison: Comparison) -> str:
    label = result.label.replace("|", "\\|")
    if result.error is not None:
        return f"| {label} | cannot run | | |"
    memory = f"{result.peak_bytes / 2**20:.0f}" if result.peak_bytes else "–"
    rate = result.images_per_second(comparison.case.batch_size)
    ratio = result.speed_against(comparison.results[0])
    return (
        f"| {label} | {rate.median:.1f} | {ratio.median:.3f} "
        f"({ratio.lower:.3f} to {ratio.upper:.3f}) | {memory} |"
    )


def as_markdown(comparisons: Sequence[Comparison], about: dict[str, str]) -> str:
    """Tables of all comparisons: throughput, ratio to the first candidate, peak memory."""
    lines = [", ".join(f"{key} {value}" for key, value in about.items()), ""]
    for comparison in comparisons:
        measured = [result for result in comparison.results if result.error is None]
        software = {item for result in measured for item in result.software.items()}
        threads = sorted({str(result.threads) for result in measured})
        lines += [
            f"**{title(comparison)}**: {len(measured[0].seconds)} rounds, "
            f"{comparison.case.image_size}x{comparison.case.image_size} pixels, "
            f"{'/'.join(threads)} CPU threads, "
            f"{', '.join(' '.join(item) for item in sorted(software))}",
            "",
            f"| network | images/s | speed / {measured[0].label}: median (quartiles) "
            f"| peak memory, MiB |",
            "|---|---|---|---|",
            *(_row(result, comparison) for result in comparison.results),
            "",
        ]
        failed = [result for result in comparison.results if result.error is not None]
        for result in failed:
            lines += [f"{result.label} cannot run: {result.error}", ""]
    return "\n".join(lines).rstrip() + "\n"


def draw(comparisons: Sequence[Comparison], path: Path) -> list[Path]:
    """Draw the ratios to the first candidate as bars, with their quartiles.

    Args:
        comparisons: one or more.
        path: of the chart, see :func:`paddleclas_eca.visualize.style.save`.

    Returns:
        The files that were written.
    """
    bars = max(len(comparison.results) for comparison in comparisons)
    height = 0.5 + len(comparisons) * (0.55 + 0.24 * bars)
    figure, axes = new_figure(len(comparisons), 1, (8.0, height), sharex=True)
    for ax, comparison in zip(axes[:, 0], comparisons):
        measured = [result for result in comparison.results if result.error is None]
        ratios = [result.speed_against(measured[0]) for result in measured]
        rows = range(len(measured))
        errors = [
            [ratio.median - ratio.lower for ratio in ratios],
            [ratio.upper - ratio.median for ratio in ratios],
        ]
        ax.barh(
            rows,
            [ratio.median for ratio in ratios],
            xerr=errors,
            color=["#999999", *([PALETTE[0]] * (len(measured) - 1))],
            error_kw={"elinewidth": 1.0, "capsize": 2.0},
        )
        for row, ratio in zip(rows, ratios):
            ax.annotate(
                f"{ratio.median:.2f}",
                (ratio.upper, row),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        ax.axvline(1.0, color="#555555", linewidth=0.8)
        ax.set_yticks(list(rows), [result.label for result in measured])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set_title(title(comparison), loc="left")
    axes[-1, 0].set_xlabel(f"speed / {comparisons[0].results[0].label} (median, quartiles)")
    return save(figure, path)


def make_directory(directory: Path) -> None:
    """Make the directory of a report.

    Raises:
        UserError: it cannot be written, or has the report of another run.
    """
    if (directory / f"{NAME}.json").exists():
        raise UserError(
            f"--output: {directory} has the report of another run; give another directory"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UserError(f"--output: {directory}: {error.strerror or error}") from error


def write(comparisons: Sequence[Comparison], about: dict[str, str], directory: Path) -> list[Path]:
    """Write ``benchmark.md``, ``.json``, ``.png`` and ``.svg``, all measured seconds in the JSON.

    Returns:
        The files.

    Raises:
        UserError: they cannot be written.
    """
    data = {"machine": about, "comparisons": [asdict(comparison) for comparison in comparisons]}
    texts = {
        directory / f"{NAME}.md": as_markdown(comparisons, about),
        directory / f"{NAME}.json": json.dumps(data, indent=1) + "\n",
    }
    write_files(texts)
    return [*texts, *draw(comparisons, directory / NAME)]
