from __future__ import annotations

import dataclasses
import warnings

import pytest
from matplotlib.font_manager import fontManager

from paddleclas_eca.visualize import style


@pytest.fixture
def families(monkeypatch):
    """The fonts of a figure where only the fonts of these names are installed."""

    def draw(*installed: str) -> list[str]:
        font = next(font for font in fontManager.ttflist if font.name == "DejaVu Sans")
        fonts = [dataclasses.replace(font, name=name) for name in installed]
        monkeypatch.setattr(fontManager, "ttflist", fonts)
        figure, axes = style.new_figure()
        return axes[0, 0].set_title("rose").get_fontfamily()

    return draw


@pytest.mark.parametrize("text", ["_other", "$x_$", "a$\\b$"])
def test_labels_are_shown_as_they_are(text, tmp_path):
    figure, axes = style.new_figure()
    axes[0, 0].plot([0, 1])
    figure.legend(axes[0, 0].get_lines(), [style.as_label(text)])
    assert f">{text}<" in style.save(figure, tmp_path / "x.svg")[0].read_text().replace("> _", ">_")


@pytest.mark.parametrize("name", ["SimHei", "Noto Sans CJK SC"])
def test_chinese_letters_have_a_font_if_one_is_installed(families, name):
    assert families("DejaVu Sans", "Arial") == ["DejaVu Sans"]
    assert families("DejaVu Sans", "Arial", name) == ["DejaVu Sans", name]


def test_the_style_does_not_depend_on_the_user(tmp_path):
    import matplotlib

    figure, axes = style.new_figure()
    axes[0, 0].set_title("rose")
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "path"}):
        # Matplotlib warns about fonts that are not installed.
        warnings.simplefilter("error")
        files = style.save(figure, tmp_path / "new" / "x.y")
    assert [file.name for file in files] == ["x.y.png", "x.y.svg"]
    assert ">rose<" in files[1].read_text()
