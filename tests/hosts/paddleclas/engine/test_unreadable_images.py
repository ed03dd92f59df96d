"""Which images PaddleClas reads, and how corrupt ones are counted and reported."""

from __future__ import annotations

import io
import multiprocessing
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.engine.corrupt_images import CorruptImages

TRAIN, EVAL = "DataLoader.Train", "DataLoader.Eval"


def _image():
    """A smooth image: RGB ``[48, 64, 3]``."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype="uint8")
    return cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)


def _saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


IMAGE = _image()
RGB = Image.fromarray(IMAGE)
GREY = np.repeat(np.asarray(RGB.convert("L"))[:, :, None], 3, axis=2)
JPEG, PNG = _saved(RGB, "JPEG", quality=95), _saved(RGB, "PNG")
PROGRESSIVE = _saved(RGB, "JPEG", quality=95, progressive=True)


def _alpha():
    return Image.merge("RGBA", [*RGB.split(), Image.new("L", RGB.size, 0)])


def _rgb(image):
    return np.asarray(image.convert("RGB"))


def _png16():
    return cv2.imencode(".png", IMAGE[:, :, ::-1].astype("uint16") * 257)[1].tobytes()


# How a file that is read as RGB looks: its bytes, the pixels to expect, and how far they may be
# off on average (JPEG loses some; OpenCV reads CMYK without a colour profile).
READ = {
    "JPEG": (JPEG, IMAGE, 3),
    "progressive JPEG": (PROGRESSIVE, IMAGE, 3),
    "JPEG with bytes behind its end": (JPEG + bytes(100), IMAGE, 3),
    "JPEG with a whole JPEG behind its end": (JPEG + JPEG, IMAGE, 3),
    "grey JPEG": (_saved(RGB.convert("L"), "JPEG", quality=95), GREY, 3),
    "CMYK JPEG": (_saved(RGB.convert("CMYK"), "JPEG", quality=95), IMAGE, 8),
    "PNG": (PNG, IMAGE, 0),
    "PNG with bytes behind its end": (PNG + bytes(9), IMAGE, 0),
    "grey PNG": (_saved(RGB.convert("L"), "PNG"), GREY, 0),
    "PNG of one bit": (_saved(RGB.convert("1"), "PNG"), _rgb(RGB.convert("1")), 0),
    "PNG of 16 bits": (_png16(), IMAGE, 0),
    "PNG with palette": (_saved(RGB.quantize(16), "PNG"), _rgb(RGB.quantize(16)), 0),
    # The colour below a transparent pixel counts.
    "PNG with alpha": (_saved(_alpha(), "PNG"), IMAGE, 0),
    "WebP": (_saved(RGB, "WEBP", lossless=True), IMAGE, 0),
    "BMP": (_saved(RGB, "BMP"), IMAGE, 0),
    "TIFF": (_saved(RGB, "TIFF"), IMAGE, 0),
}


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + _crc(kind + content)


def _crc(content):
    return struct.pack(">I", zlib.crc32(content))


def _png_bomb():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _jpeg_bomb():
    start = JPEG.index(b"\xff\xc0")
    return JPEG[: start + 5] + struct.pack(">HH", 65_000, 65_000) + JPEG[start + 9 :]


CORRUPT = {
    "random bytes": np.random.default_rng(0).bytes(500),
    "text": b"<html>404</html>",
    "empty": b"",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "nine tenths of a JPEG": JPEG[: len(JPEG) * 9 // 10],
    "half a progressive JPEG": PROGRESSIVE[: len(PROGRESSIVE) // 2],
    "header of a JPEG": JPEG[:200],
    "half a PNG": PNG[: len(PNG) // 2],
    "PNG without its last chunk": PNG[:-12],
    "header of a PNG": PNG[:33],
    "half a WebP": _saved(RGB, "WEBP")[:600],
    "half a BMP": _saved(RGB, "BMP")[:4000],
    "PNG of 100,000 x 100,000": _png_bomb(),
    "JPEG of 65,000 x 65,000": _jpeg_bomb(),
    "missing": None,
    "folder": "folder",
}


@pytest.fixture
def read(ppcls, tmp_path, monkeypatch):
    """Read the first file of a list through PaddleClas: pixels ``[3, H, W]``, or an error.

    The second file is a white image, which comes in the place of a corrupt one.
    """

    def read(content, root=tmp_path):
        (root / "x").unlink(missing_ok=True)
        if content == "folder":
            (root / "x").mkdir()
        else:
            (root / "x").write_bytes(content or b"")
        (root / "white").write_bytes(_saved(Image.new("RGB", (8, 8), "white"), "PNG"))
        (root / "list.txt").write_text("x 0\nwhite 1\n")
        dataset = ppcls.module("data").ImageNetDataset(
            str(root), str(root / "list.txt"), [{"DecodeImage": {"to_rgb": True}}]
        )
        if content is None:
            (root / "x").unlink()
        return dataset

    return read


@pytest.mark.parametrize("case", READ)
def test_images_that_are_read_as_rgb(read, case, log):
    content, expected, tolerance = READ[case]
    pixels, label = read(content)[0]
    assert label == 0 and pixels.dtype == np.uint8 and pixels.shape == (3, 48, 64)
    difference = np.abs(pixels.transpose(1, 2, 0).astype(float) - expected)
    assert difference.mean() <= tolerance
    assert log == []


def test_gif_is_read_where_opencv_can(read, log):
    # As it comes from pip, OpenCV reads GIF from 4.12 on.
    pixels, label = read(_saved(RGB, "GIF"))[0]
    can = tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 12)
    assert label == (0 if can else 1)
    assert (pixels.shape == (3, 48, 64)) == can


@pytest.mark.slow
def test_a_large_image_is_read(read):
    # 108 million pixels, more than PIL takes without a warning.
    content = cv2.imencode(".jpg", np.zeros((9000, 12000), np.uint8))[1].tobytes()
    pixels, label = read(content)[0]
    assert label == 0 and pixels.shape == (3, 9000, 12000)


@pytest.mark.parametrize("case", CORRUPT)
def test_images_that_count_as_corrupt(read, case, log):
    dataset = read(CORRUPT[case])
    # Drawn at random, so the corrupt one may come up again before the white one does.
    pixels, label = dataset[0]
    assert label == 1 and pixels.min() == 255
    assert set(re.findall(r"parse line: (\S+)", "\n".join(log))) == {dataset.images[0]}


@pytest.fixture(scope="module")
def lists(digits, tmp_path_factory):
    """Label lists of 60 whole digits and ``corrupt`` images, by that number."""
    folder = tmp_path_factory.mktemp("lists")
    whole = (digits / "train_96.txt").read_text().splitlines()[:60]

    def write(corrupt):
        lines = [f"{digits / line}" for line in whole]
        for i in range(corrupt):
            (folder / f"corrupt{i}.png").write_bytes(b"no image")
            lines.insert(3 * i + 1, f"{folder}/corrupt{i}.png 0")
        (folder / f"{corrupt}.txt").write_text("\n".join(lines) + "\n")
        return str(folder / f"{corrupt}.txt")

    return write


@pytest.fixture
def bad_data(lists):
    """Changes of a config, by the number of corrupt images."""

    def make(train=0, evaluation=0, workers=0):
        changes = {}
        for part, corrupt in ((TRAIN, train), (EVAL, evaluation)):
            changes[f"{part}.dataset.cls_label_path"] = lists(corrupt)
            changes[f"{part}.loader.num_workers"] = workers
        return changes

    return make


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_corrupt_images_are_reported_after_every_epoch(make_engine, bad_data, workers, log):
    share = {"Global.max_broken_images": 0.1}  # the name in version 0.1
    make_engine({**bad_data(2, 1, workers), **share, "Global.epochs": 2}).train()
    reports = [line for line in log if "could not be read: " in line]
    train, evaluation = reports[:2]
    assert train.startswith(f"{TRAIN}: 2 of 62 images of ") and "corrupt0.png, " in train
    assert evaluation.startswith(f"{EVAL}: 1 of 61 images of ")
    assert reports[2:] == [train, evaluation]


def test_whole_images_are_not_reported(make_engine, bad_data, log):
    make_engine({**bad_data(), "Global.max_corrupt_images": 0}).train()
    assert not any("could not be read" in line for line in log)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("train", "evaluation"), [(8, 0), (0, 8)])
def test_too_many_corrupt_images_end_the_run(make_engine, bad_data, train, evaluation, workers):
    place = TRAIN if train else EVAL
    before = set(multiprocessing.active_children())
    changes = {**bad_data(train, evaluation, workers), "Global.max_corrupt_images": 0.05}
    with pytest.raises(UserError) as error:
        make_engine(changes).train()
    message = str(error.value)
    assert re.match(rf"{place}: \d of 68 images of ", message)
    assert "-o Global.max_corrupt_images" in message
    if train:
        # Left to the garbage collector, the loader would wait forever for its workers.
        assert set(multiprocessing.active_children()) <= before


def test_evaluation_alone_ends_as_well(make_engine, bad_data):
    with pytest.raises(UserError, match=r"^DataLoader\.Eval: \d of 68 images"):
        make_engine(bad_data(0, 8), mode="eval").eval()


def test_corrupt_images_of_a_mixed_data_set(make_engine, make_config, lists, digits, log):
    transforms = make_config()["DataLoader"]["Train"]["dataset"]["transform_ops"]
    parts = [
        {
            "name": "ImageNetDataset",
            "image_root": str(digits),
            "cls_label_path": path,
            "transform_ops": list(map(dict, transforms)),
        }
        for path in (str(digits / "train_40.txt"), lists(1))
    ]
    mixed = {f"{TRAIN}.dataset": {"name": "MixDataset", "datasets_config": parts}}
    make_engine({**mixed, "Global.eval_during_train": False}).train()
    assert [line for line in log if line.startswith(f"{TRAIN}: 1 of 61 images")]


@pytest.fixture
def unreadable(tmp_path):
    """A training set without a readable image."""
    names = [f"{i}.png" for i in range(30)]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "all.txt").write_text("".join(f"{name} 0\n" for name in names))
    return {
        f"{TRAIN}.dataset.image_root": str(tmp_path),
        f"{TRAIN}.dataset.cls_label_path": str(tmp_path / "all.txt"),
        # It would find them before.
        "Global.preflight": False,
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_no_readable_image_ends_the_run(make_engine, unreadable, workers, capfd):
    engine = make_engine({**unreadable, f"{TRAIN}.loader.num_workers": workers})
    with pytest.raises(UserError, match=r"20 images in a row .*\d+\.png, \S+\d+\.png"):
        engine.train()
    assert "Traceback" not in capfd.readouterr().err


def test_reading_a_data_set_directly_is_bounded_too(make_engine, unreadable):
    engine = make_engine(unreadable)
    with pytest.raises(UserError, match=r"20 images in a row .*ImageNetDataset, .*\.png"):
        engine.train_dataloader.dataset[0]


def test_all_data_sets_that_retry_are_counted(ppcls):
    names = {dataset.__name__ for dataset in CorruptImages(ppcls).datasets}
    assert {"CommonDataset", "MultiLabelDataset", "VeriWild", "MSMT17"} <= names


@pytest.fixture
def sizes(digits, lists, tmp_path):
    """Changes of a config: images of two sizes without a resize."""

    def make(part):
        cv2.imwrite(str(tmp_path / "large.png"), np.zeros((40, 44, 3), "uint8"))
        text = (digits / "train_40.txt").read_text()
        (tmp_path / "list.txt").write_text(f"{text}{tmp_path}/large.png 0\n")
        return {
            "Global.preflight": False,
            f"{part}.dataset.cls_label_path": str(tmp_path / "list.txt"),
            f"{part}.dataset.transform_ops": [{"DecodeImage": {"to_rgb": True}}],
            f"{part}.sampler.batch_size": 41,
        }

    return make


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_images_of_different_sizes_are_named(make_engine, sizes, mode):
    part = TRAIN if mode == "train" else EVAL
    with pytest.raises(UserError) as raised:
        getattr(make_engine(sizes(part), mode=mode), mode)()
    message = str(raised.value)
    assert message.startswith(f"{part}: ") and "[3, 8, 8]" in message
    assert "[3, 40, 44]" in message and "large.png" in message and "ResizeImage" in message


def test_a_transform_of_batches_that_fails_is_reported(make_engine):
    mixup = {f"{TRAIN}.dataset.batch_transform_ops": [{"MixupOperator": {"alpha": 0.2}}]}
    engine = make_engine({**mixup, "Metric.Train": []})

    def fail(samples):
        raise ValueError("no such pixel")

    engine.train_dataloader.collate_fn = fail
    with pytest.raises(UserError, match=rf"^{TRAIN}: a batch .*ValueError: no such pixel"):
        engine.train()
