"""What PaddleClas makes of images that are odd or broken, and what is counted and said."""

from __future__ import annotations

import io
import multiprocessing
import re
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.compat import datasets
from paddleclas_eca.training.corrupt_images import Tally

TRAIN, EVAL = "DataLoader.Train", "DataLoader.Eval"


def _picture():
    """A smooth picture: RGB ``[48, 64, 3]``."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype="uint8")
    return cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)


def _saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


PICTURE = _picture()
RGB = Image.fromarray(PICTURE)
GREY = np.repeat(np.asarray(RGB.convert("L"))[:, :, None], 3, axis=2)
JPEG, PNG = _saved(RGB, "JPEG", quality=95), _saved(RGB, "PNG")
PROGRESSIVE = _saved(RGB, "JPEG", quality=95, progressive=True)


def _alpha():
    return Image.merge("RGBA", [*RGB.split(), Image.new("L", RGB.size, 0)])


def _rgb(image):
    return np.asarray(image.convert("RGB"))


def _png16():
    return cv2.imencode(".png", PICTURE[:, :, ::-1].astype("uint16") * 257)[1].tobytes()


# How a file that is read as RGB looks: its bytes, the pixels to expect, and how far they may be
# off on average (JPEG loses some; OpenCV reads CMYK without a colour profile).
READ = {
    "JPEG": (JPEG, PICTURE, 3),
    "progressive JPEG": (PROGRESSIVE, PICTURE, 3),
    "JPEG with bytes behind its end": (JPEG + bytes(100), PICTURE, 3),
    "JPEG with a whole JPEG behind its end": (JPEG + JPEG, PICTURE, 3),
    "grey JPEG": (_saved(RGB.convert("L"), "JPEG", quality=95), GREY, 3),
    "CMYK JPEG": (_saved(RGB.convert("CMYK"), "JPEG", quality=95), PICTURE, 8),
    "PNG": (PNG, PICTURE, 0),
    "PNG with bytes behind its end": (PNG + bytes(9), PICTURE, 0),
    "grey PNG": (_saved(RGB.convert("L"), "PNG"), GREY, 0),
    "PNG of one bit": (_saved(RGB.convert("1"), "PNG"), _rgb(RGB.convert("1")), 0),
    "PNG of 16 bits": (_png16(), PICTURE, 0),
    "PNG with palette": (_saved(RGB.quantize(16), "PNG"), _rgb(RGB.quantize(16)), 0),
    # The colour below a transparent pixel counts.
    "PNG with alpha": (_saved(_alpha(), "PNG"), PICTURE, 0),
    "WebP": (_saved(RGB, "WEBP", lossless=True), PICTURE, 0),
    "BMP": (_saved(RGB, "BMP"), PICTURE, 0),
    "TIFF": (_saved(RGB, "TIFF"), PICTURE, 0),
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


BROKEN = {
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

    The second file is a white image, which comes in the place of a broken one.
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


def test_a_large_image_is_read(read):
    # 108 million pixels, more than PIL takes without a warning.
    content = cv2.imencode(".jpg", np.zeros((9000, 12000), np.uint8))[1].tobytes()
    pixels, label = read(content)[0]
    assert label == 0 and pixels.shape == (3, 9000, 12000)


@pytest.mark.parametrize("case", BROKEN)
def test_images_that_count_as_broken(read, case, log):
    dataset = read(BROKEN[case])
    # Drawn at random, so the broken one may come up again before the white one does.
    pixels, label = dataset[0]
    assert label == 1 and pixels.min() == 255
    assert set(re.findall(r"parse line: (\S+)", "\n".join(log))) == {dataset.images[0]}


@pytest.mark.without_patch("truncated-jpeg", AssertionError, "")
def test_truncated_jpegs_are_broken_whatever_opencv_says(read):
    for cut in (len(JPEG) // 2, len(JPEG) * 9 // 10):
        assert read(JPEG[:cut])[0][1] == 1


def _with_preview(jpeg):
    preview = _saved(RGB.resize((8, 6)), "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + jpeg[2:]


# The last has a film behind its end, as phones put it there.
WHOLE = [
    JPEG,
    PROGRESSIVE,
    JPEG + bytes(9),
    _with_preview(JPEG),
    JPEG + b"film \xff\xda" + bytes(90),
]


@pytest.mark.parametrize("whole", WHOLE)
def test_the_look_for_the_end_of_a_jpeg(ppcls, whole):
    """In force with an older OpenCV only; tried here with any."""
    from paddleclas_eca.hosts.paddleclas.monkeypatch import Edits

    edits, decode = Edits(), ppcls.module("data.preprocess").DecodeImage()
    datasets._install_truncated_jpeg(ppcls, edits)
    try:
        assert decode(whole).shape == (48, 64, 3)
        end = whole.rindex(b"\xff\xd9")
        for cut in (end, end - 10, end - 700):
            with pytest.raises(ValueError, match="truncated"):
                decode(whole[:cut])
    finally:
        edits.undo()


@pytest.mark.without_patch("infer-image", Exception, "NoneType|empty|invalid input|truncated")
@pytest.mark.parametrize("case", ["random bytes", "empty", "half a JPEG", "half a PNG"])
def test_inference_names_a_broken_image(make_engine, digits, tmp_path, case):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(next((digits / "val" / "3").iterdir()).read_bytes())
    (folder / "b.jpg").write_bytes(BROKEN[case])
    with pytest.raises(
        UserError, match=r"^Infer.infer_imgs: \S+/photos/b.jpg cannot be read as an"
    ):
        make_engine({"Infer.infer_imgs": str(folder)}, mode="infer").infer()


# Counting


class _Files:
    def __init__(self, count):
        self.images = [f"{i}.png" for i in range(count)]
        self._cls_path = "list.txt"

    def __len__(self):
        return len(self.images)


def test_a_tally_counts_an_image_once():
    tally = Tally(_Files(1000), "Train", 0.01)
    for index in (3, np.int64(3), -997, (224, 224, 3), 7):
        tally.saw(index)
        tally.failed(index)
    for odd in (None, "x", 1000, ()):
        tally.failed(odd)
    assert tally.report() == (
        "DataLoader.Train: 2 of 1,000 images of list.txt could not be read: 3.png, 7.png; others "
        "were trained on in their place"
    )


@pytest.mark.parametrize(
    ("size", "share", "allowed"),
    [(1000, 0.01, 10), (1000, 0.0, 0), (40, 0.01, 1), (1, 0.01, 1), (10, 0.5, 5), (10, 1, 10)],
)
def test_the_share_is_rounded_up(size, share, allowed):
    tally = Tally(_Files(size), "Eval", share)
    for index in range(size):
        tally.saw(index)
        if index == allowed:
            tally.check()
            tally.failed(index)
            with pytest.raises(UserError, match=f"^DataLoader.Eval: {allowed + 1:,} of {size:,} "):
                tally.check()
            return
        tally.failed(index)
    tally.check()


def test_one_of_several_ranks_counts_in_its_part():
    tally = Tally(_Files(1000), "Train", 0.01)
    for index in range(4):
        tally.saw(index)
        tally.failed(index)
    tally.check(ranks=3)
    with pytest.raises(UserError, match="max_broken_images, 0.01, allows"):
        tally.check(ranks=4)
    # In later epochs it has seen more than its part.
    for index in range(400):
        tally.saw(index)
    tally.check(ranks=4)


@pytest.fixture
def lists(digits, tmp_path):
    """Write a list of whole digits with broken images spread over it."""

    def write(name, whole, broken):
        lines = [f"{digits / line}" for line in (digits / "train_96.txt").read_text().splitlines()]
        for i in range(broken):
            (tmp_path / f"broken{i}.png").write_bytes(b"no image")
            lines.insert(3 * i + 1, f"{tmp_path}/broken{i}.png 0")
        (tmp_path / name).write_text("\n".join(lines[: whole + broken]) + "\n")
        return str(tmp_path / name)

    return write


@pytest.fixture
def bad_data(lists):
    def make(train=0, evaluation=0, workers=0):
        changes = {
            f"{TRAIN}.dataset.cls_label_path": lists("train.txt", 60, train),
            f"{EVAL}.dataset.cls_label_path": lists("val.txt", 40, evaluation),
        }
        for part in (TRAIN, EVAL):
            changes[f"{part}.loader.num_workers"] = workers
        return changes

    return make


@pytest.mark.without_patch("broken-images", AssertionError, "")
@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_are_reported_after_every_epoch(make_engine, bad_data, workers, log):
    make_engine(
        {**bad_data(2, 1, workers), "Global.max_broken_images": 0.1, "Global.epochs": 2}
    ).train()
    reports = [line for line in log if "could not be read: " in line]
    assert len(reports) == 4
    train, evaluation = reports[:2]
    assert train.startswith(f"{TRAIN}: 2 of 62 images of ") and "broken0.png, " in train
    assert evaluation.startswith(f"{EVAL}: 1 of 41 images of ")
    assert "so the metrics are not those of the list" in evaluation
    assert reports[2:] == [train, evaluation]


def test_whole_images_are_not_reported(make_engine, bad_data, log):
    make_engine({**bad_data(), "Global.max_broken_images": 0}).train()
    assert not any("could not be read" in line for line in log)


@pytest.mark.without_patch("broken-images", (pytest.fail.Exception,), "DID NOT RAISE")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("train", "evaluation"), [(8, 0), (0, 8)])
def test_too_many_broken_images_end_the_run(make_engine, bad_data, train, evaluation, workers):
    place = TRAIN if train else EVAL
    before = set(multiprocessing.active_children())
    engine = make_engine({**bad_data(train, evaluation, workers), "Global.max_broken_images": 0.05})
    with pytest.raises(UserError) as error:
        engine.train()
    message = str(error.value)
    assert re.match(rf"{place}: \d of {68 if train else 48} images of \S+ could not be", message)
    assert "-o Global.max_broken_images to a larger share" in message and "\n" not in message
    if train:
        # Left to the garbage collector, the loader would wait for its processes for ever.
        assert set(multiprocessing.active_children()) <= before


def test_evaluation_alone_ends_as_well(make_engine, bad_data):
    with pytest.raises(UserError, match=r"^DataLoader\.Eval: \d of 48 images"):
        make_engine(bad_data(0, 8), mode="eval").eval()


def test_broken_images_of_a_mixed_data_set(make_engine, bad_data, digits, log):
    changes = bad_data(1)
    parts = [
        {"name": "ImageNetDataset", "image_root": str(digits), "cls_label_path": path}
        for path in (str(digits / "train_40.txt"), changes[f"{TRAIN}.dataset.cls_label_path"])
    ]
    config = {"name": "MixDataset", "datasets_config": parts}
    engine = make_engine({**changes, "Global.eval_during_train": False})
    for part in parts:
        part["transform_ops"] = engine.config["DataLoader"]["Train"]["dataset"]["transform_ops"]
    make_engine({f"{TRAIN}.dataset": config, "Global.eval_during_train": False}).train()
    assert [line for line in log if line.startswith(f"{TRAIN}: 1 of 61 images")]


@pytest.mark.parametrize("workers", [0, 1])
def test_no_readable_image_ends_the_run(make_engine, tmp_path, workers, capfd):
    names = [f"{i}.png" for i in range(30)]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "all.txt").write_text("".join(f"{name} 0\n" for name in names))
    engine = make_engine(
        {
            f"{TRAIN}.dataset.image_root": str(tmp_path),
            f"{TRAIN}.dataset.cls_label_path": str(tmp_path / "all.txt"),
            f"{TRAIN}.loader.num_workers": workers,
            # It would find them before.
            "Global.preflight": False,
        }
    )
    with pytest.raises(UserError, match="20 images in a row could not be read; in all, ") as error:
        engine.train()
    assert re.search(r"\d+\.png, \S+\d+\.png, \S+\d+\.png", str(error.value))
    assert "Traceback" not in capfd.readouterr().err


def test_counting_costs_little():
    """One pass over ImageNet's 1.28 million images: less than 2 microseconds per image."""
    tally = Tally(_Files(1_281_167), "Train", 0.01)
    tally.failed(5)
    began = time.perf_counter()
    for index in range(100_000):
        tally.saw(index)
    for _ in range(100):
        tally.check()
    # Far above what it takes: the machine may be busy.
    assert time.perf_counter() - began < 5


def test_memory_is_shared_with_forked_processes():
    tally = Tally(_Files(100), "Train", 0.5)
    process = multiprocessing.get_context("fork").Process(target=tally.failed, args=(42,))
    process.start()
    process.join(60)
    assert "1 of 100 images" in tally.report() and "42.png" in tally.report()


def test_the_data_sets_that_retry_are_counted(ppcls):
    names = {dataset.__name__ for dataset in datasets._retrying_datasets(ppcls)}
    assert {"CommonDataset", "MultiLabelDataset", "VeriWild", "MSMT17"} <= names
