"""What the figures of training runs show, against the logs they are drawn from."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paddleclas_eca.errors import UserError
from paddleclas_eca.visualize.curves import (
    Best,
    Run,
    TrainingLog,
    best_of,
    curves_figure,
    draw_curves,
    run_names,
)
from paddleclas_eca.visualize.style import PALETTE


def run(name: str, epochs: int = 4, seed: int = 0) -> Run:
    random = np.random.default_rng(seed)
    numbers = range(1, epochs + 1)

    def curve() -> dict[int, dict[str, float]]:
        names = ("CELoss", "loss", "top1", "top5")
        return {n: dict(zip(names, random.uniform(size=4).tolist())) for n in numbers}

    rates = {n / 3: (float(random.uniform()),) for n in range(1, 3 * epochs + 1)}
    return Run(name, TrainingLog(curve(), curve(), {}, rates))


def panels(figure) -> dict:
    return {panel.get_title("left"): panel for panel in figure.axes if panel.axison}


def drawn(panel) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Points of the lines of a panel, by colour and style."""
    return {
        (line.get_color(), line.get_linestyle()): list(zip(*map(list, line.get_data())))
        for line in panel.get_lines()
    }


def points(curve: dict[int, dict[str, float]], metric: str) -> list[tuple[float, float]]:
    return [(epoch, values[metric]) for epoch, values in curve.items()]


def legend_of(figure) -> list[str]:
    """The labels of the legend, which is in the place of a panel if one is free."""
    legends = [*figure.legends, *filter(None, (panel.get_legend() for panel in figure.axes))]
    assert len(legends) == 1
    return [text.get_text() for text in legends[0].texts]


def test_lines_are_those_of_the_logs():
    runs = [run("a", 4, 0), run("b", 6, 1), run("c", 5, 2)]
    found = panels(curves_figure(runs))
    titles = {"Loss": "loss", "Top-1 accuracy": "top1", "Top-5 accuracy": "top5"}
    assert list(found) == [*titles, "Learning rate"]
    for title, metric in titles.items():
        lines = drawn(found[title])
        assert len(lines) == 6
        for colour, (_, log) in zip(PALETTE, runs):
            assert lines[colour, "-"] == points(log.evaluation, metric)
            assert lines[colour, "--"] == points(log.train, metric)
    rates = drawn(found["Learning rate"])
    for colour, (_, log) in zip(PALETTE, runs):
        assert rates[colour, "-"] == [(done, rate) for done, (rate,) in log.learning_rates.items()]
    for panel in found.values():
        assert panel.get_xlabel() == "epoch"
        assert panel.get_xlim() == pytest.approx((0, 6), abs=0.2)
        assert all(float(tick).is_integer() for tick in panel.get_xticks())


def test_legend_names_runs_and_styles():
    one = run("a $x$")
    one.log.averaged.update(one.log.evaluation)
    legend = curves_figure([one, run("_b", seed=1)]).legends[0]
    shown = {text.get_text(): line for text, line in zip(legend.texts, legend.get_lines())}
    assert [text.split(":")[0] for text in list(shown)[:2]] == [r"a \$x\$", " _b"]
    styles = {text: line.get_linestyle() for text, line in list(shown.items())[2:]}
    assert styles == {
        "validation": "-",
        "training": "--",
        "validation, averaged weights (EMA)": ":",
        "best epoch": "None",
    }


@pytest.mark.parametrize(("count", "name"), [(1, "a"), (2, "a"), (7, "a"), (7, "a long name " * 4)])
def test_a_legend_takes_no_room_from_the_panels(count, name):
    runs = [Run(f"{name}{i}", with_top1([0.1, 0.5, 0.7])) for i in range(count)]
    for drawn in runs:
        drawn.log.learning_rates[0.5] = (0.1,)
        drawn.log.train[1] = {"loss": 1.0}
    figure = curves_figure(runs)
    figure.draw_without_rendering()
    for panel in panels(figure).values():
        box = panel.get_window_extent()
        assert box.height > 1.4 * figure.dpi and box.width > 3 * figure.dpi
    assert len(legend_of(figure)) == count + 3


def test_what_was_not_logged_is_left_out():
    log = run("a").log
    without = TrainingLog(train={1: {"loss": 1.0}}, learning_rates={0.5: (0.1,)})
    figure = curves_figure([Run("no evaluation", without)])
    assert list(panels(figure)) == ["Loss", "Learning rate"]
    assert legend_of(figure) == ["no evaluation", "training"]
    figure = curves_figure([Run("evaluation alone", TrainingLog(evaluation=log.evaluation))])
    assert list(panels(figure)) == ["Loss", "Top-1 accuracy", "Top-5 accuracy"]
    figure = curves_figure([Run("begun", TrainingLog(learning_rates={0.5: (0.1,)}))])
    assert list(panels(figure)) == ["Learning rate"]


def test_a_point_alone_is_seen(tmp_path):
    one = run("a", epochs=1)
    for line in panels(curves_figure([one]))["Loss"].get_lines():
        assert line.get_marker() == "."
    (file,) = draw_curves([Run("a", TrainingLog(train={1: {"loss": 1.0}}))], tmp_path / "a.png")
    (empty,) = draw_curves(
        [Run("a", TrainingLog(train={1: {"loss": float("nan")}}))], tmp_path / "b.png"
    )
    colour = np.array([int(PALETTE[0][i : i + 2], 16) for i in (1, 3, 5)])
    counts = [
        (abs(np.asarray(Image.open(picture).convert("RGB")) - colour) < 9).all(-1).sum()
        for picture in (file, empty)
    ]
    # Beside the line of the legend there is a dot.
    assert counts[0] > counts[1] + 10


def with_top1(values, kind: str = "evaluation") -> TrainingLog:
    return TrainingLog(**{kind: {n: {"top1": v} for n, v in enumerate(values, start=1)}})


def test_the_best_epoch_is_marked():
    nan = float("nan")
    one, two = with_top1([0.1, 0.7, nan, 0.7]), with_top1([0.9, 0.8])
    two.averaged[2] = {"top1": 0.95}
    assert best_of(one) == Best(2, 0.7, "evaluation")
    assert best_of(two) == Best(2, 0.95, "averaged")
    assert best_of(TrainingLog(train={1: {"top1": 0.5}})) is None
    figure = curves_figure([Run("a", one), Run("b", two)])
    (panel,) = panels(figure).values()
    marked = [tuple(mark.get_offsets()[0]) for mark in panel.collections]
    assert marked == [(2, 0.7), (2, 0.95)]
    labels = legend_of(figure)
    assert "0.7" in labels[0] and "epoch 2" in labels[0] and "0.95" in labels[1]


@pytest.mark.parametrize(
    ("top5", "is_drawn"),
    [([1.0, 1.0, 1.0], False), ([0.8, 0.999, 1.0], False), ([0.8, 0.9, 0.999], True)],
)
def test_an_accuracy_that_is_always_one_is_left_out(top5, is_drawn):
    log = with_top1([0.5, 0.6, 0.7])
    for epoch, value in enumerate(top5, start=1):
        log.evaluation[epoch]["top5"] = value
    assert ("Top-5 accuracy" in panels(curves_figure([Run("a", log)]))) == is_drawn
    for values in log.evaluation.values():
        del values["top1"]
    assert "Top-5 accuracy" in panels(curves_figure([Run("a", log)]))


def test_the_first_epochs_do_not_take_most_of_an_axis():
    rising = [0.01, 0.3, *np.linspace(0.7, 0.8, 38).tolist()]
    (panel,) = panels(curves_figure([Run("a", with_top1(rising))])).values()
    low, high = panel.get_ylim()
    assert 0.5 < low < 0.71 and 0.8 < high < 0.9
    # A short run that ends low stays visible.
    both = [Run("a", with_top1(rising)), Run("b", with_top1([0.1, 0.2]))]
    (panel,) = panels(curves_figure(both)).values()
    assert panel.get_ylim()[0] < 0.2
    even = np.linspace(0.1, 0.9, 40).tolist()
    (panel,) = panels(curves_figure([Run("a", with_top1(even))])).values()
    assert panel.get_ylim()[0] < 0.1


def rates_drawn(rates: dict[float, float]):
    log = TrainingLog(learning_rates={done: (rate,) for done, rate in rates.items()})
    (panel,) = panels(curves_figure([Run("a", log)])).values()
    (line,) = panel.get_lines()
    return panel, list(zip(*map(list, line.get_data())))


@pytest.mark.parametrize("logged", [(0.25, 0.75), (0.25, 1.0), (0.0, 0.5)])
def test_a_rate_that_falls_in_steps_is_drawn_in_steps(logged):
    """Not as a slope between the steps that happen to be logged."""
    rates = {n + at: 0.1**n for n in range(3) for at in logged}
    # At the end of an epoch, the rate of the next one may be known or not.
    panel, points = rates_drawn(rates)
    falls = [(a, b) for a, b in zip(points, points[1:]) if a[1] != b[1]]
    assert [(a[0], b[0]) for a, b in falls] == [(1, 1), (2, 2)]
    assert all(x in [p[0] for p in points] for x in rates)
    assert panel.get_yscale() == "log" and "logarithmic" in panel.get_title("left")


def test_a_rate_that_falls_evenly_is_drawn_as_it_was_logged():
    rates = {n / 4: 0.1 * (1 + np.cos(np.pi * n / 400)) for n in range(1, 400)}
    rates = {done: round(rate, 5) for done, rate in rates.items()}
    panel, points = rates_drawn(rates)
    assert panel.get_yscale() == "linear"
    assert set(rates.items()) <= set(points)
    assert all(abs(a[1] - b[1]) < 0.002 for a, b in zip(points, points[1:]))


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ((7.0, 1.0), "linear"),
        ((15.0, 0.01), "log"),
        ((15.0, 0.0), "linear"),
        ((float("inf"), 1.0), "linear"),
    ],
)
def test_losses_that_differ_much_are_on_a_logarithmic_scale(losses, scale, tmp_path):
    log = TrainingLog(train={n: {"loss": loss} for n, loss in enumerate(losses, start=1)})
    ((title, panel),) = panels(curves_figure([Run("a", log)])).items()
    assert panel.get_yscale() == scale
    assert title == ("Loss, logarithmic" if scale == "log" else "Loss")
    assert draw_curves([Run("a", log)], tmp_path / "a.png")


def test_a_line_for_each_optimizer_and_each_network():
    log = TrainingLog(
        train={1: {"Teacher_top1": 0.5, "Student_top1": 0.4}},
        learning_rates={0.5: (0.1, 0.2), 1.0: (0.2, 0.3)},
    )
    found = panels(curves_figure([Run("a", log)]))
    titles = ["Top-1 accuracy (Student)", "Top-1 accuracy (Teacher)", "Learning rate"]
    assert list(found) == titles
    lines = [list(line.get_ydata()) for line in found["Learning rate"].get_lines()]
    assert lines == [[0.1, 0.2], [0.2, 0.3]]


def test_both_formats_are_valid_and_the_same_each_time(tmp_path):
    runs = [run("运行"), run("b", seed=1)]
    files = draw_curves(runs[1:], tmp_path / "one" / "curves")
    again = draw_curves(runs[1:], tmp_path / "two" / "curves")
    assert [file.name for file in files] == ["curves.png", "curves.svg"]
    assert [a.read_bytes() for a in files] == [b.read_bytes() for b in again]
    with Image.open(files[0]) as picture:
        picture.load()
        assert picture.format == "PNG" and picture.width == 1200
    (svg,) = draw_curves(runs, tmp_path / "three.svg")
    text = [element.text for element in ElementTree.parse(svg).iter() if element.text]
    assert {"Loss", "Top-1 accuracy", "Learning rate", "training"} <= set(text)
    assert any(words.startswith("运行: ") for words in text)


def test_a_figure_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/curves.png"):
        draw_curves([run("a")], tmp_path / "file" / "curves.png")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/ECA_ResNet18/train.log"], ["a/ECA_ResNet18"]),
        (["a/R/train.log", "b/R/train.log"], ["a", "b"]),
        (["a/R18/train.log", "a/R50/train.log"], ["R18", "R50"]),
        (["a/R/train.log", "a/R/old.log"], ["train.log", "old.log"]),
    ],
)
def test_runs_are_named_by_the_parts_in_which_their_paths_differ(files, names):
    assert run_names([Path("/out") / file for file in files]) == names


def test_names_of_runs_differ_even_if_one_is_above_the_other():
    files = ["/out/train.log", "/out/b/train.log", "/out/b/R/train.log"]
    assert len(set(run_names(list(map(Path, files))))) == 3
