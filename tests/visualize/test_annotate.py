from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paddleclas_eca.errors import UserError
from paddleclas_eca.visualize.annotate import Annotator


@pytest.fixture
def images(tmp_path) -> list[str]:
    files = [tmp_path / "photos" / name for name in ("a/1.jpg", "b/1.png", "b/photo")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), "red").save(file, format="PNG" if file.stem == "photo" else None)
    return list(map(str, files))


def test_copies_have_their_text_above(images, tmp_path):
    annotator = Annotator(tmp_path / "out", images)
    for image in images:
        annotator.write(image, "a rose of many words 0.97")
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    names = sorted(str(file.relative_to(tmp_path / "out")) for file in written)
    assert names == ["a/1.jpg", "b/1.png", "b/photo.png"]
    for file in written:
        pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
        # The image is below, as it was; the text above has room, although it is wider.
        np.testing.assert_allclose(pixels[-36:, 2:58], np.full((36, 56, 3), [254, 0, 0]), atol=12)
        assert pixels.shape[1] > 100 and pixels.shape[0] > 40
        above = pixels[:-40]
        assert above.max() > 250 and above.min() < 100
        assert (above[:, -2:] > 250).all()


def test_images_are_not_replaced(images, tmp_path):
    before = {image: Path(image).read_bytes() for image in images}
    with pytest.raises(UserError, match="--annotate"):
        Annotator(tmp_path / "photos", images)
    assert {image: Path(image).read_bytes() for image in images} == before


def test_a_copy_that_cannot_be_written(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        Annotator(tmp_path / "file" / "out", images).write(images[0], "rose")
