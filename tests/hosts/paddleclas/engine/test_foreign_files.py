"""PaddleClas reads regular files alone, and images that fit into memory."""

from __future__ import annotations

import io
import os
import re
import struct

import pytest
from PIL import Image

from paddleclas_eca.errors import UserError
from paddleclas_eca.runtime import MAX_PIXELS


def encoded(kind, size=(8, 8)):
    content = io.BytesIO()
    Image.new("RGB", size, "white").save(content, kind)
    return content.getvalue()


def jpeg_of(width, height):
    content = encoded("JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


@pytest.fixture
def no_files(tmp_path):
    """Paths that would block, or never end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    return [tmp_path / f"{name}.jpg" for name in ("pipe", "link", "zero")]


@pytest.fixture
def read_list(ppcls, tmp_path):
    """Read the first image of a list of these and a white one, through PaddleClas."""

    def read(names):
        (tmp_path / "white.png").write_bytes(encoded("PNG"))
        lines = [f"{name} {i}" for i, name in enumerate([*names, "white.png"])]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        dataset = ppcls.module("data").ImageNetDataset(
            str(tmp_path), str(tmp_path / "list.txt"), [{"DecodeImage": {"to_rgb": True}}]
        )
        return [dataset[i] for i in range(len(names))]

    return read


def test_pipes_and_devices_in_a_list_count_as_corrupt(read_list, no_files, log):
    for pixels, label in read_list([file.name for file in no_files]):
        assert label == len(no_files) and pixels.min() == 255
    text = "\n".join(log)
    assert all(re.search(f"{file} .*not a regular file", text) for file in no_files)


def test_images_of_too_many_pixels_count_as_corrupt(read_list, tmp_path, log, monkeypatch):
    # 192 million, which OpenCV, imported before the limit was set, would decode.
    monkeypatch.delenv(MAX_PIXELS, raising=False)
    (tmp_path / "large.jpg").write_bytes(jpeg_of(16000, 12000))
    ((pixels, label),) = read_list(["large.jpg"])
    assert label == 1 and pixels.min() == 255
    assert re.search(rf"large\.jpg .*192,000,000 pixels.*{MAX_PIXELS}", "\n".join(log))


def test_lists_and_names_of_classes(ppcls, read_list, no_files, tmp_path):
    with pytest.raises(UserError, match=r"pipe\.jpg .*not a regular file"):
        ppcls.module("data").ImageNetDataset(str(tmp_path), str(no_files[0]), [])
    readers = ppcls.module("data.utils.get_image_list")
    with pytest.raises(UserError, match=r"pipe\.jpg .*not a regular file"):
        readers.get_image_list_from_label_file(str(tmp_path), str(no_files[0]))
    topk = ppcls.module("data.postprocess.topk").Topk(topk=1, class_id_map_file=str(no_files[0]))
    assert topk.class_id_map is None  # PaddleClas says so, and continues


def test_configs_of_the_scripts_of_paddleclas(ppcls, tmp_path):
    parse = ppcls.module("utils.config").parse_config
    (tmp_path / "a.yaml").write_text("A: &a {x: 1}\nB: {<<: *a, y: 2}\n")
    assert parse(str(tmp_path / "a.yaml")).B.x == 1
    laughs = "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
    (tmp_path / "a.yaml").write_text("a0: &a0 [x]\n" + laughs)
    with pytest.raises(UserError, match=r"a\.yaml, line \d+ .*values"):
        parse(str(tmp_path / "a.yaml"))


def test_data_sets_that_give_paths_to_libraries(ppcls, no_files, tmp_path):
    (tmp_path / "white.png").write_bytes(encoded("PNG", (5, 4)))
    person = ppcls.module("data.dataloader.person_dataset")
    vehicle = ppcls.module("data.dataloader.vehicle_dataset")
    assert person.Image.open(str(tmp_path / "white.png")).size == (5, 4)
    assert isinstance(Image.new("L", (1, 1)), person.Image.Image)
    assert vehicle.cv2.imread(str(tmp_path / "white.png")).shape == (4, 5, 3)
    for read in (person.Image.open, vehicle.cv2.imread):
        with pytest.raises(UserError, match=r"pipe\.jpg .*not a regular file"):
            read(str(no_files[0]))


def test_inference_names_what_is_no_file(make_engine, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with pytest.raises(UserError, match=r"photos/pipe\.jpg .*not a regular file"):
        make_engine({"Infer.infer_imgs": str(folder)}, mode="infer").infer()


def test_opencv_is_limited_before_it_is_imported(run_python, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg_of(16000, 12000))
    program = (
        "import paddleclas_eca, pathlib\n"
        "ppcls = paddleclas_eca.register()\n"
        "decode = ppcls.module('data.preprocess').DecodeImage()\n"
        "try: decode(pathlib.Path('a.jpg').read_bytes())\n"
        "except paddleclas_eca.errors.UserError as error: print(error)\n"
        "import cv2, numpy\n"
        "try: cv2.imdecode(numpy.fromfile('a.jpg', 'uint8'), 1)\n"
        "except cv2.error as error: print(error)\n"
    )
    output = run_python("-c", program, **{MAX_PIXELS: None}).stdout
    assert re.search(rf"192,000,000 pixels.*{MAX_PIXELS}", output)
    assert "CV_IO_MAX_IMAGE_PIXELS" in output
