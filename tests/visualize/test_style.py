from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
from matplotlib.font_manager import fontManager

from paddleclas_eca.visualize import style


@pytest.mark.parametrize("name", ["SimHei", "Noto Sans CJK SC"])
def test_chinese_letters_have_a_font_where_one_is_installed(monkeypatch, name):
    here = [font for font in fontManager.ttflist if font.name not in style._CHINESE]
    monkeypatch.setattr(fontManager, "ttflist", here)
    assert style._fonts() == ["DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", [*here, SimpleNamespace(name=name)])
    assert style._fonts() == ["DejaVu Sans", name]


def test_fonts_that_are_not_installed_are_not_looked_for(tmp_path):
    figure, axes = style.new_figure()
    axes[0, 0].set_title("rose")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [file.name for file in style.save(figure, tmp_path / "x")] == ["x.png", "x.svg"]
